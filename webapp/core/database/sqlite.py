"""Set up SQLite: file permissions, pragmas and transactions."""

import os
import sqlite3
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event, inspect

from ...settings import SettingsError

BUSY_TIMEOUT_SECONDS = 4
"""How long a writer waits for another one; with the wait for a connection a request stays below 5 s (D8)."""
STATISTICS_TABLE = "sqlite_stat1"
ANALYZED_ROWS_MAX = 1_000
"""How many rows of each index `ANALYZE` reads; all tables with 1,000,000 clients take about a quarter of a second."""
CACHE_KIBIBYTES = 500
"""Per connection, of which a busy process has a dozen; the system's page cache holds the file for all of them."""


def listen_to_engine(engine: Engine) -> None:
    """Configure each new connection of a SQLite engine, and begin its transactions explicitly."""
    event.listen(engine, "connect", _configure_connection)
    event.listen(engine, "begin", _begin_transaction)


def prepare_file(name: str) -> None:
    """Create the database's directory (mode 0700) and file (0600) where they are missing.

    :raises SettingsError: other users have access to one of them (C4), it cannot be written, or the name is not a path.
    """
    if not name or name.startswith((":", "file:")):
        raise SettingsError("IDENTITY_CLIENTS_DATABASE_URL must name the SQLite file by its path.")
    path = Path(name)
    directory = path.parent
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
    if is_accessible_to_others(directory):
        raise SettingsError(
            f"Other users can look into {directory}, where the database is to be. Run: chmod 700 {directory}"
            f" - or, if others need it, put the database into a directory of its own, made by: mkdir -m 700 NAME"
        )
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if file.exists() and is_accessible_to_others(file):
            raise SettingsError(f"Other users can read {file}. Run: chmod 600 {file}")
        if file.exists() and not is_writable(file):
            raise SettingsError(f"The database cannot be written: {file} is read-only. Run: chmod 600 {file}")
    if not is_writable(directory):
        raise SettingsError(f"The database cannot be written: {directory} is read-only. Run: chmod 700 {directory}")


def renew_statistics(engine: Engine, tables: Iterable[str]) -> None:
    """Analyze tables again if the database was analyzed before.

    SQLite takes an index without statistics for the best one beside others with statistics, so each index that a
    migration adds would slow down the lists of an analyzed database until it is analyzed again.
    """
    with engine.begin() as connection:
        if not inspect(connection).has_table(STATISTICS_TABLE):
            return
        connection.exec_driver_sql(f"PRAGMA analysis_limit = {ANALYZED_ROWS_MAX}")
        for table in tables:
            connection.exec_driver_sql(f"ANALYZE {table}")


def is_accessible_to_others(path: Path) -> bool:
    """Return whether the group or other users have any permission on a file or directory (C4)."""
    return bool(path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def is_writable(path: Path) -> bool:
    """Return whether the owner may write a file or directory; root could write it against its permissions."""
    return os.access(path, os.W_OK) and bool(path.stat().st_mode & stat.S_IWUSR)


def without_waiting_for_disk(engine: Engine) -> Engine:
    """Return a copy of the engine on which a commit to SQLite may be lost in a power cut.

    It stays durable when only the process ends. PostgreSQL commits as its setting `synchronous_commit` says.
    """
    return engine.execution_options(identity_clients_synchronous="NORMAL")


def _configure_connection(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver must not begin transactions by itself, since _begin_transaction does.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "foreign_keys=ON",
        f"busy_timeout={BUSY_TIMEOUT_SECONDS * 1000}",
        f"cache_size=-{CACHE_KIBIBYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_transaction(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("identity_clients_autocommit", False):
        return
    # A transaction that reads before it writes fails at once with "database is locked" if another one wrote meanwhile.
    if options.get("identity_clients_writes", False):
        # In WAL mode only FULL waits for the disk at each commit (D9). It cannot be changed within a transaction.
        connection.exec_driver_sql(f"PRAGMA synchronous={options.get('identity_clients_synchronous', 'FULL')}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("BEGIN")
