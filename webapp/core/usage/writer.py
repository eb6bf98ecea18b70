"""Write token requests: counts, the latest requests of each client, and the last uses (L2).

Every process locks the rows in the same order, so that they cannot deadlock.
"""

import itertools
import random
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Delete,
    Dialect,
    Integer,
    Update,
    bindparam,
    case,
    delete,
    func,
    insert,
    inspect,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from ..database.models import (
    CallerAddress,
    ClaimedClientId,
    ClientKey,
    ClientSecret,
    IdentityClient,
    RefusalDay,
    TokenRequest,
    TokenRequestCount,
)
from ..database.outcomes import Outcome
from .queries import CALLERS_MAX

REQUESTS_PER_DAY_MAX = 10_000
"""How many token requests of a client are stored individually for one day (UTC); beyond, the oldest are deleted."""
REQUESTS_PER_WRITE_MAX = 200
"""How many issued and how many refused requests of a client one write stores individually, the latest of them."""
TRIM_AFTER = {"requests": 500, "callers": 50}
"""About how many surplus rows accumulate before they are deleted, since DELETE costs more than INSERT."""
ROWS_PER_STATEMENT = 500
REFUSED_PERCENT = 20
"""The share of refused token requests above which a client needs attention."""
_DAY = timedelta(days=1)


class RecordedRequest(NamedTuple):
    """One token request to store."""

    client_key: uuid.UUID
    at: datetime
    outcome: str
    secret_label: str | None
    address: str | None
    scope: str
    account_id: str | None = None
    """None: it is looked up."""
    request_id: str | None = None


class RequestCountKey(NamedTuple):
    """The key by which token requests are counted."""

    day: date
    client_key: uuid.UUID
    secret_label: str
    outcome: str


@dataclass(slots=True)
class RequestCount:
    """The number of token requests with one key.

    :param addresses: their addresses, at most `CALLERS_MAX`, each with its last time; the latest comes last.
    """

    count: int = 0
    addresses: dict[str | None, datetime] = field(default_factory=dict)

    def add(self, at: datetime, address: str | None) -> None:
        """Count one request."""
        self.count += 1
        self._add_address(at, address)

    def merge(self, newer: "RequestCount") -> None:
        """Add the count of later requests."""
        self.count += newer.count
        for address, at in newer.addresses.items():
            self._add_address(at, address)

    def latest(self) -> tuple[datetime, str | None]:
        """Return the time and the address of the last request."""
        address = next(reversed(self.addresses))
        return self.addresses[address], address

    def _add_address(self, at: datetime, address: str | None) -> None:
        self.addresses.pop(address, None)
        self.addresses[address] = at
        if len(self.addresses) > CALLERS_MAX:
            del self.addresses[next(iter(self.addresses))]


RecentWrites = frozenset[tuple[Any, ...]]
"""Keys of the last uses that were written for the current minute, and need not be written again in it."""


def write_requests(
    connection: Connection,
    counts: Mapping[RequestCountKey, RequestCount],
    requests: Iterable[RecordedRequest],
    recent_writes: RecentWrites = frozenset(),
) -> RecentWrites:
    """Add to the counts, store the latest requests, and update the last use of clients, secrets and addresses.

    :param requests: the latest of the counted requests, oldest first; at least one.
    :param recent_writes: the value that the last committed call of this process returned.
    """
    ordered = sorted(counts.items(), key=lambda item: (item[0].day, item[0].client_key.int, *item[0][2:]))
    connection.execute(
        _UPSERT_COUNT[connection.dialect.name], [{**key._asdict(), "count": count.count} for key, count in ordered]
    )
    latest = _latest(requests)
    accounts = _accounts(connection, latest, counts)
    stored = itertools.chain.from_iterable(latest.values())
    text, row = _compile_insert(connection.dialect)
    # In batches, since the process would keep the memory that all rows together need.
    while batch := [row(request, accounts) for request in itertools.islice(stored, ROWS_PER_STATEMENT)]:
        connection.exec_driver_sql(text, batch)
    _trim_requests(connection, latest)
    note_refusals(connection, counts, accounts)
    return _write_last_uses(connection, counts, recent_writes)


def clients_by_claimed_id(connection: Connection, client_ids: Iterable[str]) -> Mapping[str, uuid.UUID]:
    """Return the clients that have or had these IDs in any letter case, by case-folded ID; unknown IDs are left out."""
    folded = {client_id.casefold() for client_id in client_ids}
    rows = connection.execute(
        select(ClaimedClientId.client_id_folded, ClaimedClientId.client_key).where(
            ClaimedClientId.client_id_folded.in_(folded)
        )
    )
    return {client_id: key for client_id, key in rows if key is not None}


