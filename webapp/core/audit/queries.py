"""Read audit events of an account or of one client, with filters, a page at a time."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import Any, NamedTuple, Self

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, literal, or_, select, text, tuple_
from sqlalchemy.orm import Session

from ..credentials import CLIENT_ID_MAX
from ..database import search_index
from ..database.cursors import decode_cursor, encode_cursor
from ..database.distinct_values import distinct_values
from ..database.models import AuditEvent, ClaimedClientId, ClientSearchText, has_change
from ..query_arguments import parse_day, searchable
from .actions import Action, Kind

PAGE_SIZE = 50
CLIENTS_MAX = 1_000
"""How many clients a filter by client may find, so that their events are read client by client."""
ACTOR_ID_MAX = 200
ACTIONS = (
    Action.CREATED,
    Action.EDITED,
    Action.ENABLED,
    Action.DISABLED,
    Action.DELETED,
    Action.SECRET_CHANGED,
    Action.SECRET_ENDED,
    Action.SECRET_PAUSED,
    Action.SECRET_RESUMED,
    Action.END_DATE_SET,
    Action.CLIENT_KEY_ADDED,
    Action.CLIENT_KEY_ENDED,
    Action.CLIENT_KEY_PAUSED,
    Action.CLIENT_KEY_RESUMED,
    Action.CLIENT_KEY_END_DATE_SET,
    Action.NETWORKS_CHANGED,
    Action.REVIEWED,
    Action.TOKENS_REVOKED,
    Action.SECRET_TESTED,
    Action.NOTIFICATION_TARGET_ADDED,
    Action.NOTIFICATION_TARGET_CHANGED,
    Action.NOTIFICATION_TARGET_REMOVED,
    Action.WEBHOOK_SECRET_CHANGED,
    Action.REFUSED,
    Action.EXPORTED,
    Action.SETTINGS_CHANGED,
)
"""The actions in an account's audit log, in the order of the filter."""
KINDS: Mapping[str, tuple[Action, ...]] = {
    Kind.ROLES_CHANGED: (),
    Kind.SECRETS_CHANGED: (
        Action.SECRET_CHANGED,
        Action.SECRET_ENDED,
        Action.SECRET_PAUSED,
        Action.SECRET_RESUMED,
        Action.END_DATE_SET,
    ),
    Kind.KEYS_CHANGED: (
        Action.CLIENT_KEY_ADDED,
        Action.CLIENT_KEY_ENDED,
        Action.CLIENT_KEY_PAUSED,
        Action.CLIENT_KEY_RESUMED,
        Action.CLIENT_KEY_END_DATE_SET,
    ),
    Kind.STATUS_CHANGED: (Action.ENABLED, Action.DISABLED),
    Kind.CREATED_OR_DELETED: (Action.CREATED, Action.DELETED),
}
"""The actions of each kind of change."""
_EDITED_FIELDS: Mapping[str, str] = {Kind.ROLES_CHANGED: "roles", Kind.SECRETS_CHANGED: "client_secret"}
"""The field whose edits are of a kind too. Edits of roles have an index of their own."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The filters and the page, as the URL carries them.

    :param person: the actor's id, or empty.
    :param client: part of a client's texts, as in the search of the list, or a whole former client ID; finds deleted
        clients too.
    :param action: one of `ACTIONS` or `KINDS`, or empty.
    :param since: the first day, in the time zone of the screens.
    :param until: the last day.
    :param after: the cursor of the newer event after which the page begins.
    :param before: the cursor of the older event before which the page ends.
    """

    person: str = ""
    client: str = ""
    action: str = ""
    since: date | None = None
    until: date | None = None
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Return the query for the arguments of a URL; an invalid value becomes the default (I4)."""
        action = arguments.get("action", "")
        return cls(
            person=searchable(arguments.get("person", ""), ACTOR_ID_MAX),
            client=searchable(arguments.get("client", "").strip(), CLIENT_ID_MAX),
            action=action if action in ACTIONS or action in KINDS else "",
            since=parse_day(arguments.get("since", "")),
            until=parse_day(arguments.get("until", "")),
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the arguments of a URL for the same query, without those that are empty."""
        return {**self.filters(), **{name: value for name in ("after", "before") if (value := getattr(self, name))}}

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        names = ("person", "client", "action", "since", "until")
        return {name: str(value) for name in names if (value := getattr(self, name))}

    @property
    def is_reversed(self) -> bool:
        """Whether the range of days ends before it begins."""
        return self.since is not None and self.until is not None and self.since > self.until

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same query for another page."""
        return replace(self, after=after, before=before)


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
