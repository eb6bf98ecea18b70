"""Check whether the database can be used, for `/readyz` (D8)."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine, text

from ..errors import NotWritable
from .errors import log_cause, translate_database_errors
from .migrations import IDENTITY_CLIENTS
from .sqlite import is_writable


def check_ready(engine: Engine) -> None:
    """Check that the database responds, has our tables, and can be written.

    :raises NotWritable: it is read-only, or its disk is full.
    :raises Unavailable: it is unreachable.
    :raises sqlalchemy.exc.DBAPIError: it has no tables of Identity Clients.
    """
    with translate_database_errors(), engine.connect() as connection:
        connection.execute(text(f"SELECT version_num FROM {IDENTITY_CLIENTS.version_table}"))  # noqa: S608 - a constant
        if connection.dialect.name == "postgresql":
            is_read_only = connection.scalar(text("SELECT current_setting('transaction_read_only')")) == "on"
            if is_read_only:
                raise NotWritable
    if engine.dialect.name == "sqlite" and engine.url.database:
        _check_sqlite_writable(Path(engine.url.database))


def _check_sqlite_writable(path: Path) -> None:
    """Write a row of the version table as it is; a full disk shows only at the commit.

    :raises NotWritable: SQLite refuses the write.
    """
    if not is_writable(path):
        log_cause(f"{path.name} is read-only")
        raise NotWritable
    table = IDENTITY_CLIENTS.version_table
    try:
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous=OFF")
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(f"UPDATE {table} SET version_num = version_num")  # noqa: S608 - a constant
            connection.execute("COMMIT")
    except sqlite3.OperationalError as error:
        # A database that another connection is writing to can be written.
        if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            log_cause(f"{error} ({error.sqlite_errorname})")
            raise NotWritable from error