def note_refusals(connection: Connection, counts: Iterable[RequestCountKey], accounts: Mapping[uuid.UUID, str]) -> None:
    """Note for each counted client whether the share of refused requests is high on that day, and on the next.

    Only a refusal raises the share, so that a client without one is looked at only where it is noted already.
    """
    clients_on: dict[date, dict[uuid.UUID, bool]] = {}
    for key in counts:
        if key.client_key in accounts:
            clients = clients_on.setdefault(key.day, {})
            clients[key.client_key] = clients.get(key.client_key, False) or key.outcome != Outcome.ISSUED
    for day, clients in sorted(clients_on.items()):
        for keys in _batches(sorted(clients, key=attrgetter("int"))):
            noted = set(
                connection.scalars(_NOTED, {"accounts": _accounts_of(keys, accounts), "day": day, "keys": keys})
            )
            if changed := [key for key in keys if clients[key] or key in noted]:
                _note_shares(connection, day, changed, accounts)


def _note_shares(
    connection: Connection, day: date, keys: Sequence[uuid.UUID], accounts: Mapping[uuid.UUID, str]
) -> None:
    shares = {noted_day: {key: [0, 0] for key in keys} for noted_day in (day, day + _DAY)}
    # The next day too: what is written late must not take its requests from it.
    parameters = {"keys": keys, "days": [day - _DAY, day, day + _DAY]}
    for client_key, counted_day, refused, requests in connection.execute(_SHARES, parameters):
        for noted_day in shares.keys() & {counted_day, counted_day + _DAY}:
            shares[noted_day][client_key][0] += int(refused)
            shares[noted_day][client_key][1] += int(requests)
    for noted_day, of_clients in shares.items():
        connection.execute(
            delete(RefusalDay).where(
                RefusalDay.account_id.in_(_accounts_of(keys, accounts)),
                RefusalDay.day == noted_day,
                RefusalDay.client_key.in_(keys),
            )
        )
        rows = [
            {"account_id": accounts[key], "day": noted_day, "client_key": key, "refused": refused, "requests": requests}
            for key, (refused, requests) in of_clients.items()
            if refused * 100 > requests * REFUSED_PERCENT
        ]
        if rows:
            connection.execute(_NOTE_REFUSALS[connection.dialect.name], rows)


def _accounts_of(keys: Iterable[uuid.UUID], accounts: Mapping[uuid.UUID, str]) -> list[str]:
    return sorted({accounts[key] for key in keys})


def _write_last_uses(
    connection: Connection, counts: Mapping[RequestCountKey, RequestCount], recent_writes: RecentWrites
) -> RecentWrites:
    tokens: dict[tuple[Any, ...], dict[str, Any]] = {}
    secret_uses: dict[tuple[Any, ...], dict[str, Any]] = {}
    key_uses: dict[tuple[Any, ...], dict[str, Any]] = {}
    calls: dict[tuple[Any, ...], dict[str, Any]] = {}
    authenticated = [(*count.latest(), key, count) for key, count in counts.items() if _is_authenticated(key)]
    for at, address, key, count in sorted(authenticated, key=itemgetter(0)):
        client_key, minute = key.client_key, _minute(at)
        if key.outcome == Outcome.ISSUED and (token := (minute, client_key)) not in recent_writes:
            tokens[token] = {"key": client_key, "used_at": at, "minute": minute}
        if (use := (minute, client_key, key.secret_label)) not in recent_writes:
            (key_uses if key.secret_label.isdecimal() else secret_uses)[use] = {
                "key": client_key,
                "of_label": key.secret_label,
                "used_at": at,
                "minute": minute,
                "of_address": address,
            }
        for caller, called_at in count.addresses.items():
            if caller and (call := (_minute(called_at), client_key, caller, None)) not in recent_writes:
                calls[call] = {"key": client_key, "of_address": caller, "used_at": called_at}
    # Clients before their secrets and keys: changes of a client lock the rows in this order too.
    for statement, rows in (
        (_UPDATE_LAST_TOKEN, tokens),
        (_UPDATE_SECRET_USE, secret_uses),
        (_UPDATE_KEY_USE, key_uses),
        (_UPSERT_CALLER_ADDRESS[connection.dialect.name], calls),
    ):
        if rows:
            connection.execute(statement, [rows[key] for key in sorted(rows, key=itemgetter(slice(1, 3)))])
    callers = Counter(client_key for _, client_key, *_ in calls)
    ordered = sorted(callers.items(), key=lambda item: item[0].int)
    _trim(connection, _TRIM_CALLERS, (({"key": key}, number) for key, number in ordered), TRIM_AFTER["callers"])
    uses = [*secret_uses, *key_uses]
    current_minute = max((minute for minute, *_ in uses), default=datetime.min.replace(tzinfo=UTC))
    return frozenset(key for key in itertools.chain(recent_writes, tokens, uses, calls) if key[0] >= current_minute)


