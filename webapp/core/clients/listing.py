"""List the clients of an account: search, filters, sort order, and keyset pagination."""

import unicodedata
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import ColumnElement, Text, and_, func, literal, or_, select, tuple_, type_coerce
from sqlalchemy.orm import InstrumentedAttribute, Session

from ..database.cursors import UNSEARCHABLE, decode_cursor, encode_cursor
from ..database.models import IdentityClient, utc_now
from ..database.types import EpochSeconds
from .attention import FILTERS, needs_attention
from .roles import RoleCatalogue

PAGE_SIZE = 50
SEARCH_MAX = 200
STATUSES = ("enabled", "disabled")
DEFAULT_SORT = "client_id"
_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "client_id": IdentityClient.client_id_folded,
    "name": IdentityClient.name_folded,
    "updated_at": IdentityClient.updated_at,
    "created_at": IdentityClient.created_at,
    "last_token": IdentityClient.last_token_at,
}
_TIMES = frozenset({"updated_at", "created_at", "last_token"})
SORTS = tuple(sign + name for name in _COLUMNS for sign in ("", "-"))


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The search, filters, order and page of the list, as in the query string.

    :param q: a part of the client ID, the name or the description, in any letter case.
    :param status: `enabled`, `disabled`, or empty for both.
    :param role: the key of an API role that the clients must have, or empty.
    :param attention: one of `attention.FILTERS`, or empty.
    :param sort: one of `SORTS`; a minus sign reverses the order.
    :param after: the cursor of the row that the page follows.
    :param before: the cursor of the row that the page precedes.
    """

    q: str = ""
    status: str = ""
    role: str = ""
    attention: str = ""
    sort: str = DEFAULT_SORT
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], catalogue: RoleCatalogue) -> Self:
        """Return the query of a query string; an invalid value becomes the default (I4)."""
        q = unicodedata.normalize("NFC", arguments.get("q", "").strip())
        status, role, attention, sort = (arguments.get(name, "") for name in ("status", "role", "attention", "sort"))
        return cls(
            q="" if len(q) > SEARCH_MAX or UNSEARCHABLE.search(q) else q,
            status=status if status in STATUSES else "",
            role=role if role in catalogue else "",
            attention=attention if attention in FILTERS else "",
            sort=sort if sort in SORTS else DEFAULT_SORT,
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the query string arguments of this query, without defaults."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) and (field.name, value) != ("sort", DEFAULT_SORT)
        }

    def sorted_by(self, name: str) -> Self:
        """Return the first page of the same search sorted by a column, reversed if it is sorted by it already.

        Text is sorted from A first, times from the newest.
        """
        first, second = (f"-{name}", name) if name in _TIMES else (name, f"-{name}")
        return replace(self, sort=second if self.sort == first else first, after="", before="")

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same search at another page, by the cursor that it follows or precedes."""
        return replace(self, after=after, before=before)


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of clients.

    :param total: the number of clients that match.
    :param account_total: the number of clients of the account.
    :param first: the position of the first row among those that match, from 1; 0 without rows.
    :param last: the position of the last row.
    :param next_cursor: `after` of the next page, None on the last one.
    :param previous_cursor: `before` of the previous page, None on the first one.
    """

    clients: list[IdentityClient]
    total: int
    account_total: int
    first: int
    last: int
    next_cursor: str | None
    previous_cursor: str | None


class _Order:
    """A sort order: by a column, and by the key where values are equal."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.descending = sort.startswith("-")
        self.column = _COLUMNS[sort.removeprefix("-")]
        self._columns = tuple_(self.column, IdentityClient.id)

    def rows(self, *, backwards: bool = False) -> tuple[ColumnElement[Any], ...]:
        """Return the ORDER BY of this order, or of its reverse."""
        columns = (self.column, IdentityClient.id)
        return tuple(column.desc() if self.descending != backwards else column.asc() for column in columns)

    def beyond(self, position: "_Position", *, backwards: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row follows a position, or precedes it if `backwards`."""
        bound = tuple_(literal(position.value, self.column.type), literal(position.key, IdentityClient.id.type))
        return self._columns < bound if self.descending != backwards else self._columns > bound

    def position_of(self, client: IdentityClient) -> "_Position":
        return _Position(getattr(client, self.column.key), client.id)


@dataclass(frozen=True, slots=True)
class _Position:
    value: Any
    key: uuid.UUID


def list_clients(session: Session, *, account_id: str, query: ListQuery) -> ListPage:
    """Return a page of the account's clients, without deleted ones.

    A forged cursor, or one of another account, gives the first page (I4).
    """
    own = and_(IdentityClient.account_id == account_id, IdentityClient.deleted_at.is_(None))
    filters = _filters(query)
    matching = and_(own, *filters)
    order = _Order(query.sort)
    clients = _page(session, matching, order, account_id, query)
    if not clients:
        return ListPage([], 0, _count(session, own) if filters else 0, 0, 0, None, None)
    precedes_first = order.beyond(order.position_of(clients[0]), backwards=True)
    total, preceding = session.execute(
        select(func.count(), func.count().filter(precedes_first)).select_from(IdentityClient).where(matching)
    ).one()
    last = preceding + len(clients)
    return ListPage(
        clients=clients,
        total=total,
        account_total=_count(session, own) if filters else total,
        first=preceding + 1,
        last=last,
        next_cursor=_write_cursor(order, clients[-1]) if last < total else None,
        previous_cursor=_write_cursor(order, clients[0]) if preceding else None,
    )


def _page(
    session: Session, matching: ColumnElement[bool], order: _Order, account_id: str, query: ListQuery
) -> list[IdentityClient]:
    for cursor, backwards in ((query.after, False), (query.before, True)):
        position = _read_cursor(session, order, account_id, cursor)
        if position is not None:
            found = session.scalars(
                select(IdentityClient)
                .where(matching, order.beyond(position, backwards=backwards))
                .order_by(*order.rows(backwards=backwards))
                .limit(PAGE_SIZE)
            ).all()
            # A page that is not full is the first one when going back, so it is read from the start.
            if len(found) == PAGE_SIZE or (found and not backwards):
                return list(found[::-1] if backwards else found)
    return list(session.scalars(select(IdentityClient).where(matching).order_by(*order.rows()).limit(PAGE_SIZE)))


def _filters(query: ListQuery) -> list[ColumnElement[bool]]:
    filters: list[ColumnElement[bool]] = []
    if query.q:
        part = query.q.casefold()
        columns = (
            IdentityClient.client_id_folded,
            IdentityClient.name_folded,
            IdentityClient.description_folded,
        )
        filters.append(or_(*(column.contains(part, autoescape=True) for column in columns)))
    if query.status:
        filters.append(IdentityClient.enabled.is_(query.status == "enabled"))
    if query.role:
        # Not LIKE, which ignores letter case on SQLite.
        keys = type_coerce(IdentityClient.roles, Text)
        filters.append(func.replace(keys, f'"{query.role}"', "") != keys)
    if query.attention:
        filters.append(needs_attention(query.attention, utc_now()))
    return filters


def _count(session: Session, condition: ColumnElement[bool]) -> int:
    return session.scalar(select(func.count()).select_from(IdentityClient).where(condition)) or 0


def _write_cursor(order: _Order, client: IdentityClient) -> str:
    position = order.position_of(client)
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    return encode_cursor(order.sort, value or "", position.key.hex)


def _read_cursor(session: Session, order: _Order, account_id: str, cursor: str) -> _Position | None:
    """Return the position of a cursor, None if it is not one of this order and account."""
    parts = decode_cursor(cursor, 3)
    if parts is None or parts[0] != order.sort:
        return None
    _, value, key = parts
    try:
        position = _Position(_read_value(order, value), uuid.UUID(hex=key))
    except (ValueError, OverflowError):
        return None
    owned = select(IdentityClient.id).where(IdentityClient.id == position.key, IdentityClient.account_id == account_id)
    return position if session.scalar(owned) else None


def _read_value(order: _Order, text: str) -> datetime | str | None:
    if order.sort.removeprefix("-") not in _TIMES:
        return text
    if not text and isinstance(order.column.type, EpochSeconds):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
