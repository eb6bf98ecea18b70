"""Finding an account's clients: search, filters, order, and pages by key."""

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
    """What the list is asked for; the address bar carries it.

    :param q: a part of the client ID, the name or the description, in any letter case.
    :param status: `enabled`, `disabled`, or empty for both.
    :param role: the key of an API role that the clients must have, or empty.
    :param attention: one of `attention.FILTERS`, or empty.
    :param sort: one of `SORTS`; a minus sign turns the order round.
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
        """Read the query from the address; what makes no sense becomes the default (I4)."""
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
        """Return what an address has to carry to ask for the same again; defaults are left out."""
        return {
            field.name: value
            for field in fields(self)
            if (value := getattr(self, field.name)) and (field.name, value) != ("sort", DEFAULT_SORT)
        }

    def sorted_by(self, name: str) -> Self:
        """Return the same search from its first page in this order, or turned round if it is in this order already.

        Words begin with A, times with the newest.
        """
        first, second = (f"-{name}", name) if name in _TIMES else (name, f"-{name}")
        return replace(self, sort=second if self.sort == first else first, after="", before="")

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same search at another page."""
        return replace(self, after=after, before=before)


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of clients.

    :param total: how many clients match.
    :param account_total: how many the account has.
    :param first: the position of the first row among those that match, from 1; 0 if there is none.
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
    """The order of one sort: by its column, and by the key where values are equal."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.descending = sort.startswith("-")
        self.column = _COLUMNS[sort.removeprefix("-")]
        self._place = tuple_(self.column, IdentityClient.id)

    def rows(self, *, backwards: bool = False) -> tuple[ColumnElement[Any], ...]:
        """Return the columns to order by, in this order or from its end."""
        columns = (self.column, IdentityClient.id)
        return tuple(column.desc() if self.descending != backwards else column.asc() for column in columns)

    def beyond(self, position: "_Position", *, backwards: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row follows a position, or precedes it."""
        bound = tuple_(literal(position.value, self.column.type), literal(position.key, IdentityClient.id.type))
        return self._place < bound if self.descending != backwards else self._place > bound

    def position_of(self, client: IdentityClient) -> "_Position":
        return _Position(getattr(client, self.column.key), client.id)


@dataclass(frozen=True, slots=True)
class _Position:
    value: Any
    key: uuid.UUID


def list_clients(session: Session, *, account_id: str, query: ListQuery) -> ListPage:
    """Return a page of the account's clients; those that are deleted never appear.

    A cursor that is forged, or another account's, gives the first page (I4).
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
            # Going back, a page that is not full is the first one, whatever became of its rows.
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
        # Not LIKE, which on SQLite takes no account of letter case.
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
    """Return the position that a cursor tells, None if it is not one of this order and account."""
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
