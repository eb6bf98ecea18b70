"""Engine, sessions, and the one place that commits."""

import logging
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    ExceptionContext,
    PrimaryKeyConstraint,
    UniqueConstraint,
    create_engine,
    event,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session, SessionTransaction

from ..settings import SettingsError
from . import audit, signals
from .errors import Busy
from .models import Base

LOG = logging.getLogger(__name__)
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
            _guard_sqlite_file(address.database or "")
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
    event.listen(engine, "handle_error", _hide_row)
    return engine


def share_engine(engine: Engine) -> Engine:
    """Return a host's engine, with its own pool, that for us hides statement parameters as ours does (L5)."""
    ours = engine.execution_options()
    ours.hide_parameters = True
    event.listen(ours, "handle_error", _hide_row)
    return ours


def _guard_sqlite_file(name: str) -> None:
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


def _hide_row(context: ExceptionContext) -> None:
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


@contextmanager
def connected(engine: Engine) -> Iterator[Connection]:
    """Give a bare connection, for where a session would cost more than the statement.

    :raises Busy: the database is locked or out of reach (D8).
    """
    with domain_errors(), engine.connect() as connection:
        yield connection


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give a session that only reads: nothing that is done to what it gives is written.

    :raises Busy: the database is locked or out of reach (D8).
    """
    with domain_errors(), Session(engine, expire_on_commit=False, autoflush=False) as session:
        yield session


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """Give a session for one change and commit it when the block ends without an error; then send its signals.

    Commit before anything is rendered: what a page says then did happen.

    :raises Busy: the database is locked or out of reach (D8).
    """
    writing = engine.execution_options(identity_clients_writes=True)
    with domain_errors(), Session(writing, expire_on_commit=False) as session:
        event.listen(session, "after_begin", _begin_on_foreign_sqlite)
        with session.begin():
            yield session
        happened = audit.recorded(session)
    signals.tell_of_events(engine, happened)


def _begin_on_foreign_sqlite(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    # On a host's engine the driver begins only at the first INSERT, and a savepoint before it would commit by itself.
    if connection.dialect.name == "sqlite" and not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


@contextmanager
def domain_errors() -> Iterator[None]:
    """Raise `Busy` where the database is locked or out of reach (D8)."""
    try:
        yield
    except PoolTimeout as error:
        raise Busy from error
    except DBAPIError as error:
        if error.connection_invalidated or _is_outage(error):
            raise Busy from error
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
