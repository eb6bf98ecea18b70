"""Store the latest token requests of each client individually, for its page and for the request log (L2)."""

import itertools
import random
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect, Integer, bindparam, delete, insert, inspect, select, tuple_
from sqlalchemy.orm import aliased

from ..database.models import TokenRequest
from ..database.outcomes import Outcome
from .bulk import delete_surplus, in_batches

REQUESTS_PER_DAY_MAX = 10_000
"""How many token requests of a client are stored individually for one day (UTC); beyond, the oldest are deleted."""
REQUESTS_PER_WRITE_MAX = 200
"""How many issued and how many refused requests of a client one write stores individually, the latest of them."""
SURPLUS_REQUESTS = 500
"""About how many surplus rows of a client accumulate before they are deleted, since DELETE costs more than INSERT."""


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


LatestRequests = Mapping[tuple[uuid.UUID, bool], Sequence[RecordedRequest]]
"""Requests by their client and by whether a token was issued, oldest first, in the order of the keys."""


def select_latest(requests: Iterable[RecordedRequest]) -> LatestRequests:
    """Return the latest requests of each client, the issued ones apart: a busy caller must not displace refusals.

    :param requests: oldest first.
    """
    latest: dict[tuple[uuid.UUID, bool], deque[RecordedRequest]] = {}
    for request in requests:
        key = request.client_key, request.outcome == Outcome.ISSUED
        if key not in latest:
            latest[key] = deque(maxlen=REQUESTS_PER_WRITE_MAX)
        latest[key].append(request)
    return {key: latest[key] for key in sorted(latest, key=lambda key: (key[0].int, key[1]))}


def store_requests(connection: Connection, latest: LatestRequests, accounts: Mapping[uuid.UUID, str]) -> None:
    """Store requests, and delete the oldest ones of clients with too many on one day.

    :param accounts: the accounts of the clients whose requests have no account ID.
    """
    text, row = _compile_insert(connection.dialect)
    stored = itertools.chain.from_iterable(latest.values())
    # In batches, since the process would keep the memory that all rows together need.
    for batch in in_batches(row(request, accounts) for request in stored):
        connection.exec_driver_sql(text, batch)
    added = Counter((key, request.at.date()) for (key, _), of_client in latest.items() for request in of_client)
    days = {day: datetime.combine(day, time.min, UTC) for _, day in added}
    surplus = (
        ({"key": key, "day": days[day], "next_day": days[day] + _DAY, "kept": REQUESTS_PER_DAY_MAX}, number)
        for (key, day), number in added.items()
    )
    delete_surplus(connection, _DELETE_OLDEST, surplus, after=SURPLUS_REQUESTS)


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


_DAY = timedelta(days=1)
_numbers = itertools.count(random.getrandbits(62))
"""The numbers that distinguish requests at the same time, with another start in each process."""
_Stored = aliased(TokenRequest)
_DELETE_OLDEST = delete(TokenRequest).where(
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
