"""The filters of an audit log as conditions on its events."""

import uuid
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, tzinfo

from sqlalchemy import ColumnElement, and_, func, or_, select, text
from sqlalchemy.orm import Session

from ..database import search_index
from ..database.models import AuditEvent, ClaimedClientId, ClientSearchText, has_change
from .actions import Action, Kind
from .query import KINDS, AuditQuery

CLIENTS_MAX = 1_000
"""How many clients a filter by client may find, so that their events are read client by client."""
_EDITED_FIELDS: Mapping[str, str] = {Kind.ROLES_CHANGED: "roles", Kind.SECRETS_CHANGED: "client_secret"}
"""The field whose edits are of a kind too. Edits of roles have an index of their own."""


def matching_events(
    session: Session, account_id: str, query: AuditQuery, zone: tzinfo, key: uuid.UUID | None
) -> list[ColumnElement[bool]]:
    """Return the WHERE conditions of a query."""
    conditions: list[ColumnElement[bool]] = [AuditEvent.account_id == account_id]
    if key is not None:
        conditions.append(AuditEvent.client_key == key)
    if query.person:
        conditions.append(AuditEvent.actor_id == query.person)
    if query.client:
        conditions.append(_is_of_client(session, account_id, query.client))
    if query.action in KINDS:
        conditions.append(_is_of_kind(session, query.action))
    elif query.action:
        conditions.append(AuditEvent.action == query.action)
    if query.since:
        conditions.append(AuditEvent.at >= _midnight(query.since, zone))
    if query.until:
        conditions.append(AuditEvent.at < _midnight(query.until + timedelta(days=1), zone))
    return conditions


def _is_of_kind(session: Session, kind: str) -> ColumnElement[bool]:
    """Return the condition that an event is of a kind of change."""
    conditions: list[ColumnElement[bool]] = []
    if kind in _EDITED_FIELDS:
        changed = text(has_change(session.get_bind().dialect.name, _EDITED_FIELDS[kind]))
        conditions.append(and_(AuditEvent.action == Action.EDITED, changed))
    if KINDS[kind]:
        conditions.append(AuditEvent.action.in_(KINDS[kind]))
    return or_(*conditions)


def _is_of_client(session: Session, account_id: str, part: str) -> ColumnElement[bool]:
    """Return the condition that an event is of a client that `part` finds.

    Where it finds few clients, their events are read by client. Where it finds many, so do the events read by time.
    """
    former = select(ClaimedClientId.client_key).where(ClaimedClientId.client_id_folded == part.casefold())
    folded = search_index.fold(part)
    connection = session.connection()
    is_indexed = len(folded) >= search_index.TRIGRAM and search_index.has_index(connection)
    if is_indexed and not search_index.is_common(connection, account_id, folded):
        found = search_index.clients_by_text(session.get_bind().dialect.name, account_id, folded)
        keys = session.scalars(found.limit(CLIENTS_MAX + 1)).all()
        if len(keys) <= CLIENTS_MAX:
            return AuditEvent.client_key.in_([*keys, *session.scalars(former)])
    # Counted: for EXISTS PostgreSQL reads the texts of all accounts first.
    own_texts = (
        select(func.count())
        .select_from(ClientSearchText)
        .where(
            ClientSearchText.client_key == AuditEvent.client_key,
            ClientSearchText.text.contains(folded, autoescape=True),
        )
        .correlate(AuditEvent)
        .scalar_subquery()
    )
    return or_(own_texts > 0, AuditEvent.client_key.in_(former))


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, zone)
