"""Create the engine."""

import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ...settings import SettingsError

SQLITE_BUSY_SECONDS = 5
SQLITE_CACHE_KIBIBYTES = 500
"""For each connection, of which a busy process has a dozen. The system's own cache holds the pages for all of them."""


# Of libpq: else a host that is cut off, and says nothing, would hold a request for minutes (D8). In s and ms.
POSTGRESQL_TIMEOUTS = {"connect_timeout": "3", "tcp_user_timeout": "5000"}


def make_engine(url: str) -> Engine:
    """Return an engine that hides statement parameters from errors and logs (L5).

    :raises SettingsError: the address is none; the SQLite file or its directory is open to others (C4).
    """
    try:
        address = make_url(url)
        if address.get_backend_name() == "sqlite":
            _check_sqlite_permissions(address.database or "")
        if address.get_driver_name() in ("psycopg", "psycopg2"):
            address = address.set(query={**POSTGRESQL_TIMEOUTS, **address.query})
        engine = create_engine(address, hide_parameters=True, pool_pre_ping=address.get_backend_name() != "sqlite")
    except ArgumentError:
        raise SettingsError(
            "IDENTITY_CLIENTS_DATABASE_URL is not an address that SQLAlchemy knows, such as"
            " sqlite:////srv/mas/instance/mas.sqlite3 or postgresql+psycopg://user@host/database."
        ) from None
    except ImportError as error:
        raise SettingsError(f"IDENTITY_CLIENTS_DATABASE_URL needs a driver. Run: pip install {error.name}") from None
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "handle_error", _hide_row_values)
    return engine


def share_engine(engine: Engine) -> Engine:
    """Return a host's engine, with its own pool, that for us hides statement parameters as ours does (L5)."""
    ours = engine.execution_options()
    ours.hide_parameters = True
    event.listen(ours, "handle_error", _hide_row_values)
    return ours


def _check_sqlite_permissions(name: str) -> None:
    """Make the directory 0700 and the file 0600 where they are new; refuse looser ones (C4)."""
    if not name or name.startswith((":", "file:")):
        raise SettingsError("IDENTITY_CLIENTS_DATABASE_URL must name the SQLite file by its path.")
    path = Path(name)
    directory = path.parent
    if not directory.exists():
        directory.mkdir(mode=0o700, parents=True)
    if is_open_to_others(directory):
        raise SettingsError(
            f"Other users can look into {directory}, where the database is to be. Run: chmod 700 {directory}"
            f" - or, if others need it, put the database into a directory of its own, made by: mkdir -m 700 NAME"
        )
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        if file.exists() and is_open_to_others(file):
            raise SettingsError(f"Other users can read {file}. Run: chmod 600 {file}")


def is_open_to_others(place: Path) -> bool:
    """Tell whether any other user may do anything with a file or a directory (C4)."""
    return bool(place.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver must not open transactions by itself: _begin_sqlite decides how each begins.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_SECONDS * 1000}",
        f"cache_size=-{SQLITE_CACHE_KIBIBYTES}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("identity_clients_autocommit", False):
        return
    # Two writers that have both read first can only fail with "database is locked", whatever the time-out.
    writes = options.get("identity_clients_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _hide_row_values(context: ExceptionContext) -> None:
    # Where a row breaks a rule PostgreSQL repeats all of it in the error's details, a secret's hash too (L5).
    shown, original = context.sqlalchemy_exception, context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary and shown:
        original.args = (primary,)
        shown.args = (f"({type(original).__name__}) {primary}",)


def autocommitting(engine: Engine) -> Engine:
    """Return the engine for reads of one statement each, which need no transaction around them."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(identity_clients_autocommit=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")
