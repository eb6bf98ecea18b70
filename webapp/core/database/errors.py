"""Translate errors of the database driver into errors of core."""

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import Unavailable
from .models import Base

LOG = logging.getLogger(__name__)


@contextmanager
def translate_database_errors() -> Iterator[None]:
    """Raise `Unavailable` in place of an error that says that the database is locked or unreachable (D8)."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_outage(error):
            raise Unavailable from error
        if _misses_table(error):
            LOG.error("The tables are missing or older than this release. Run: flask identity-clients upgrade")
        raise


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


def _is_outage(error: DBAPIError) -> bool:
    """Return whether the database is locked, full or unreachable, in contrast to a wrong statement."""
    if isinstance(error.orig, sqlite3.OperationalError):
        # This driver has one class for both; a wrong statement, such as one that names no table, is SQLITE_ERROR.
        return getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF != sqlite3.SQLITE_ERROR
    return isinstance(error, OperationalError)


def _misses_table(error: DBAPIError) -> bool:
    return str(error.orig).startswith(("no such table", "no such column")) or getattr(error.orig, "sqlstate", None) in (
        "42P01",
        "42703",
    )  # undefined_table, undefined_column
