"""Writing what became of token requests: counts, the latest of each client, and last uses (L2).

Every process takes the rows in the same order, so that none waits for another in a circle.
"""

import itertools
import random
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Delete, Dialect, bindparam, delete, insert, inspect, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from ..database.models import CallerAddress, ClientSecret, IdentityClient, TokenRequest, TokenRequestCount, UsedClientId
from ..database.outcomes import Outcome
from .queries import CALLERS_MAX, LATEST_MAX

TRIM_AFTER = 50
"""About how many more pile up before they are deleted, since deleting costs more than adding."""
ROWS_PER_STATEMENT = 500


class RecordedRequest(NamedTuple):
    """One token request, as it is kept."""

    client_key: uuid.UUID
    at: datetime
    outcome: str
    secret_label: str | None
    address: str | None
    scope: str


class RequestCountKey(NamedTuple):
    """What token requests are counted by."""

    day: date
    client_key: uuid.UUID
    secret_label: str
    outcome: str


@dataclass(slots=True)
class RequestCount:
    """How many token requests fell on one key.

    :param addresses: from where they came, at most 200, each with its last time; the latest stands last.
    """

    count: int = 0
    addresses: dict[str | None, datetime] = field(default_factory=dict)

    def add(self, at: datetime, address: str | None) -> None:
        """Count one more."""
        self.count += 1
        self._see(at, address)

    def add_newer(self, newer: "RequestCount") -> None:
        """Count those as well that came later."""
        self.count += newer.count
        for address, at in newer.addresses.items():
            self._see(at, address)

    def latest(self) -> tuple[datetime, str | None]:
        """Return when and from where the last one came."""
        address = next(reversed(self.addresses))
        return self.addresses[address], address

    def _see(self, at: datetime, address: str | None) -> None:
        self.addresses.pop(address, None)
        self.addresses[address] = at
        if len(self.addresses) > CALLERS_MAX:
            del self.addresses[next(iter(self.addresses))]


Written = frozenset[tuple[Any, ...]]
"""What was written for the running minute and is written once in a minute only."""


def write_requests(
    connection: Connection,
    counts: Mapping[RequestCountKey, RequestCount],
    requests: Iterable[RecordedRequest],
    written: Written = frozenset(),
) -> Written:
    """Add to the counts, keep the latest requests of each client, and note the last use of client, secret and address.

    :param requests: the latest of those that were counted, the oldest first; at least one.
    :param written: what the last call of this process returned, once that was committed.
    """
    ordered = sorted(counts.items(), key=lambda item: (item[0].day, item[0].client_key.int, *item[0][2:]))
    connection.execute(
        _ADD_COUNT[connection.dialect.name], [{**key._asdict(), "count": count.count} for key, count in ordered]
    )
    latest = _latest(requests)
    kept = itertools.chain.from_iterable(latest.values())
    text, row = _adding_requests(connection.dialect)
    # Some at a time: a process would keep the memory that all of them together need for a moment.
    while some := [row(request) for request in itertools.islice(kept, ROWS_PER_STATEMENT)]:
        connection.exec_driver_sql(text, some)
    _trim(connection, _TRIM, {key: len(of_client) for key, of_client in latest.items()})
    return _write_uses(connection, counts, written)


def _write_uses(connection: Connection, counts: Mapping[RequestCountKey, RequestCount], written: Written) -> Written:
    tokens: dict[tuple[Any, ...], dict[str, Any]] = {}
    uses: dict[tuple[Any, ...], dict[str, Any]] = {}
    calls: dict[tuple[Any, ...], dict[str, Any]] = {}
    authenticated = [(*count.latest(), key, count) for key, count in counts.items() if _is_authenticated(key)]
    for at, address, key, count in sorted(authenticated, key=itemgetter(0)):
        client_key, minute = key.client_key, _minute(at)
        if key.outcome == Outcome.ISSUED and (token := (minute, client_key)) not in written:
            tokens[token] = {"key": client_key, "used_at": at, "minute": minute}
        if (use := (minute, client_key, key.secret_label)) not in written:
            uses[use] = {
                "key": client_key,
                "of_label": key.secret_label,
                "used_at": at,
                "minute": minute,
                "of_address": address,
            }
        for caller, called_at in count.addresses.items():
            if caller and (call := (_minute(called_at), client_key, caller, None)) not in written:
                calls[call] = {"key": client_key, "of_address": caller, "used_at": called_at}
    # The clients before their secrets, as whoever changes a client takes the rows.
    for statement, new in (_LAST_TOKEN, tokens), (_USE, uses), (_CALL[connection.dialect.name], calls):
        if new:
            connection.execute(statement, [new[key] for key in sorted(new, key=itemgetter(slice(1, 3)))])
    _trim(connection, _TRIM_CALLERS, Counter(client_key for _, client_key, *_ in calls))
    running = max((minute for minute, *_ in uses), default=datetime.min.replace(tzinfo=UTC))
    return frozenset(key for key in itertools.chain(written, tokens, uses, calls) if key[0] >= running)


