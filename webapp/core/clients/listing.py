"""List the clients of an account: search, filters, sort order, and keyset pagination."""

import json
import unicodedata
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    and_,
    false,
    func,
    literal,
    literal_column,
    or_,
    select,
    true,
    tuple_,
    type_coerce,
    union,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from ..database import search_index
from ..database.cursors import UNSEARCHABLE, decode_cursor, encode_cursor
from ..database.models import (
    OWNER_MAX,
    TAG_MAX,
    ClientRole,
    ClientSearchText,
    ClientSecret,
    ClientTag,
    IdentityClient,
    utc_now,
)
from ..database.types import EpochSeconds
from .attention import FILTERS, AttentionReason, rules_of
from .attention_queries import clients_of, count_rows, needs_attention, ordered_clients_of
from .roles import RoleCatalogue

PAGE_SIZE = 50
COUNT_MAX = 10_000
"""How many clients are counted; beyond, there are "10,000+"."""
COUNT_ONE_BY_ONE_MAX = 2_000
"""Of how many clients those are counted that meet a condition without an index; beyond, one page is looked at."""
CANDIDATES_MAX = 5_000
"""How many clients a filter may leave that are sorted for a page."""
SEARCH_MAX = 200
EXPORT_MAX = 10_000
"""How many clients an export has at most (L7)."""
CHOICES_MAX = 100
"""How many tags and owners the filters offer; a search finds the others."""
MOVES_MONEY = "*money"
"""The value of the filter by role for any role that moves money; it is no role's key."""
STATUSES = ("enabled", "disabled")
DEFAULT_SORT = "client_id"
_COLUMNS: dict[str, InstrumentedAttribute[Any]] = {
    "client_id": IdentityClient.client_id_folded,
    "name": IdentityClient.name_folded,
    "updated_at": IdentityClient.updated_at,
    "created_at": IdentityClient.created_at,
    "last_token": IdentityClient.last_token_at,
}
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = frozenset({"updated_at", "created_at", "last_token"})
SORTS = tuple(sign + name for name in _COLUMNS for sign in ("", "-"))


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The search, filters, order and page of the list, as in the query string.

    :param q: a part of the client ID, the name, the description, the owner or a tag, in any letter case.
    :param status: `enabled`, `disabled`, or empty for both.
    :param role: the key of an API role that the clients must have, `MOVES_MONEY`, or empty.
    :param roles: the API roles that `role` stands for, one of which the clients must have.
    :param tag: a tag that the clients must have, or empty.
    :param owner: the owner whose clients they must be, in any letter case, or empty.
    :param attention: one of `attention.FILTERS`, or empty.
    :param sort: one of `SORTS`; a minus sign reverses the order.
    :param after: the cursor of the row that the page follows.
    :param before: the cursor of the row that the page precedes.
    """

    q: str = ""
    status: str = ""
    role: str = ""
    roles: tuple[str, ...] = ()
    tag: str = ""
    owner: str = ""
    attention: str = ""
    sort: str = DEFAULT_SORT
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], catalogue: RoleCatalogue) -> Self:
        """Return the query of a query string; an invalid value becomes the default (I4)."""
        q = unicodedata.normalize("NFC", arguments.get("q", "").strip())
        status, role, attention, sort = (arguments.get(name, "") for name in ("status", "role", "attention", "sort"))
        roles = _roles(role, catalogue)
        return cls(
            q="" if len(q) > SEARCH_MAX or UNSEARCHABLE.search(q) else q,
            status=status if status in STATUSES else "",
            role=role if roles else "",
            roles=roles,
            tag=_text(arguments, "tag", TAG_MAX).lower(),
            owner=_text(arguments, "owner", OWNER_MAX),
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
            if field.name != "roles"
            if (value := getattr(self, field.name)) and (field.name, value) != ("sort", DEFAULT_SORT)
        }

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        return replace(self, after="", before="").arguments()

    def sorted_by(self, name: str) -> Self:
        """Return the first page of the same search sorted by a column, reversed if it is sorted by it already.

        Text is sorted from A first, times from the newest.
        """
        first, second = (f"-{name}", name) if name in _TIMES else (name, f"-{name}")
        return replace(self, sort=second if self.sort == first else first, after="", before="")

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same search at another page, by the cursor that it follows or precedes."""
        return replace(self, after=after, before=before)


