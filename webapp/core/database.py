"""Engine, sessions, and the one place that commits."""

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from ..settings import SettingsError
from .errors import Busy

SQLITE_BUSY_SECONDS = 5


def make_engine(url: str) -> Engine:
    """Return an engine that hides statement parameters from errors and logs (L5).

    :raises SettingsError: the SQLite file or its directory is open to others (C4).
    """
    address = make_url(url)
    if address.get_backend_name() == "sqlite" and address.database:
        _guard_sqlite_file(Path(address.database))
    engine = create_engine(address, hide_parameters=True, pool_pre_ping=address.get_backend_name() != "sqlite")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _guard_sqlite_file(path: Path) -> None:
    """Make the directory 0700 and the file 0600 where they are new; refuse looser ones (C4)."""
    if not path.parent.exists():
        path.parent.mkdir(mode=0o700, parents=True)
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    for place, loosest in (
        (path.parent, 0o700),
        *((path.with_name(path.name + end), 0o600) for end in ("", "-wal", "-shm")),
    ):
        if place.exists() and stat.S_IMODE(place.stat().st_mode) & ~loosest:
            raise SettingsError(f"{place} can be read by other users. Run: chmod {loosest:o} {place}")


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver must not open transactions by itself: _begin_sqlite decides how each begins.
    connection.isolation_level = None
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "foreign_keys=ON",
        f"busy_timeout={SQLITE_BUSY_SECONDS * 1000}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # Two writers that have both read first can only fail with "database is locked", whatever the time-out.
    writes = connection.get_execution_options().get("identity_clients_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


@contextmanager
def reading(engine: Engine) -> Iterator[Session]:
    """Give a session that only reads; whatever it would have written is dropped.

    :raises Busy: the database is locked or out of reach (D8).
    """
    with _domain_errors(), Session(engine, expire_on_commit=False, autoflush=False) as session:
        yield session
        session.rollback()


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """Give a session for one change and commit it when the block ends without an error.

    Commit before anything is rendered: what a page says then did happen.

    :raises Busy: the database is locked or out of reach (D8).
    """
    with (
        _domain_errors(),
        Session(engine.execution_options(identity_clients_writes=True), expire_on_commit=False) as session,
        session.begin(),
    ):
        yield session


@contextmanager
def _domain_errors() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        raise Busy from error