def _is_authenticated(key: RequestCountKey) -> bool:
    return bool(key.secret_label) and key.outcome in _AFTER_AUTHENTICATION


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _trim(connection: Connection, statement: Delete, added: Mapping[uuid.UUID, int]) -> None:
    """Delete what is too many of a client, now and then."""
    surplus = [
        {"key": key}
        for key, number in added.items()
        if random.random() < number / TRIM_AFTER  # noqa: S311 - it keeps no secret
    ]
    if surplus:
        connection.execute(statement, sorted(surplus, key=lambda one: one["key"].int))


def clients_by_used_id(connection: Connection, client_ids: Iterable[str]) -> Mapping[str, uuid.UUID]:
    """Return which client has, or once had, each of these IDs in whatever letter case; an ID of nobody is not in it."""
    folded = {client_id.casefold() for client_id in client_ids}
    rows = connection.execute(
        select(UsedClientId.client_id_folded, UsedClientId.client_key).where(UsedClientId.client_id_folded.in_(folded))
    )
    return {client_id: key for client_id, key in rows if key is not None}


def _latest(requests: Iterable[RecordedRequest]) -> dict[uuid.UUID, deque[RecordedRequest]]:
    of_client: dict[uuid.UUID, deque[RecordedRequest]] = {}
    for request in requests:
        of_client.setdefault(request.client_key, deque(maxlen=LATEST_MAX)).append(request)
    return {key: of_client[key] for key in sorted(of_client, key=lambda key: key.int)}


def _adding(insert_into: Any) -> Any:
    statement = insert_into(TokenRequestCount)
    return statement.on_conflict_do_update(
        index_elements=inspect(TokenRequestCount).primary_key,
        set_={"count": TokenRequestCount.count + statement.excluded["count"]},
    )


@lru_cache(maxsize=8)
def _adding_requests(dialect: Dialect) -> tuple[str, Callable[[RecordedRequest], Any]]:
    """Return the INSERT of one kept request, and what makes a row of parameters for its driver.

    Compiled once and without the engine's own way from values to parameters, which takes twice as long: a busy
    process writes thousands of them a second.
    """
    statement = insert(TokenRequest).compile(dialect=dialect)
    columns = inspect(TokenRequest).local_table.columns
    converters = [
        (place, convert)
        for place, column in enumerate(columns)
        if (convert := column.type.dialect_impl(dialect).bind_processor(dialect))
    ]
    names = columns.keys()
    is_by_place = getattr(statement, "positiontup", None) is not None

    def row(request: RecordedRequest) -> Any:
        client_key, at, *rest = request
        values = [client_key, at, next(_numbers), *rest]
        for place, convert in converters:
            values[place] = convert(values[place])
        return tuple(values) if is_by_place else dict(zip(names, values, strict=True))

    return str(statement), row


_numbers = itertools.count(random.getrandbits(62))
_AFTER_AUTHENTICATION = frozenset(Outcome)
_ADD_COUNT = {"sqlite": _adding(sqlite.insert), "postgresql": _adding(postgresql.insert)}
_Kept = aliased(TokenRequest)
_TRIM = delete(TokenRequest).where(
    TokenRequest.client_key == bindparam("key"),
    tuple_(TokenRequest.at, TokenRequest.number)
    <= select(_Kept.at, _Kept.number)
    .where(_Kept.client_key == bindparam("key"))
    .order_by(_Kept.at.desc(), _Kept.number.desc())
    .offset(LATEST_MAX)
    .limit(1)
    .scalar_subquery(),
)
_Called = aliased(CallerAddress)
_TRIM_CALLERS = delete(CallerAddress).where(
    CallerAddress.client_key == bindparam("key"),
    CallerAddress.last_at
    < select(_Called.last_at)
    .where(_Called.client_key == bindparam("key"))
    .order_by(_Called.last_at.desc())
    .offset(CALLERS_MAX - 1)
    .limit(1)
    .scalar_subquery(),
)


# Both once a minute at most, whichever process is first.
_LAST_TOKEN = (
    update(IdentityClient)
    .where(IdentityClient.id == bindparam("key"), IdentityClient.last_token_at < bindparam("minute"))
    .values(last_token_at=bindparam("used_at"))
)


_USE = (
    update(ClientSecret)
    .where(
        ClientSecret.client_key == bindparam("key"),
        ClientSecret.label == bindparam("of_label"),
        or_(ClientSecret.last_used_at.is_(None), ClientSecret.last_used_at < bindparam("minute")),
    )
    .values(last_used_at=bindparam("used_at"), last_used_address=bindparam("of_address"))
)


def _calling(insert_into: Any) -> Any:
    statement = insert_into(CallerAddress).values(
        client_key=bindparam("key"), address=bindparam("of_address"), last_at=bindparam("used_at")
    )
    return statement.on_conflict_do_update(
        index_elements=inspect(CallerAddress).primary_key,
        set_={"last_at": statement.excluded.last_at},
        where=CallerAddress.last_at < statement.excluded.last_at,
    )


_CALL = {"sqlite": _calling(sqlite.insert), "postgresql": _calling(postgresql.insert)}