def _roles(role: str, catalogue: RoleCatalogue) -> tuple[str, ...]:
    if role == MOVES_MONEY:
        return tuple(sorted(catalogue.money_roles))
    return (role,) if role in catalogue else ()


def _text(arguments: Mapping[str, str], name: str, length_max: int) -> str:
    text = unicodedata.normalize("NFC", arguments.get(name, "").strip())
    return "" if len(text) > length_max or UNSEARCHABLE.search(text) else text


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of clients.

    :param total: how many clients match, as far as they were counted.
    :param has_more: whether more match than were counted.
    :param account_total: how many the account has, at most `COUNT_MAX`; counted only where no client matches.
    :param first: the position of the first row among those that match, from 1; 0 if there is none or it is not known.
    :param last: the position of the last row.
    :param next_cursor: `after` of the next page, None on the last one.
    :param previous_cursor: `before` of the previous page, None on the first one.
    :param needs_longer_search: whether nothing was searched, since the account is large and the search too short.
    """

    clients: list[IdentityClient]
    total: int
    has_more: bool
    account_total: int
    first: int
    last: int
    next_cursor: str | None
    previous_cursor: str | None
    needs_longer_search: bool = False


class _Order:
    """The order of one sort: by its column, and by the key where values are equal."""

    def __init__(self, sort: str) -> None:
        self.sort = sort
        self.descending = sort.startswith("-")
        self.name = sort.removeprefix("-")
        self.column = _COLUMNS[self.name]

    def rows(self, value: Any, key: Any, *, backwards: bool = False) -> tuple[ColumnElement[Any], ...]:
        """Return the columns to order by, in this order or from its end."""
        return tuple(column.desc() if self.descending != backwards else column.asc() for column in (value, key))

    def beyond(self, value: Any, key: Any, position: "_Position", *, backwards: bool = False) -> ColumnElement[bool]:
        """Return the condition that a row follows a position, or precedes it."""
        place = tuple_(value, key)
        bound = tuple_(literal(position.value, self.column.type), literal(position.key, IdentityClient.id.type))
        return place < bound if self.descending != backwards else place > bound

    def position_of(self, client: IdentityClient) -> "_Position":
        """Return the position of a client, at which a cursor or a count starts."""
        return _Position(getattr(client, self.column.key), client.id)

    def sort_key(self, client: IdentityClient) -> tuple[Any, uuid.UUID]:
        """Return the key by which Python sorts clients as the database does; no time sorts before every time."""
        value = getattr(client, self.column.key)
        return (_NEVER if value is None else value), client.id


@dataclass(frozen=True, slots=True)
class _Position:
    value: Any
    key: uuid.UUID


def list_clients(session: Session, *, account_id: str, query: ListQuery) -> ListPage:
    """Return a page of the account's clients, without deleted ones.

    A forged cursor, or one of another account, gives the first page (I4).
    """
    order = _Order(query.sort)
    source = _find_source(session, account_id, query, order)
    if source is None:
        return ListPage([], 0, False, COUNT_MAX, 0, 0, None, None, needs_longer_search=True)
    clients, is_first, is_last = _page(session, source, order, account_id, query)
    if not clients:
        return ListPage([], 0, False, min(_count_all(session, account_id), COUNT_MAX), 0, 0, None, None)
    if is_first and is_last:
        total, has_more = len(clients), False
    elif source.total is not None:
        total, has_more = source.total, source.has_more
    elif not source.conditions or _count_all(session, account_id) <= COUNT_ONE_BY_ONE_MAX:
        total = _count(session, source, order)
        total, has_more = min(total, COUNT_MAX), total > COUNT_MAX
    else:
        total, has_more = len(clients), True
    first = 1 if is_first else 0
    if not is_first and not has_more:
        first = _count(session, source, order, before=order.position_of(clients[0])) + 1
    return ListPage(
        clients=clients,
        total=total,
        has_more=has_more,
        account_total=total,
        first=first,
        last=first + len(clients) - 1 if first else 0,
        next_cursor=None if is_last else _write_cursor(order, clients[-1]),
        previous_cursor=None if is_first else _write_cursor(order, clients[0]),
    )


def export_clients(session: Session, *, account_id: str, query: ListQuery) -> Iterator[list[IdentityClient]]:
    """Yield the clients of all pages, a page at a time, 10,000 clients at most (L7).

    Call `audit.events.record_export` before. The session must stay open until the last page.
    """
    order = _Order(query.sort)
    source = _find_source(session, account_id, query, order)
    position, count = None, 0
    while source is not None and count < EXPORT_MAX:
        clients = _rows(session, source, order, position)[:PAGE_SIZE]
        if not clients:
            return
        yield clients
        count += len(clients)
        position = order.position_of(clients[-1])
        session.expunge_all()


def oldest_secrets(session: Session, keys: Collection[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """Return when the oldest secret of each client that has not ended was created, by the client's key."""
    rows = session.execute(
        select(ClientSecret.client_key, func.min(ClientSecret.created_at))
        .where(ClientSecret.client_key.in_(keys), or_(ClientSecret.ends_at.is_(None), ClientSecret.ends_at > utc_now()))
        .group_by(ClientSecret.client_key)
    )
    return dict(iter(rows))


