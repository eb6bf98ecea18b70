"""Open sessions and connections. Only `unit_of_work` commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, event
from sqlalchemy.orm import Session, SessionTransaction

from .errors import translate_database_errors

_BEFORE_COMMIT, _AFTER_COMMIT = "identity_clients_before_commit", "identity_clients_after_commit"


@contextmanager
def connect(engine: Engine) -> Iterator[Connection]:
    """Open a connection, for statements that cost less than a session.

    :raises Unavailable: the database is locked or unreachable (D8).
    """
    with translate_database_errors(), engine.connect() as connection:
        yield connection


@contextmanager
def read_session(engine: Engine) -> Iterator[Session]:
    """Open a session for reading; changes of its objects are not written.

    :raises Unavailable: the database is locked or unreachable (D8).
    """
    with translate_database_errors(), Session(engine, expire_on_commit=False, autoflush=False) as session:
        yield session


@contextmanager
def unit_of_work(engine: Engine) -> Iterator[Session]:
    """Open a session for one change, and commit it when the block ends without an error.

    Functions registered with `before_commit` and `after_commit` run then. A view renders after the block, so that a
    page never reports a change that was rolled back.

    :raises Unavailable: the database is locked or unreachable (D8).
    """
    writing = engine.execution_options(identity_clients_writes=True)
    with translate_database_errors(), Session(writing, expire_on_commit=False) as session:
        event.listen(session, "after_begin", _begin_on_hosts_sqlite)
        with session.begin():
            yield session
            session.flush()
            for prepare in session.info.pop(_BEFORE_COMMIT, ()):
                prepare(session)
        callbacks: list[Callable[[Engine], None]] = session.info.pop(_AFTER_COMMIT, [])
    for callback in callbacks:
        callback(engine)


def before_commit(session: Session, function: Callable[[Session], None]) -> None:
    """Call a function with the session once, after everything else in the transaction of this unit of work."""
    session.info.setdefault(_BEFORE_COMMIT, {})[function] = None


def after_commit(session: Session, callback: Callable[[Engine], None]) -> None:
    """Call a function with the engine after the unit of work of this session is committed."""
    session.info.setdefault(_AFTER_COMMIT, []).append(callback)


def _begin_on_hosts_sqlite(_session: Session, _transaction: SessionTransaction, connection: Connection) -> None:
    # On a host's engine the driver begins only at the first INSERT; a savepoint before that would commit on release.
    if connection.dialect.name == "sqlite" and not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")
