"""Write when clients, secrets, keys and addresses were last used, accurate to a minute (L2, A8)."""

import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Connection, Update, bindparam, delete, inspect, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from ..database.models import CallerAddress, ClientKey, ClientSecret, IdentityClient
from ..database.outcomes import Outcome
from .bulk import delete_surplus
from .counts import RequestCount, RequestCountKey
from .queries import CALLERS_MAX

SURPLUS_CALLERS = 50
"""About how many surplus addresses of a client accumulate before they are deleted, since DELETE costs more."""
RecentWrites = frozenset[tuple[Any, ...]]
"""Keys of the last uses that were written for the current minute, and need not be written again in it.

Each begins with the minute and the client. A label follows for a secret or key; an address and None for an address.
"""
_Rows = dict[tuple[Any, ...], dict[str, Any]]
"""The parameters of the rows to write, by their keys as in `RecentWrites`."""


class _LastUses(NamedTuple):
    """The last uses to write, in the order in which they are written.

    Clients come before their secrets and keys: changes of a client lock the rows in this order too.
    """

    tokens: _Rows
    secrets: _Rows
    keys: _Rows
    addresses: _Rows


def write_last_uses(
    connection: Connection, counts: Mapping[RequestCountKey, RequestCount], recent_writes: RecentWrites
) -> RecentWrites:
    """Update the last uses of the counted requests, each at most once a minute.

    Return what need not be written again.

    :param recent_writes: the value that the last committed call of this process returned.
    """
    uses = _collect(counts, recent_writes)
    statements = (
        _UPDATE_LAST_TOKEN,
        _UPDATE_SECRET,
        _UPDATE_KEY,
        _UPSERT_ADDRESS[connection.dialect.name],
    )
    for statement, rows in zip(statements, uses, strict=True):
        if rows:
            connection.execute(statement, [rows[key] for key in sorted(rows, key=itemgetter(slice(1, 3)))])
    _delete_surplus_addresses(connection, (client_key for _, client_key, *_ in uses.addresses))
    minutes = (minute for minute, *_ in itertools.chain(uses.secrets, uses.keys))
    current_minute = max(minutes, default=datetime.min.replace(tzinfo=UTC))
    return frozenset(key for key in itertools.chain(recent_writes, *uses) if key[0] >= current_minute)


def _collect(counts: Mapping[RequestCountKey, RequestCount], recent_writes: RecentWrites) -> _LastUses:
    """Return the last uses of requests that authenticated, without recent ones."""
    uses = _LastUses({}, {}, {}, {})
    authenticated = [(*count.latest(), key, count) for key, count in counts.items() if _is_authenticated(key)]
    for at, address, key, count in sorted(authenticated, key=itemgetter(0)):
        client_key, minute = key.client_key, _minute(at)
        if key.outcome == Outcome.ISSUED and (token := (minute, client_key)) not in recent_writes:
            uses.tokens[token] = {"key": client_key, "used_at": at, "minute": minute}
        if (use := (minute, client_key, key.secret_label)) not in recent_writes:
            (uses.keys if key.secret_label.isdecimal() else uses.secrets)[use] = {
                "key": client_key,
                "of_label": key.secret_label,
                "used_at": at,
                "minute": minute,
                "of_address": address,
            }
        for caller, called_at in count.addresses.items():
            if caller and (call := (_minute(called_at), client_key, caller, None)) not in recent_writes:
                uses.addresses[call] = {"key": client_key, "of_address": caller, "used_at": called_at}
    return uses


def _is_authenticated(key: RequestCountKey) -> bool:
    return bool(key.secret_label) and key.outcome in _AFTER_AUTHENTICATION


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _delete_surplus_addresses(connection: Connection, clients: Iterable[uuid.UUID]) -> None:
    """Delete the least recent addresses of clients that have too many.

    :param clients: the client of each written address.
    """
    added = sorted(Counter(clients).items(), key=lambda item: item[0].int)
    surplus = (({"key": client_key}, number) for client_key, number in added)
    delete_surplus(connection, _DELETE_LEAST_RECENT, surplus, after=SURPLUS_CALLERS)


def _update_last_use(table: type[ClientSecret | ClientKey]) -> Update:
    return (
        update(table)
        .where(
            table.client_key == bindparam("key"),
            table.label == bindparam("of_label"),
            or_(table.last_used_at.is_(None), table.last_used_at < bindparam("minute")),
        )
        .values(last_used_at=bindparam("used_at"), last_used_address=bindparam("of_address"))
    )


def _upsert_address(insert_into: Any) -> Any:
    statement = insert_into(CallerAddress).values(
        client_key=bindparam("key"), address=bindparam("of_address"), last_at=bindparam("used_at")
    )
    return statement.on_conflict_do_update(
        index_elements=inspect(CallerAddress).primary_key,
        set_={"last_at": statement.excluded.last_at},
        where=CallerAddress.last_at < statement.excluded.last_at,
    )


_AFTER_AUTHENTICATION = frozenset(Outcome)
"""The outcomes of requests that authenticated; those of others are `AuthenticationFailure`."""
# Of all processes, the first one in each minute writes the row.
_UPDATE_LAST_TOKEN = (
    update(IdentityClient)
    .where(IdentityClient.id == bindparam("key"), IdentityClient.last_token_at < bindparam("minute"))
    .values(last_token_at=bindparam("used_at"))
)
_UPDATE_SECRET, _UPDATE_KEY = _update_last_use(ClientSecret), _update_last_use(ClientKey)
_UPSERT_ADDRESS = {"sqlite": _upsert_address(sqlite.insert), "postgresql": _upsert_address(postgresql.insert)}
_Caller = aliased(CallerAddress)
_DELETE_LEAST_RECENT = delete(CallerAddress).where(
    CallerAddress.client_key == bindparam("key"),
    CallerAddress.last_at
    < select(_Caller.last_at)
    .where(_Caller.client_key == bindparam("key"))
    .order_by(_Caller.last_at.desc())
    .offset(CALLERS_MAX - 1)
    .limit(1)
    .scalar_subquery(),
)