def list_tags(session: Session, account_id: str) -> list[str]:
    """Return the tags of an account's clients, sorted, at most `CHOICES_MAX`."""
    return _distinct(session, ClientTag.tag, ClientTag.account_id == account_id)


def list_owners(session: Session, account_id: str) -> list[str]:
    """Return the owners of an account's clients, sorted, each in one spelling, at most `CHOICES_MAX`."""
    own = and_(IdentityClient.account_id == account_id, *_HAS_OWNER)
    folded = _distinct(session, IdentityClient.owner_folded, own)
    spelling = select(IdentityClient.owner).where(own).limit(1)
    return [session.scalars(spelling.where(IdentityClient.owner_folded == owner)).one() for owner in folded]


def _distinct(session: Session, column: InstrumentedAttribute[str], own: ColumnElement[bool]) -> list[str]:
    # Jumps from one value to the next in the index (a loose index scan), where DISTINCT would read every row.
    found = select(func.min(column).label("value"), literal(1).label("number")).where(own).cte("found", recursive=True)
    following = select(func.min(column)).where(own, column > found.c.value).scalar_subquery()
    found = found.union_all(
        select(following, found.c.number + 1).where(found.c.value.is_not(None), found.c.number < CHOICES_MAX)
    )
    return sorted(session.scalars(select(found.c.value).where(found.c.value.is_not(None))))


# The source of the rows


class _Part(NamedTuple):
    """A SELECT of clients by one index.

    :param keys: selects the clients' keys.
    :param key: the column of the key.
    :param client_id_folded: the column of the client ID in the index, None where it is the client's own.
    """

    keys: Select[*tuple[Any, ...]]
    key: Any
    client_id_folded: Any = None


class _Source(NamedTuple):
    """What a page is read from.

    :param parts: each is in order by an index of its own.
    :param conditions: what the clients must meet besides.
    :param total: how many clients there are, None if they were not counted.
    :param has_more: whether there are more than `total`.
    :param overlapping: whether several parts may have the same client.
    """

    parts: Sequence[_Part]
    conditions: Sequence[ColumnElement[bool]]
    total: int | None = None
    has_more: bool = False
    overlapping: bool = False

    def selects(self, order: _Order) -> list[tuple[Select[*tuple[Any, ...]], Any, Any]]:
        """Return for each part the SELECT, and the two columns to order it by."""
        selects = []
        for keys, key, value in self.parts:
            statement, place = keys, (value, key)
            if value is None or order.name != DEFAULT_SORT:
                place = (order.column, IdentityClient.id)
            if value is not None and (order.name != DEFAULT_SORT or self.conditions):
                statement = keys.join(IdentityClient, IdentityClient.id == key)
            selects.append((statement.where(*self.conditions), *place))
        return selects


