"""Translate errors of the database driver into errors of core."""

import logging
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from .. import metrics
from ..errors import NotWritable, Unavailable
from .models import Base

LOG = logging.getLogger(__name__)
LOG_INTERVAL_SECONDS = 10
"""How often the log names the same cause."""
LOGGED_CAUSES_MAX = 100

# By SQLSTATE, whole classes first. These are states of the server, never faults of a statement.
_UNAVAILABLE_CLASSES = frozenset(("08", "53", "57", "58"))  # connection, resources, operator intervention, system
_UNAVAILABLE_STATES = frozenset(
    (
        "25P03",  # idle_in_transaction_session_timeout
        "25P04",  # transaction_timeout
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "55P03",  # lock_not_available
    )
)
_NOT_WRITABLE_STATES = frozenset(("25006", "53100"))  # read_only_sql_transaction, disk_full
_MISSING_TABLE_STATES = frozenset(("42P01", "42703"))  # undefined_table, undefined_column

_SQLITE_UNAVAILABLE = frozenset(
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_INTERRUPT,
    )
)
_SQLITE_NOT_WRITABLE = frozenset(
    (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_PERM)
)

_logged_at: dict[str, float] = {}


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Raise an error of core in place of one that says that the database cannot be used now (D8), and log its cause.

    :raises NotWritable: the database is read-only, or its disk is full.
    :raises Unavailable: the database is locked, unreachable or overloaded, or does not respond.
    """
    try:
        yield
    except PoolTimeout as error:
        metrics.add(metrics.DATABASE, "pool_exhausted")
        log_cause("all connections of the pool are in use")
        raise Unavailable from error
    except DBAPIError as error:
        translated = _translate(error)
        if translated is not None:
            metrics.add(metrics.DATABASE, "not_writable" if isinstance(translated, NotWritable) else "unavailable")
            raise translated from error
        if _misses_table(error):
            metrics.add(metrics.DATABASE, "missing_tables")
            LOG.error("The tables are missing or older than this release. Run: flask identity-clients upgrade")
        raise


def log_cause(cause: str) -> None:
    """Log why the database cannot be used, each cause at most once in `LOG_INTERVAL_SECONDS`."""
    now = time.monotonic()
    if now - _logged_at.get(cause, -LOG_INTERVAL_SECONDS) >= LOG_INTERVAL_SECONDS:
        if len(_logged_at) > LOGGED_CAUSES_MAX:
            _logged_at.clear()
        _logged_at[cause] = now
        LOG.error("The database cannot be used: %s", cause)


def sqlstate_of(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a driver's error, None if it has none."""
    state: str | None = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    return state


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the violated unique or primary key, the same on every engine; None for other constraints."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        return str(diagnosis.constraint_name)
    # SQLite names the columns instead of the constraint.
    return _UNIQUE_BY_COLUMNS.get(str(error.orig).removeprefix("UNIQUE constraint failed: "))


_UNIQUE_BY_COLUMNS = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): str(constraint.name)
    for table in Base.metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint)
}


def _translate(error: DBAPIError) -> Unavailable | None:
    """Return the error to raise if the state of the database caused this one, None if the statement did."""
    if isinstance(error.orig, sqlite3.Error):
        code = getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        cause = f"{error.orig} ({getattr(error.orig, 'sqlite_errorname', 'no code')})"
        is_unavailable, is_not_writable = code in _SQLITE_UNAVAILABLE, code in _SQLITE_NOT_WRITABLE
    else:
        state = sqlstate_of(error.orig)
        cause = f"{_first_line(error.orig)} (SQLSTATE {state or 'none'})"
        is_not_writable = state in _NOT_WRITABLE_STATES
        is_unavailable = state in _UNAVAILABLE_STATES or (state or "")[:2] in _UNAVAILABLE_CLASSES
        if state is None or error.connection_invalidated:
            # The driver itself reports that it has lost the connection, or cannot make one.
            is_unavailable = isinstance(error, OperationalError) or error.connection_invalidated
    if not (is_unavailable or is_not_writable):
        return None
    log_cause(cause)
    return NotWritable() if is_not_writable else Unavailable()


def _first_line(error: BaseException | None) -> str:
    # The lines that follow may repeat values (L5).
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary or error or "").partition("\n")[0]


def _misses_table(error: DBAPIError) -> bool:
    return (
        str(error.orig).startswith(("no such table", "no such column"))
        or sqlstate_of(error.orig) in _MISSING_TABLE_STATES
    )
