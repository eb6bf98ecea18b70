"""Translate errors of the database into errors of the domain."""

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
    """Raise `Unavailable` where the database is locked or out of reach (D8)."""
    try:
        yield
    except PoolTimeout as error:
        raise Unavailable from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_outage(error):
            raise Unavailable from error
        if _misses_table(error):
            LOG.error("Tables are missing, or older than this release. Run: flask identity-clients upgrade")
        raise


def _misses_table(error: DBAPIError) -> bool:
    return str(error.orig).startswith(("no such table", "no such column")) or getattr(error.orig, "sqlstate", None) in (
        "42P01",
        "42703",
    )  # undefined_table, undefined_column


def _is_outage(error: DBAPIError) -> bool:
    """Tell a database that is locked, full or out of reach from a statement that is wrong."""
    if isinstance(error.orig, sqlite3.OperationalError):
        # This driver has one class for both; a wrong statement, such as one on a missing table, is SQLITE_ERROR.
        return getattr(error.orig, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF != sqlite3.SQLITE_ERROR
    return isinstance(error, OperationalError)


def violated_constraint(error: IntegrityError) -> str | None:
    """Return the name of the unique or primary key that refused a row, the same on every engine; None for another."""
    diagnosis = getattr(error.orig, "diag", None)
    if diagnosis is not None:
        return str(diagnosis.constraint_name)
    # SQLite names the columns in place of the constraint.
    return _UNIQUE_BY_COLUMNS.get(str(error.orig).removeprefix("UNIQUE constraint failed: "))


_UNIQUE_BY_COLUMNS = {
    ", ".join(f"{table.name}.{column.name}" for column in constraint.columns): str(constraint.name)
    for table in Base.metadata.tables.values()
    for constraint in table.constraints
    if isinstance(constraint, UniqueConstraint | PrimaryKeyConstraint)
}