def _find_source(session: Session, account_id: str, query: ListQuery, order: _Order) -> _Source | None:
    """Return what is read for a query: the clients that a rare filter leaves, or else all in their order.

    Where a filter leaves many, a page is full before much is read; where it leaves few, they are sorted. None: a search
    of fewer characters than the index has would read a large account.
    """
    conditions = _conditions(session, account_id, query)
    candidates = _candidates(session, account_id, query)
    ordered_parts = _ordered_parts(account_id, query) if order.name == DEFAULT_SORT else {}
    if query.q and "q" not in candidates and _count_all(session, account_id) > COUNT_MAX:
        return None
    for name, found in candidates.items():
        others = [condition for other, condition in conditions.items() if other != name]
        if name in ordered_parts and not others:
            return _Source(ordered_parts[name], [], overlapping=len(ordered_parts[name]) > 1)
        if name == "attention":
            count = count_rows(session, query.attention, account_id, CANDIDATES_MAX)
        else:
            count = _count_up_to(session, found.limit(CANDIDATES_MAX + 1))
        if count <= CANDIDATES_MAX:
            rows = (found.distinct() if name == "attention" else found).subquery()
            part = _Part(select(rows.c.client_key), rows.c.client_key, rows.c.client_id_folded)
            return _Source([part], others, None if others or name == "attention" else count)
        if name == "attention" and order.name == DEFAULT_SORT:
            ordered = ordered_clients_of(query.attention, account_id, utc_now())
            if ordered is not None:
                key, client_id_folded = ordered.selected_columns
                reads_clients = query.attention == AttentionReason.UNUSED
                part = _Part(ordered.with_only_columns(key), key, None if reads_clients else client_id_folded)
                return _Source([part], others, None if others else CANDIDATES_MAX, has_more=True)
    for name, parts in ordered_parts.items():
        others = [condition for other, condition in conditions.items() if other != name]
        return _Source(parts, others, overlapping=len(parts) > 1)
    others = [condition for name, condition in conditions.items() if name != "status"]
    status = "enabled" if query.attention else query.status
    only_one = len(conditions) == 1 and candidates
    return _Source(_by_status(account_id, status), others, CANDIDATES_MAX if only_one else None, has_more=True)


def _by_status(account_id: str, status: str) -> list[_Part]:
    wanted = [status == "enabled"] if status else [True, False]
    return [
        _Part(
            select(IdentityClient.id.label("client_key")).where(
                IdentityClient.account_id == account_id,
                IdentityClient.enabled == (true() if enabled else false()),
                IdentityClient.deleted_at.is_(None),
            ),
            IdentityClient.id,
        )
        for enabled in wanted
    ]


def _candidates(session: Session, account_id: str, query: ListQuery) -> dict[str, Select[*tuple[Any, ...]]]:
    """Return by filter a SELECT of the clients that it leaves, by an index: `client_key` and `client_id_folded`."""
    candidates: dict[str, Select[*tuple[Any, ...]]] = {}
    if len(search_index.fold(query.q)) >= search_index.TRIGRAM and search_index.has_index(session.connection()):
        candidates["q"] = _found_by_text(session, account_id, query.q)
    if query.attention:
        candidates["attention"] = clients_of(query.attention, account_id, utc_now(), rules_of(session, account_id))
    for name, parts in _ordered_parts(account_id, query).items():
        if len(parts) == 1:
            candidates[name] = parts[0].keys
        else:
            # Each limited, so that no more is read than decides whether they are few.
            rows = union(*(select(part.keys.limit(CANDIDATES_MAX + 1).subquery()) for part in parts)).subquery()
            candidates[name] = select(rows.c.client_key, rows.c.client_id_folded)
    return candidates