def _is_authenticated(key: RequestCountKey) -> bool:
    return bool(key.secret_label) and key.outcome in _AFTER_AUTHENTICATION


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _trim(
    connection: Connection, statement: Delete, added: Iterable[tuple[Mapping[str, Any], int]], after: int
) -> None:
    """Delete surplus rows, with a probability that grows with the number of added rows.

    :param added: the parameters of each deletion, in the order of the keys, and how many rows were added.
    :param after: about how many surplus rows accumulate.
    """
    surplus = [
        parameters
        for parameters, number in added
        if random.random() < number / after  # noqa: S311 - not for security
    ]
    if surplus:
        connection.execute(statement, surplus)


def _trim_requests(connection: Connection, latest: Mapping[tuple[uuid.UUID, bool], Iterable[RecordedRequest]]) -> None:
    added = Counter((key, request.at.date()) for (key, _), of_client in latest.items() for request in of_client)
    days = {day: datetime.combine(day, time.min, UTC) for _, day in added}
    surplus = (
        ({"key": key, "day": days[day], "next_day": days[day] + _DAY, "kept": REQUESTS_PER_DAY_MAX}, number)
        for (key, day), number in added.items()
    )
    _trim(connection, _TRIM_REQUESTS, surplus, TRIM_AFTER["requests"])


def _latest(requests: Iterable[RecordedRequest]) -> dict[tuple[uuid.UUID, bool], deque[RecordedRequest]]:
    """Return the latest requests of each client, the issued ones apart: a busy caller must not displace refusals."""
    of_client: dict[tuple[uuid.UUID, bool], deque[RecordedRequest]] = {}
    for request in requests:
        key = request.client_key, request.outcome == Outcome.ISSUED
        if key not in of_client:
            of_client[key] = deque(maxlen=REQUESTS_PER_WRITE_MAX)
        of_client[key].append(request)
    return {key: of_client[key] for key in sorted(of_client, key=lambda key: (key[0].int, key[1]))}


def _accounts(
    connection: Connection,
    latest: Mapping[tuple[uuid.UUID, bool], Iterable[RecordedRequest]],
    counts: Iterable[RequestCountKey],
) -> Mapping[uuid.UUID, str]:
    """Return the accounts of the clients with a refused request, or with a request that has no account ID."""
    account_ids = {key: account_id for (key, _), (first, *_) in latest.items() if (account_id := first.account_id)}
    wanted = [key for key, _ in latest if key not in account_ids]
    wanted += [key.client_key for key in counts if key.outcome != Outcome.ISSUED and key.client_key not in account_ids]
    for keys in _batches(dict.fromkeys(wanted)):
        rows = connection.execute(
            select(IdentityClient.id, IdentityClient.account_id).where(IdentityClient.id.in_(keys))
        )
        account_ids.update((row.id, row.account_id) for row in rows)
    return account_ids


