"""Entry point of Alembic: run one migration history on the caller's engine, with its own version table."""

import zlib
from typing import Any

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.sql.schema import SchemaItem

engine = context.config.attributes["engine"]
history = context.config.attributes["history"]


def include_object(_item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Return False for tables of others, since the database may be the host's."""
    return kind != "table" or name in history.metadata.tables


def acquire_migration_lock(connection: Connection) -> None:
    """Let only one process migrate at a time.

    On SQLite the transaction itself is the lock, if it begins with BEGIN IMMEDIATE.
    """
    if connection.dialect.name == "postgresql":
        lock = zlib.crc32(history.version_table.encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
    elif not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


with engine.connect().execution_options(identity_clients_writes=True) as connection, connection.begin():
    acquire_migration_lock(connection)
    if connection.dialect.name == "postgresql":
        # A lock that is waited for makes every later request wait too, so that the wait is short, and repeated.
        connection.execute(text(f"SET LOCAL lock_timeout = {context.config.attributes['lock_milliseconds']}"))
    context.configure(
        connection=connection,
        target_metadata=history.metadata,
        version_table=history.version_table,
        include_object=include_object,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    context.run_migrations()
    if not context.get_context().get_current_heads():
        connection.execute(text(f"DROP TABLE IF EXISTS {history.version_table}"))
