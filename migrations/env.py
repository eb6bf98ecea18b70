"""Entry point of Alembic: run one migration history on the caller's engine, with its own version table.

On SQLite all revisions run in one transaction. On PostgreSQL each runs in its own, and may end it early by an
`autocommit_block`, so that no lock of a table is held for long.
"""

import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from alembic import context
from sqlalchemy import Connection, event, text
from sqlalchemy.sql.schema import SchemaItem

LOCK_POLL_SECONDS = 0.5

engine = context.config.attributes["engine"]
history = context.config.attributes["history"]


def include_object(_item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Return False for tables of others, since the database may be the host's."""
    return kind != "table" or name in history.metadata.tables


def configure(connection: Connection) -> None:
    """Configure Alembic for a connection."""
    is_sqlite = connection.dialect.name == "sqlite"
    context.configure(
        connection=connection,
        target_metadata=history.metadata,
        version_table=history.version_table,
        include_object=include_object,
        render_as_batch=is_sqlite,
        compare_server_default=True,
        transaction_per_migration=not is_sqlite,
    )


def run(connection: Connection) -> None:
    """Run the revisions, and drop the version table after the downgrade of the first one."""
    context.run_migrations()
    if not context.get_context().get_current_heads():
        connection.execute(text(f"DROP TABLE IF EXISTS {history.version_table}"))


def migrate_sqlite() -> None:
    """Run the revisions in one transaction, which is also the lock that lets only one process migrate."""
    with engine.connect().execution_options(identity_clients_writes=True) as connection, connection.begin():
        if not connection.connection.driver_connection.in_transaction:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        configure(connection)
        # An `autocommit_block` would commit what the earlier revisions have done.
        context.get_context().autocommit_block = nullcontext  # type: ignore[assignment, method-assign]
        run(connection)


def migrate_postgresql() -> None:
    """Run each revision in its own transaction; those that are committed stay if a later one fails."""
    # With another level, the waiting or idle transaction of a lock would keep a snapshot, for whose end a concurrent
    # index waits; and a statement would not see what others have committed since the one before it.
    reading_committed = engine.execution_options(isolation_level="READ COMMITTED")
    with migration_lock(reading_committed.connect()), reading_committed.connect() as connection:
        event.listen(connection, "begin", wait_briefly_for_locks)
        configure(connection)
        run(connection)
        connection.commit()


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Let only one process migrate at a time.

    The lock is one of a transaction, on a connection of its own, since a session's would stay with the server's
    session where PgBouncer is in between.
    """
    lock = {"lock": zlib.crc32(history.version_table.encode())}
    with connection:
        while not connection.scalar(text("SELECT pg_try_advisory_xact_lock(:lock)"), lock):
            connection.rollback()
            time.sleep(LOCK_POLL_SECONDS)
        connection.execute(text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        yield


def wait_briefly_for_locks(connection: Connection) -> None:
    """Bound how long a transaction waits for a lock, since every later request waits behind it.

    Nothing waits behind a concurrent index, which is built outside a transaction.
    """
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.execute(text(f"SET LOCAL lock_timeout = {context.config.attributes['lock_milliseconds']}"))


if engine.dialect.name == "sqlite":
    migrate_sqlite()
else:
    migrate_postgresql()