def _batches(keys: Iterable[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    rest = iter(keys)
    while batch := list(itertools.islice(rest, ROWS_PER_STATEMENT)):
        yield batch


def _upsert_count(insert_into: Any) -> Any:
    statement = insert_into(TokenRequestCount)
    return statement.on_conflict_do_update(
        index_elements=inspect(TokenRequestCount).primary_key,
        set_={"count": TokenRequestCount.count + statement.excluded["count"]},
    )


@lru_cache(maxsize=8)
def _compile_insert(dialect: Dialect) -> tuple[str, Callable[[RecordedRequest, Mapping[uuid.UUID, str]], Any]]:
    """Return the INSERT of one token request, and a function that converts a request to the driver's parameters.

    A busy process writes thousands of requests a second, for which SQLAlchemy's own conversion takes twice as long.
    """
    statement = insert(TokenRequest).compile(dialect=dialect)
    columns = inspect(TokenRequest).local_table.columns
    converters = [
        (index, convert)
        for index, column in enumerate(columns)
        if (convert := column.type.dialect_impl(dialect).bind_processor(dialect))
    ]
    names = columns.keys()
    is_positional = getattr(statement, "positiontup", None) is not None

    def row(request: RecordedRequest, accounts: Mapping[uuid.UUID, str]) -> Any:
        client_key, at, outcome, secret_label, address, scope, account_id, request_id = request
        values = [client_key, at, next(_numbers), outcome, secret_label, address, scope, account_id, request_id]
        if account_id is None:
            values[-2] = accounts.get(client_key)
        for index, convert in converters:
            values[index] = convert(values[index])
        return tuple(values) if is_positional else dict(zip(names, values, strict=True))

    return str(statement), row


_numbers = itertools.count(random.getrandbits(62))
_AFTER_AUTHENTICATION = frozenset(Outcome)
_UPSERT_COUNT = {"sqlite": _upsert_count(sqlite.insert), "postgresql": _upsert_count(postgresql.insert)}
_Stored = aliased(TokenRequest)
_TRIM_REQUESTS = delete(TokenRequest).where(
    TokenRequest.client_key == bindparam("key"),
    TokenRequest.at >= bindparam("day"),
    tuple_(TokenRequest.at, TokenRequest.number)
    <= select(_Stored.at, _Stored.number)
    .where(_Stored.client_key == bindparam("key"), _Stored.at >= bindparam("day"), _Stored.at < bindparam("next_day"))
    .order_by(_Stored.at.desc(), _Stored.number.desc())
    .offset(bindparam("kept", type_=Integer))
    .limit(1)
    .scalar_subquery(),
)
_Caller = aliased(CallerAddress)
_TRIM_CALLERS = delete(CallerAddress).where(
    CallerAddress.client_key == bindparam("key"),
    CallerAddress.last_at
    < select(_Caller.last_at)
    .where(_Caller.client_key == bindparam("key"))
    .order_by(_Caller.last_at.desc())
    .offset(CALLERS_MAX - 1)
    .limit(1)
    .scalar_subquery(),
)

# Of all processes, the first one in each minute writes the row.
_UPDATE_LAST_TOKEN = (
    update(IdentityClient)
    .where(IdentityClient.id == bindparam("key"), IdentityClient.last_token_at < bindparam("minute"))
    .values(last_token_at=bindparam("used_at"))
)


def _update_use(table: type[ClientSecret | ClientKey]) -> Update:
    return (
        update(table)
        .where(
            table.client_key == bindparam("key"),
            table.label == bindparam("of_label"),
            or_(table.last_used_at.is_(None), table.last_used_at < bindparam("minute")),
        )
        .values(last_used_at=bindparam("used_at"), last_used_address=bindparam("of_address"))
    )


_UPDATE_SECRET_USE = _update_use(ClientSecret)
_UPDATE_KEY_USE = _update_use(ClientKey)


def _upsert_caller_address(insert_into: Any) -> Any:
    statement = insert_into(CallerAddress).values(
        client_key=bindparam("key"), address=bindparam("of_address"), last_at=bindparam("used_at")
    )
    return statement.on_conflict_do_update(
        index_elements=inspect(CallerAddress).primary_key,
        set_={"last_at": statement.excluded.last_at},
        where=CallerAddress.last_at < statement.excluded.last_at,
    )


_SHARES = (
    select(
        TokenRequestCount.client_key,
        TokenRequestCount.day,
        func.sum(case((TokenRequestCount.outcome != Outcome.ISSUED, TokenRequestCount.count), else_=0)),
        func.sum(TokenRequestCount.count),
    )
    .where(
        TokenRequestCount.day.in_(bindparam("days", expanding=True)),
        TokenRequestCount.client_key.in_(bindparam("keys", expanding=True)),
    )
    .group_by(TokenRequestCount.client_key, TokenRequestCount.day)
)
_NOTED = select(RefusalDay.client_key).where(
    RefusalDay.account_id.in_(bindparam("accounts", expanding=True)),
    RefusalDay.day == bindparam("day"),
    RefusalDay.client_key.in_(bindparam("keys", expanding=True)),
)
_NOTE_REFUSALS = {
    "sqlite": sqlite.insert(RefusalDay).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(RefusalDay).on_conflict_do_nothing(),
}
_UPSERT_CALLER_ADDRESS = {
    "sqlite": _upsert_caller_address(sqlite.insert),
    "postgresql": _upsert_caller_address(postgresql.insert),
}