def _ordered_parts(account_id: str, query: ListQuery) -> dict[str, list[_Part]]:
    """Return by filter the parts that have the clients that it leaves, each in the order of client IDs by an index."""
    parts: dict[str, list[_Part]] = {}
    if query.owner:
        own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
            IdentityClient.account_id == account_id,
            IdentityClient.owner_folded == query.owner.casefold(),
            *_HAS_OWNER,
        )
        parts["owner"] = [_Part(own, IdentityClient.id)]
    if query.tag:
        tagged = select(ClientTag.client_key, ClientTag.client_id_folded).where(
            ClientTag.account_id == account_id, ClientTag.tag == query.tag
        )
        parts["tag"] = [_Part(tagged, ClientTag.client_key, ClientTag.client_id_folded)]
    if query.roles:
        parts["role"] = [
            _Part(
                select(ClientRole.client_key, ClientRole.client_id_folded).where(
                    ClientRole.account_id == account_id, ClientRole.role == role
                ),
                ClientRole.client_key,
                ClientRole.client_id_folded,
            )
            for role in query.roles
        ]
    return parts


# Without parameters, so that PostgreSQL knows that the partial index has the rows.
_HAS_OWNER = (IdentityClient.deleted_at.is_(None), IdentityClient.owner_folded != literal_column("''"))


def _conditions(session: Session, account_id: str, query: ListQuery) -> dict[str, ColumnElement[bool]]:
    """Return by filter the condition that a client must meet."""
    conditions: dict[str, ColumnElement[bool]] = {}
    if query.q:
        own_text = aliased(ClientSearchText)
        text = select(own_text.text).where(own_text.client_key == IdentityClient.id, ~own_text.is_stale)
        part = search_index.fold(query.q)
        # Comparing the text by position: LIKE takes several times as long.
        conditions["q"] = or_(_position(session, text.scalar_subquery(), part) > 0, _is_found_without_text(query.q))
    if query.status:
        conditions["status"] = IdentityClient.enabled == (true() if query.status == "enabled" else false())
    if query.attention:
        conditions["attention"] = needs_attention(query.attention, account_id, utc_now(), rules_of(session, account_id))
    if query.owner:
        conditions["owner"] = IdentityClient.owner_folded == query.owner.casefold()
    if query.tag:
        own_tag = aliased(ClientTag)
        tagged = select(func.count()).where(own_tag.client_key == IdentityClient.id, own_tag.tag == query.tag)
        conditions["tag"] = tagged.scalar_subquery() > 0
    if query.roles:
        # Counted: for EXISTS PostgreSQL may prefer to read the roles of all accounts.
        own_role = aliased(ClientRole)
        having = select(func.count()).where(own_role.client_key == IdentityClient.id, own_role.role.in_(query.roles))
        conditions["role"] = having.scalar_subquery() > 0
    return conditions


def _found_by_text(session: Session, account_id: str, q: str) -> Select[*tuple[Any, ...]]:
    part = search_index.fold(q)
    numbers = search_index.matching_numbers(session.get_bind().dialect.name, account_id, part).subquery()
    [number] = numbers.c
    columns = (ClientSearchText.client_key, IdentityClient.client_id_folded)
    indexed = (
        select(*columns)
        .select_from(numbers)
        .join(ClientSearchText, ClientSearchText.number == number)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == account_id,
            ~ClientSearchText.is_stale,
            _position(session, ClientSearchText.text, part) > 0,
            IdentityClient.deleted_at.is_(None),
        )
    )
    stale = (
        select(*columns)
        .join(IdentityClient, IdentityClient.id == ClientSearchText.client_key)
        .where(
            ClientSearchText.account_id == account_id,
            ClientSearchText.is_stale == true(),
            _contains(q),
            IdentityClient.deleted_at.is_(None),
        )
    )
    found = union_all(indexed, stale).subquery()
    return select(found.c.client_key, found.c.client_id_folded)


def _is_found_without_text(q: str) -> ColumnElement[bool]:
    """Return the condition for a client that was written in bulk, or by an earlier release, and is not indexed yet."""
    own_text = aliased(ClientSearchText)
    stale = select(func.count()).where(own_text.client_key == IdentityClient.id, own_text.is_stale == true())
    return and_(_contains(q), stale.scalar_subquery() > 0)


