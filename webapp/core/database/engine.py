"""Create the engine, or adapt the host's."""

from sqlalchemy import Engine, ExceptionContext, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from ...settings import SettingsError
from . import sqlite
from .time_limits import POOL_WAIT_SECONDS

# Parameters of libpq, in s and ms: without them an unreachable host holds a request for minutes (D8).
POSTGRESQL_TIMEOUTS = {"connect_timeout": "3", "tcp_user_timeout": "3000"}


def make_engine(url: str) -> Engine:
    """Return an engine that leaves statement parameters out of errors and logs (L5).

    :raises SettingsError: the URL is invalid, or other users have access to the SQLite file (C4).
    """
    try:
        address = make_url(url)
        is_sqlite, uses_psycopg = address.get_backend_name() == "sqlite", address.get_driver_name() == "psycopg"
        if is_sqlite:
            sqlite.prepare_file(address.database or "")
        if uses_psycopg:
            address = address.set(query={**POSTGRESQL_TIMEOUTS, **address.query})
        engine = create_engine(
            address,
            hide_parameters=True,
            pool_pre_ping=not is_sqlite,
            pool_timeout=POOL_WAIT_SECONDS,
            # Prepared statements would not survive a pooler in transaction mode, such as PgBouncer.
            connect_args={"prepare_threshold": None} if uses_psycopg else {},
        )
    except ArgumentError:
        raise SettingsError(
            "IDENTITY_CLIENTS_DATABASE_URL is not an address that SQLAlchemy knows, such as"
            " sqlite:////srv/mas/instance/mas.sqlite3 or postgresql+psycopg://user@host/database."
        ) from None
    except ImportError as error:
        raise SettingsError(f"IDENTITY_CLIENTS_DATABASE_URL needs a driver. Run: pip install {error.name}") from None
    if is_sqlite:
        sqlite.listen_to_engine(engine)
    if uses_psycopg:
        from .postgresql import use_bounded_connections  # needs psycopg, which is optional

        use_bounded_connections(engine)
    event.listen(engine, "handle_error", _hide_row_values)
    return engine


def share_engine(engine: Engine) -> Engine:
    """Return a copy of the host's engine, on the same pool, that leaves statement parameters out of errors (L5)."""
    copy = engine.execution_options()
    copy.hide_parameters = True
    event.listen(copy, "handle_error", _hide_row_values)
    return copy


def autocommitting(engine: Engine) -> Engine:
    """Return a copy of the engine for reads of one statement each, without a transaction around them."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(identity_clients_autocommit=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _hide_row_values(context: ExceptionContext) -> None:
    # The details of PostgreSQL's constraint errors repeat the whole row, including a secret's hash (L5).
    shown, original = context.sqlalchemy_exception, context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary and shown:
        original.args = (primary,)
        shown.args = (f"({type(original).__name__}) {primary}",)


def restart_wal(engine: Engine) -> None:
    """Let the next write begin SQLite's write-ahead log anew; on another database do nothing.

    SQLite does so by itself only at a moment without readers. Many writes beside constant reads would make the file
    grow without end.
    """
    if engine.dialect.name == "sqlite":
        with autocommitting(engine).connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(RESTART)")
