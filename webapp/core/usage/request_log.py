"""Search the token requests that are stored one by one, of an account or of one client (L2, A3).

Every filter reads ranges of an index in the order of time. A condition that no index serves is tested on a bounded
number of their rows for one page, which then says how far back it looked.
"""

import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple, Self

from sqlalchemy import BindParameter, CompoundSelect, Engine, Integer, Select, bindparam, select, tuple_, union_all
from sqlalchemy.orm import InstrumentedAttribute, Session, load_only

from ..addresses import canonical_address
from ..credentials import CLIENT_ID_MAX
from ..database.cursors import decode_cursor, encode_cursor
from ..database.models import ClaimedClientId, ClientKey, ClientSecret, IdentityClient, TokenRequest, is_of_account
from ..database.outcomes import AuthenticationFailure, Outcome
from ..database.unit_of_work import read_session
from ..errors import NotFound
from ..query_arguments import parse_minute, searchable

PAGE_SIZE = 50
SCAN_MAX, MERGED_SCAN_MAX = 20_000, 5_000
"""How many rows one page tests for what no index serves: of one range, and of several that are merged; about 20 ms."""
EXPORT_MAX = 10_000
EXPORT_PAGES_MAX = 400
"""How many pages an export reads, so that a rare match in a large account cannot keep it going."""
REFUSED = "refused"
REASONS: tuple[str, ...] = (*(each for each in AuthenticationFailure), *(each for each in Outcome if each != "issued"))
"""Every outcome but an issued token."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_LABEL = re.compile(r"[A-Z]{1,8}|[0-9]{1,8}", re.ASCII)
_NUMBER_MAX = 2**63 - 1
_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    TokenRequest.client_key,
    TokenRequest.at,
    TokenRequest.number,
    TokenRequest.outcome,
    TokenRequest.secret_label,
    TokenRequest.address,
)
_MINUTE = timedelta(minutes=1)
_CLIENTS = select(IdentityClient).options(
    load_only(IdentityClient.client_id, IdentityClient.deleted_at, raiseload=True)
)
_SIZE: BindParameter[int] = bindparam("size", type_=Integer)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """The filters and the page, as the URL carries them.

    :param client: a whole client ID, present or former, in any letter case.
    :param outcome: `issued`, `refused`, one of `REASONS`, or empty.
    :param secret: the label of the secret or key with which the client authenticated.
    :param address: the caller's address in canonical form.
    :param request_id: the ID of the HTTP request.
    :param since: the first minute, in the time zone of the screens and naive.
    :param until: the last minute.
    :param after: the cursor after which the page begins, towards older requests.
    :param before: the cursor before which the page ends.
    """

    client: str = ""
    outcome: str = ""
    secret: str = ""
    address: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Return the query for the arguments of a URL; an invalid value becomes the default (I4)."""
        outcome = arguments.get("outcome", "")
        return cls(
            client=searchable(arguments.get("client", "").strip(), CLIENT_ID_MAX),
            outcome=outcome if outcome in (Outcome.ISSUED, REFUSED, *REASONS) else "",
            secret=_matching(_LABEL, arguments.get("secret", "")),
            address=canonical_address(arguments.get("address", "").strip()[:64]) or "",
            request_id=_matching(_REQUEST_ID, arguments.get("request_id", "").strip()),
            since=parse_minute(arguments.get("since", ""), of_day="00:00"),
            until=parse_minute(arguments.get("until", ""), of_day="23:59"),
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the arguments of a URL for the same query, without those that are empty."""
        return {**self.filters(), **{name: value for name in ("after", "before") if (value := getattr(self, name))}}

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        names = ("client", "outcome", "secret", "address", "request_id")
        times = {name: f"{at:%Y-%m-%dT%H:%M}" for name in ("since", "until") if (at := getattr(self, name))}
        return {name: str(value) for name in names if (value := getattr(self, name))} | times

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same query for another page."""
        return replace(self, after=after, before=before)

    @property
    def is_reversed(self) -> bool:
        """Whether the range of time ends before it begins."""
        return self.since is not None and self.until is not None and self.since > self.until


@dataclass(frozen=True, slots=True)
class RequestPage:
    """One page of token requests, newest first, without a total count.

    :param next_cursor: the value of `after` for the next, older page; None on the last page.
    :param previous_cursor: the value of `before` for the previous, newer page; None on the first page.
    :param searched_to: how far back the search came for this page; None where it found a whole page or reached the end.
    """

    requests: Sequence[TokenRequest]
    next_cursor: str | None
    previous_cursor: str | None
    searched_to: datetime | None = None


class _Position(NamedTuple):
    """A place in the order of the requests."""

    at: datetime
    number: int


class _Found(NamedTuple):
    """What one read found: the rows in its direction, and where it stopped testing rows; None: at the end."""

    rows: Sequence[TokenRequest]
    stopped_at: _Position | None


def find_client(session: Session, *, account_id: str, client_id: str) -> IdentityClient | None:
    """Return the client of the account that has or had an ID, in any letter case, deleted or not; None if none."""
    return session.scalar(
        select(IdentityClient)
        .join(ClaimedClientId, ClaimedClientId.client_key == IdentityClient.id)
        .where(IdentityClient.account_id == account_id, ClaimedClientId.client_id_folded == client_id.casefold())
    )


def list_requests(
    session: Session,
    *,
    account_id: str,
    query: RequestQuery,
    zone: tzinfo,
    client: IdentityClient | None = None,
    size: int = PAGE_SIZE,
) -> RequestPage:
    """Return a page of the token requests of the account, or of one of its clients.

    An invalid cursor gives the first page (I4).

    :param zone: the time zone of the query's times.
    :param client: restricts the page to this client, whatever `query.client` is.
    :raises NotFound: the client is another account's (A3).
    """
    if client is not None and client.account_id != account_id:
        raise NotFound
    search = _Search(session, account_id, query, zone, client, size)
    position = _read_cursor(query.after)
    if position is not None:
        found = search.read(position)
        newer = _Position(position.at, position.number - 1)  # so that the row at the position is on that page
        return _page(found, size, newer=found.rows[0] if found.rows else newer)
    position = _read_cursor(query.before)
    if position is not None:
        found = search.read(position, backwards=True)
        rows = list(reversed(found.rows[:size]))
        if len(found.rows) > size:
            return RequestPage(rows, _cursor(rows[-1]), _cursor(rows[0]))
        if found.stopped_at:
            older = rows[-1] if rows else _Position(position.at, position.number + 1)
            return RequestPage(rows, _cursor(older), _cursor(found.stopped_at))
    return _page(search.read(None), size, newer=None)


def get_request(session: Session, *, account_id: str, client_key: uuid.UUID, key: str) -> TokenRequest:
    """Return one token request of a client.

    :param key: what `key_of` returned for it.
    :raises NotFound: the account has no such request (A3), or no longer.
    """
    parts = re.fullmatch(r"([0-9]{1,17})-([0-9]{1,19})", key, re.ASCII)
    if parts is None or int(parts[2]) > _NUMBER_MAX:
        raise NotFound
    found = session.scalar(
        select(TokenRequest)
        .join(IdentityClient, IdentityClient.id == TokenRequest.client_key)
        .where(
            IdentityClient.account_id == account_id,
            TokenRequest.client_key == client_key,
            TokenRequest.at == _EPOCH + timedelta(microseconds=int(parts[1])),
            TokenRequest.number == int(parts[2]),
        )
    )
    if found is None:
        raise NotFound
    return found


def key_of(request: TokenRequest) -> str:
    """Return the key of a request among those of its client, for a URL."""
    return f"{(request.at - _EPOCH) // timedelta(microseconds=1)}-{request.number}"


def clients_of(session: Session, account_id: str, requests: Sequence[TokenRequest]) -> dict[uuid.UUID, IdentityClient]:
    """Return the clients of these requests by their keys, deleted ones too, without their other columns."""
    keys = {request.client_key for request in requests}
    own = (is_of_account(account_id), IdentityClient.id.in_(keys))
    return {client.id: client for client in session.scalars(_CLIENTS.where(*own))} if keys else {}


def labels_of(session: Session, client: IdentityClient) -> Sequence[str]:
    """Return the labels of the secrets and of the keys that a client has or had, the newest first."""
    tables = (ClientSecret, ClientKey)
    return [
        label
        for table in tables
        for label in session.scalars(select(table.label).where(table.client_key == client.id).order_by(table.id.desc()))
    ]


def export_requests(
    engine: Engine, *, account_id: str, query: RequestQuery, zone: tzinfo, client: IdentityClient | None
) -> Iterator[tuple[TokenRequest, IdentityClient]]:
    """Yield token requests with their clients, newest first, 10,000 at most (L7).

    They are read in pages with a transaction each, so that a slow download holds none open. Call
    `audit.events.record_export` before.
    """
    size, left = 500, EXPORT_MAX
    query = query.with_cursor()
    for _ in range(EXPORT_PAGES_MAX):
        with read_session(engine) as session:
            page = list_requests(
                session, account_id=account_id, query=query, zone=zone, client=client, size=min(size, left)
            )
            clients = clients_of(session, account_id, page.requests)
        yield from ((request, clients[request.client_key]) for request in page.requests)
        left -= len(page.requests)
        if page.next_cursor is None or not left:
            return
        query = query.with_cursor(after=page.next_cursor)


class _Search:
    """The search of one query.

    Its ranges are parts of an index, each in the order of time; its conditions are what the ranges do not ensure.
    """

    def __init__(
        self,
        session: Session,
        account_id: str,
        query: RequestQuery,
        zone: tzinfo,
        client: IdentityClient | None,
        size: int,
    ) -> None:
        self._session = session
        self._size = size
        self._ranges, self._conditions = _ranges(account_id, query, client)
        self._bounds: dict[str, Any] = {}
        if query.since:
            self._bounds["since"] = query.since.replace(tzinfo=zone)
        if query.until:
            self._bounds["until"] = query.until.replace(tzinfo=zone) + _MINUTE

    def read(self, position: _Position | None, *, backwards: bool = False) -> _Found:
        """Return up to one row more than a page, from a position towards older rows, or backwards."""
        bounds = self._bounds if position is None else {**self._bounds, **position._asdict()}
        statements = _build_statements(
            tuple(self._ranges[0]),
            len(self._ranges),
            tuple(self._conditions),
            tuple(bounds),
            backwards=backwards,
            merges=self._session.get_bind().dialect.name == "sqlite",
        )
        scan_max = SCAN_MAX if len(self._ranges) == 1 else MERGED_SCAN_MAX
        values = {
            **bounds,
            **{f"{name}_{place}": value for place, each in enumerate(self._ranges) for name, value in each.items()},
            **{f"{name}_in": values for name, values in self._conditions.items()},
            "size": self._size + 1,
            "scan_max": scan_max,
            "before_last": scan_max - 1,
        }
        rows = self._session.scalars(statements.rows, values).all()
        if statements.last_scanned is None or len(rows) > self._size:
            return _Found(rows, None)
        last = self._session.execute(statements.last_scanned, values).first()
        return _Found(rows, _Position(*last) if last else None)


def _ranges(
    account_id: str, query: RequestQuery, client: IdentityClient | None
) -> tuple[Sequence[Mapping[str, Any]], Mapping[str, Collection[Any]]]:
    """Return the ranges that contain the requests of a query, and the values that other columns must have.

    A range has the values of the columns with which an index begins, the same columns as the other ranges.
    """
    own = {"account_id": account_id}
    outcomes = {"": (Outcome.ISSUED, *REASONS), REFUSED: REASONS}.get(query.outcome, (query.outcome,))
    conditions: dict[str, Collection[Any]] = {}
    if client is not None:
        conditions["client_key"] = (client.id,)
    if query.outcome:
        conditions["outcome"] = outcomes
    if query.secret:
        conditions["secret_label"] = (query.secret,)
    if query.address:
        conditions["address"] = (query.address,)
    if query.request_id:
        return [{**own, "request_id": query.request_id}], conditions
    if query.address:
        del conditions["address"]
        return [{**own, "address": query.address}], conditions
    if client is not None and query.outcome in ("", Outcome.ISSUED):
        # Refusals are few, so that their own ranges find them faster.
        del conditions["client_key"]
        return [{"client_key": client.id}], conditions
    conditions.pop("outcome", None)
    return [{**own, "outcome": outcome} for outcome in outcomes], conditions


class _Statements(NamedTuple):
    """The statements of a search.

    :param rows: SELECT the rows of a page and one more.
    :param last_scanned: SELECT the position of the last row that may be tested for the conditions, if there are any.
    """

    rows: Select[TokenRequest]
    last_scanned: Select[Any] | None


@lru_cache(maxsize=128)
def _build_statements(
    range_columns: tuple[str, ...],
    ranges: int,
    condition_columns: tuple[str, ...],
    bounds: tuple[str, ...],
    *,
    backwards: bool,
    merges: bool,
) -> _Statements:
    """Return the statements for all queries of one form, with parameters for their values.

    They are kept, since building those of all outcomes takes several times as long as running them.

    :param range_columns: the columns of each range.
    :param ranges: how many ranges there are.
    :param condition_columns: the columns that are tested.
    :param bounds: which of `since`, `until`, and of the position `at` and `number` there are.
    :param merges: whether the engine merges ranges row by row, as SQLite does. PostgreSQL would read and sort all rows.
    """
    table, limits = TokenRequest, []
    if "since" in bounds:
        limits.append(table.at >= bindparam("since"))
    if "until" in bounds:
        limits.append(table.at < bindparam("until"))
    if "at" in bounds:
        row = tuple_(table.at, table.number)
        position = tuple_(bindparam("at", type_=table.at.type), bindparam("number", type_=table.number.type))
        limits.append(row > position if backwards else row < position)
    parts = [
        select(*_COLUMNS).where(
            *(getattr(table, name) == bindparam(f"{name}_{place}") for name in range_columns), *limits
        )
        for place in range(ranges)
    ]
    if not condition_columns:
        return _Statements(_rows(_merge(parts, _SIZE, backwards=backwards, whole=False), backwards=backwards), None)
    scanned = _merge(parts, bindparam("scan_max", type_=Integer), backwards=backwards, whole=merges).subquery()
    order = _order(scanned.c.at, scanned.c.number, backwards=backwards)
    matching = [scanned.c[name].in_(bindparam(f"{name}_in", expanding=True)) for name in condition_columns]
    return _Statements(
        _rows(select(scanned).where(*matching).order_by(*order).limit(_SIZE), backwards=backwards),
        select(scanned.c.at, scanned.c.number)
        .order_by(*order)
        .offset(bindparam("before_last", type_=Integer))
        .limit(1),
    )


def _rows(keys: Select[Any] | CompoundSelect[Any], *, backwards: bool) -> Select[TokenRequest]:
    page = keys.subquery()
    return (
        select(TokenRequest)
        .join(
            page,
            (TokenRequest.client_key == page.c.client_key)
            & (TokenRequest.at == page.c.at)
            & (TokenRequest.number == page.c.number),
        )
        .order_by(*_order(page.c.at, page.c.number, backwards=backwards))
    )


def _merge(
    parts: Sequence[Select[Any]], limit: BindParameter[int], *, backwards: bool, whole: bool
) -> Select[Any] | CompoundSelect[Any]:
    """Return the first rows of all parts together, in their order.

    :param whole: let the engine merge the parts row by row, in place of a limit for each part.
    """
    if not whole or len(parts) == 1:
        parts = [
            part.order_by(*_order(TokenRequest.at, TokenRequest.number, backwards=backwards)).limit(limit)
            for part in parts
        ]
    if len(parts) == 1:
        return parts[0]
    merged = union_all(*(part if whole else select(part.subquery()) for part in parts))
    columns = merged.selected_columns
    return merged.order_by(*_order(columns.at, columns.number, backwards=backwards)).limit(limit)


def _order(at: Any, number: Any, *, backwards: bool) -> tuple[Any, Any]:
    return (at, number) if backwards else (at.desc(), number.desc())


def _page(found: _Found, size: int, *, newer: TokenRequest | _Position | None) -> RequestPage:
    rows = found.rows[:size]
    older = rows[-1] if len(found.rows) > size else found.stopped_at
    return RequestPage(
        rows,
        next_cursor=_cursor(older) if older else None,
        previous_cursor=_cursor(newer) if newer else None,
        searched_to=found.stopped_at.at if found.stopped_at else None,
    )


def _cursor(position: TokenRequest | _Position) -> str:
    return encode_cursor(position.at.isoformat(), str(position.number))


def _read_cursor(cursor: str) -> _Position | None:
    parts = decode_cursor(cursor, 2)
    if parts is None:
        return None
    try:
        at, number = datetime.fromisoformat(parts[0]).astimezone(UTC), int(parts[1])
    except (ValueError, OverflowError):
        return None
    return _Position(at, number) if abs(number) <= _NUMBER_MAX else None


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text if pattern.fullmatch(text) else ""
