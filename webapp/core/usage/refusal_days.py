"""Keep the days on which many of a client's token requests were refused, by which such clients are found."""

import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter

from sqlalchemy import Connection, bindparam, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from ..database.models import RefusalDay, TokenRequestCount
from ..database.outcomes import Outcome
from .bulk import in_batches
from .counts import RequestCountKey

REFUSED_PERCENT = 20
"""The share of refused token requests above which a client needs attention."""
_DAY = timedelta(days=1)


def update_refusal_days(
    connection: Connection, counts: Iterable[RequestCountKey], accounts: Mapping[uuid.UUID, str]
) -> None:
    """Store for each counted client whether the share of refused requests is high on that day, and on the next.

    Only a refusal raises the share, so that a client without one is looked at only where the day is stored already.

    :param counts: the counts that were added to; those of clients without an account in `accounts` are ignored.
    """
    has_refusal_on: dict[date, dict[uuid.UUID, bool]] = {}
    for key in counts:
        if key.client_key in accounts:
            clients = has_refusal_on.setdefault(key.day, {})
            clients[key.client_key] = clients.get(key.client_key, False) or key.outcome != Outcome.ISSUED
    for day, clients in sorted(has_refusal_on.items()):
        for keys in in_batches(sorted(clients, key=attrgetter("int"))):
            parameters = {"accounts": _accounts_of(keys, accounts), "day": day, "keys": keys}
            stored = set(connection.scalars(_STORED, parameters))
            if changed := [key for key in keys if clients[key] or key in stored]:
                _replace(connection, day, changed, accounts)


def _replace(connection: Connection, day: date, keys: Sequence[uuid.UUID], accounts: Mapping[uuid.UUID, str]) -> None:
    """Replace the rows of clients for a day and for the next one."""
    # The next day too: what is written late must not take its requests from it.
    shares = {row_day: {key: [0, 0] for key in keys} for row_day in (day, day + _DAY)}
    parameters = {"keys": keys, "days": [day - _DAY, day, day + _DAY]}
    for client_key, counted_day, refused, requests in connection.execute(_SHARES, parameters):
        for row_day in shares.keys() & {counted_day, counted_day + _DAY}:
            shares[row_day][client_key][0] += int(refused)
            shares[row_day][client_key][1] += int(requests)
    for row_day, of_clients in shares.items():
        connection.execute(
            delete(RefusalDay).where(
                RefusalDay.account_id.in_(_accounts_of(keys, accounts)),
                RefusalDay.day == row_day,
                RefusalDay.client_key.in_(keys),
            )
        )
        rows = [
            {
                "account_id": accounts[key],
                "day": row_day,
                "client_key": key,
                "refused": refused,
                "requests": requests,
            }
            for key, (refused, requests) in of_clients.items()
            if refused * 100 > requests * REFUSED_PERCENT
        ]
        if rows:
            connection.execute(_INSERT[connection.dialect.name], rows)


def _accounts_of(keys: Iterable[uuid.UUID], accounts: Mapping[uuid.UUID, str]) -> list[str]:
    return sorted({accounts[key] for key in keys})


_STORED = select(RefusalDay.client_key).where(
    RefusalDay.account_id.in_(bindparam("accounts", expanding=True)),
    RefusalDay.day == bindparam("day"),
    RefusalDay.client_key.in_(bindparam("keys", expanding=True)),
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
_INSERT = {
    "sqlite": sqlite.insert(RefusalDay).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(RefusalDay).on_conflict_do_nothing(),
}
