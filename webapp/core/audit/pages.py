"""Read audit events of an account or of one client, a page at a time, and the actors among whom the filter chooses."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, bindparam, literal, select, tuple_
from sqlalchemy.orm import Session

from ..database.cursors import decode_cursor, encode_cursor
from ..database.distinct_values import distinct_values
from ..database.models import AuditEvent
from .filters import matching_events
from .query import AuditQuery

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of events, newest first, without a total count.

    :param next_cursor: the value of `after` for the next, older page; None on the last page.
    :param previous_cursor: the value of `before` for the previous, newer page; None on the first page.
    """

    events: list[AuditEvent]
    next_cursor: str | None
    previous_cursor: str | None


class AuditActor(NamedTuple):
    """The actor of at least one event, with their latest label."""

    actor_id: str
    label: str


def list_events(
    session: Session, *, account_id: str, query: AuditQuery, zone: tzinfo, key: uuid.UUID | None = None
) -> AuditPage:
    """Return a page of the account's events, or of those of its client `key`.

    An invalid cursor, or one of another account, gives the first page (I4).

    :param zone: the time zone in which the days of the query begin and end.
    """
    matching = matching_events(session, account_id, query, zone, key)
    row_position = tuple_(AuditEvent.at, AuditEvent.id)
    newest_first, oldest_first = (AuditEvent.at.desc(), AuditEvent.id.desc()), (AuditEvent.at, AuditEvent.id)
    rows = select(AuditEvent).limit(PAGE_SIZE + 1)
    position = _position(session, account_id, query.after)
    if position is not None:
        found = list(session.scalars(rows.where(*matching, row_position < position).order_by(*newest_first)))
        if found:
            return _page(found[:PAGE_SIZE], is_first=False, is_last=len(found) <= PAGE_SIZE)
    position = _position(session, account_id, query.before)
    if position is not None:
        found = list(session.scalars(rows.where(*matching, row_position > position).order_by(*oldest_first)))
        if len(found) > PAGE_SIZE:  # else it is the first page, which may have grown
            return _page(found[PAGE_SIZE - 1 :: -1], is_first=False, is_last=False)
    found = list(session.scalars(rows.where(*matching).order_by(*newest_first)))
    return _page(found[:PAGE_SIZE], is_first=True, is_last=len(found) <= PAGE_SIZE)


def list_actors(session: Session, account_id: str) -> list[AuditActor]:
    """Return the actors of all events of the account, sorted by label."""
    rows = session.execute(_ACTORS, {"account_id": account_id})
    return sorted((AuditActor(*row) for row in rows), key=lambda actor: actor.label.casefold())


def _select_actors() -> Select[*tuple[Any, ...]]:
    own = AuditEvent.account_id == bindparam("account_id")
    actor_id = distinct_values(AuditEvent.actor_id, own).c.value
    latest_label = (
        select(AuditEvent.actor_label)
        .where(own, AuditEvent.actor_id == actor_id)
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return select(actor_id, latest_label).where(actor_id.is_not(None))


_ACTORS = _select_actors()


def _page(found: list[AuditEvent], *, is_first: bool, is_last: bool) -> AuditPage:
    return AuditPage(
        found,
        next_cursor=None if is_last or not found else _cursor(found[-1]),
        previous_cursor=None if is_first or not found else _cursor(found[0]),
    )


def _cursor(event: AuditEvent) -> str:
    return encode_cursor(event.at.isoformat(), event.id.hex)


def _position(session: Session, account_id: str, cursor: str) -> ColumnElement[Any] | None:
    """Return the sort key in a cursor, None if it is malformed or of another account's event."""
    parts = decode_cursor(cursor, 2)
    if parts is None:
        return None
    try:
        at, event_id = datetime.fromisoformat(parts[0]).astimezone(UTC), uuid.UUID(hex=parts[1])
    except (ValueError, OverflowError):
        return None
    owned = session.scalar(select(AuditEvent.id).where(AuditEvent.id == event_id, AuditEvent.account_id == account_id))
    return tuple_(literal(at, AuditEvent.at.type), literal(event_id, AuditEvent.id.type)) if owned else None
