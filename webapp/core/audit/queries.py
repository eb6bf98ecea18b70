"""Reading the trail: a client's, or an account's with filters, a page at a time or as a file. `audit` writes it."""

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, Self
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, literal, select, tuple_
from sqlalchemy.orm import Session

from ..database.cursors import UNSEARCHABLE, decode_cursor, encode_cursor
from ..database.models import CLIENT_ID_MAX, AuditEvent, IdentityClient, UsedClientId
from ..errors import NotFound
from .actions import Action

PAGE_SIZE = 50
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
    Action.NETWORKS_CHANGED,
    Action.TOKENS_REVOKED,
    Action.REFUSED,
    Action.EXPORTED,
)
"""What can stand in an account's trail, in the order in which a filter lists it."""
_DATE = re.compile(r"(?:19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """What the trail is asked for; the address bar carries it.

    :param person: the actor's id, or empty.
    :param client: a part of a client ID, present or former, in any letter case; deleted clients are found too.
    :param action: one of `ACTIONS`, or empty.
    :param since: the first day, in the zone of the screens.
    :param until: the last day.
    :param after: the cursor of the event that the page follows, which is newer.
    :param before: the cursor of the event that the page precedes, which is older.
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
        """Read the query from the address; what makes no sense becomes the default (I4)."""
        action = arguments.get("action", "")
        return cls(
            person=_searchable(arguments.get("person", ""), ACTOR_ID_MAX),
            client=_searchable(arguments.get("client", "").strip(), CLIENT_ID_MAX),
            action=action if action in ACTIONS else "",
            since=_date(arguments.get("since", "")),
            until=_date(arguments.get("until", "")),
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return what an address has to carry to ask for the same again; what is not asked for is left out."""
        return {**self.filters(), **{name: value for name in ("after", "before") if (value := getattr(self, name))}}

    def filters(self) -> dict[str, str]:
        """Return the same without the page: what an export has to carry."""
        names = ("person", "client", "action", "since", "until")
        return {name: str(value) for name in names if (value := getattr(self, name))}

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same search at another page."""
        return replace(self, after=after, before=before)


@dataclass(frozen=True, slots=True)
class AuditPage:
    """One page of events, the newest first. They are not counted.

    :param next_cursor: `after` of the next, older page, None on the last one.
    :param previous_cursor: `before` of the previous, newer page, None on the first one.
    """

    events: list[AuditEvent]
    next_cursor: str | None
    previous_cursor: str | None


class AuditActor(NamedTuple):
    """Somebody who stands in a trail, by the latest of their labels."""

    actor_id: str
    label: str


def list_events(
    session: Session, *, account_id: str, query: AuditQuery, zone: ZoneInfo, key: uuid.UUID | None = None
) -> AuditPage:
    """Return a page of the account's trail, or of that of its client `key`.

    A cursor that is forged, or another account's, gives the first page (I4).

    :param zone: the zone in which the days of the query begin and end.
    """
    matching = matching_events(account_id, query, zone, key)
    place = tuple_(AuditEvent.at, AuditEvent.id)
    newest_first, oldest_first = (AuditEvent.at.desc(), AuditEvent.id.desc()), (AuditEvent.at, AuditEvent.id)
    rows = select(AuditEvent).limit(PAGE_SIZE + 1)
    position = _position(session, account_id, query.after)
    if position is not None:
        found = list(session.scalars(rows.where(*matching, place < position).order_by(*newest_first)))
        if found:
            return _page(found[:PAGE_SIZE], is_first=False, is_last=len(found) <= PAGE_SIZE)
    position = _position(session, account_id, query.before)
    if position is not None:
        found = list(session.scalars(rows.where(*matching, place > position).order_by(*oldest_first)))
        if len(found) > PAGE_SIZE:  # else it is the first page, whatever was added
            return _page(found[PAGE_SIZE - 1 :: -1], is_first=False, is_last=False)
    found = list(session.scalars(rows.where(*matching).order_by(*newest_first)))
    return _page(found[:PAGE_SIZE], is_first=True, is_last=len(found) <= PAGE_SIZE)


def get_client_or_deleted(session: Session, *, account_id: str, key: uuid.UUID) -> IdentityClient:
    """Return a client of the account, also one that is deleted: its trail stays.

    :raises NotFound: the account never had it, whether or not another one has (A3).
    """
    own = (IdentityClient.id == key, IdentityClient.account_id == account_id)
    client = session.scalar(select(IdentityClient).where(*own))
    if client is None:
        raise NotFound
    return client


def list_actors(session: Session, account_id: str) -> list[AuditActor]:
    """Return everybody who stands in the account's trail, by label."""
    own = AuditEvent.account_id == account_id
    # From one person to the next by the index: grouping would read every event.
    found = select(func.min(AuditEvent.actor_id).label("actor_id")).where(own).cte("found", recursive=True)
    following = (
        select(func.min(AuditEvent.actor_id)).where(own, AuditEvent.actor_id > found.c.actor_id).scalar_subquery()
    )
    found = found.union_all(select(following).where(found.c.actor_id.is_not(None)))
    latest_label = (
        select(AuditEvent.actor_label)
        .where(own, AuditEvent.actor_id == found.c.actor_id)
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.execute(select(found.c.actor_id, latest_label).where(found.c.actor_id.is_not(None)))
    return sorted((AuditActor(*row) for row in rows), key=lambda person: person.label.casefold())


def matching_events(
    account_id: str, query: AuditQuery, zone: ZoneInfo, key: uuid.UUID | None
) -> list[ColumnElement[bool]]:
    """Return the conditions on the events that a query asks for."""
    conditions: list[ColumnElement[bool]] = [AuditEvent.account_id == account_id]
    if key is not None:
        conditions.append(AuditEvent.client_key == key)
    if query.person:
        conditions.append(AuditEvent.actor_id == query.person)
    if query.client:
        own = (
            select(IdentityClient.id)
            .join(UsedClientId, UsedClientId.client_key == IdentityClient.id)
            .where(
                IdentityClient.account_id == account_id,
                UsedClientId.client_id_folded.contains(query.client.casefold(), autoescape=True),
            )
        )
        conditions.append(AuditEvent.client_key.in_(own))
    if query.action:
        conditions.append(AuditEvent.action == query.action)
    if query.since:
        conditions.append(AuditEvent.at >= _midnight(query.since, zone))
    if query.until:
        conditions.append(AuditEvent.at < _midnight(query.until + timedelta(days=1), zone))
    return conditions


def _midnight(day: date, zone: ZoneInfo) -> datetime:
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
    """Return the position that a cursor tells, None if it is not one of this account."""
    parts = decode_cursor(cursor, 2)
    if parts is None:
        return None
    try:
        at, event_id = datetime.fromisoformat(parts[0]).astimezone(UTC), uuid.UUID(hex=parts[1])
    except (ValueError, OverflowError):
        return None
    owned = session.scalar(select(AuditEvent.id).where(AuditEvent.id == event_id, AuditEvent.account_id == account_id))
    return tuple_(literal(at, AuditEvent.at.type), literal(event_id, AuditEvent.id.type)) if owned else None


def _searchable(text: str, length_max: int) -> str:
    return "" if len(text) > length_max or UNSEARCHABLE.search(text) else text


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if _DATE.fullmatch(text) else None
    except ValueError:
        return None