def _contains(q: str) -> ColumnElement[bool]:
    columns = (
        IdentityClient.client_id_folded,
        IdentityClient.name_folded,
        IdentityClient.description_folded,
        IdentityClient.owner_folded,
    )
    tag = json.dumps(q.lower())[1:-1]  # as the column holds it
    return or_(
        *(column.contains(q.casefold(), autoescape=True) for column in columns),
        type_coerce(IdentityClient.tags, Text).contains(tag, autoescape=True),
    )


def _position(session: Session, text: Any, part: str) -> ColumnElement[int]:
    return (func.instr if session.get_bind().dialect.name == "sqlite" else func.strpos)(text, part)


# Reading a page


def _page(
    session: Session, source: _Source, order: _Order, account_id: str, query: ListQuery
) -> tuple[list[IdentityClient], bool, bool]:
    """Return a page, and whether it is the first one and the last one."""
    position = _read_cursor(session, order, account_id, query.after)
    if position is not None:
        found = _rows(session, source, order, position)
        if found:
            return found[:PAGE_SIZE], False, len(found) <= PAGE_SIZE
    position = _read_cursor(session, order, account_id, query.before)
    if position is not None:
        found = _rows(session, source, order, position, backwards=True)
        # Backwards, a page that is not full is the first one, even if some of its rows were deleted.
        if len(found) >= PAGE_SIZE:
            return found[PAGE_SIZE - 1 :: -1], len(found) == PAGE_SIZE, False
    found = _rows(session, source, order, None)
    return found[:PAGE_SIZE], True, len(found) <= PAGE_SIZE


def _rows(
    session: Session, source: _Source, order: _Order, position: _Position | None, *, backwards: bool = False
) -> list[IdentityClient]:
    """Return the rows that follow a position or precede it, one more than a page has if there is one more."""
    parts = []
    for keys, value, key in source.selects(order):
        part = keys.add_columns(value.label("value"))
        if position is not None:
            part = part.where(order.beyond(value, key, position, backwards=backwards))
        parts.append((part, part.order_by(*order.rows(value, key, backwards=backwards)).limit(PAGE_SIZE + 1)))
    if len(parts) == 1:
        page = parts[0][1].subquery()
    else:
        # A client that several parts have is within the page in each of them.
        # Without conditions each part is short. With them the engine merges the parts row by row: the last rows of a
        # part that meet them may be far.
        merged = (
            union(*(select(limited.subquery()) for _, limited in parts))
            if source.overlapping
            else union_all(*(part if source.conditions else select(limited.subquery()) for part, limited in parts))
        )
        columns = merged.selected_columns
        page = (
            merged.order_by(*order.rows(columns.value, columns.client_key, backwards=backwards))
            .limit(PAGE_SIZE + 1)
            .subquery()
        )
    found = session.scalars(select(IdentityClient).join(page, page.c.client_key == IdentityClient.id)).all()
    return sorted(found, key=order.sort_key, reverse=order.descending != backwards)


def _count(session: Session, source: _Source, order: _Order, before: _Position | None = None) -> int:
    """Return how many clients there are, or precede a position, at most one more than `COUNT_MAX`."""
    parts = []
    for keys, value, key in source.selects(order):
        narrowed = keys if before is None else keys.where(order.beyond(value, key, before, backwards=True))
        parts.append(select(narrowed.limit(COUNT_MAX + 1).subquery()))
    unite = union if source.overlapping else union_all
    counted = unite(*parts) if len(parts) > 1 else parts[0]
    return _count_up_to(session, counted.limit(COUNT_MAX + 1))


def _count_all(session: Session, account_id: str) -> int:
    """Return how many clients an account has, at most one more than `COUNT_MAX`."""
    return _count(session, _Source(_by_status(account_id, ""), ()), _Order(DEFAULT_SORT))


def _count_up_to(session: Session, limited: Any) -> int:
    return session.scalar(select(func.count()).select_from(limited.subquery())) or 0


def _write_cursor(order: _Order, client: IdentityClient) -> str:
    position = order.position_of(client)
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    return encode_cursor(order.sort, value or "", position.key.hex)


def _read_cursor(session: Session, order: _Order, account_id: str, cursor: str) -> _Position | None:
    """Return the position that a cursor encodes, None if it is not one of this order and account."""
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
