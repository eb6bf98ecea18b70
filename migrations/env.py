"""Alembic's entry: runs one history on the engine that the caller gives, with a version table of its own."""

import zlib
from typing import Any

from alembic import context
from sqlalchemy import Connection, text
from sqlalchemy.sql.schema import SchemaItem

engine = context.config.attributes["engine"]
history = context.config.attributes["history"]


def ours(_item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Leave every table that is not ours out of a comparison: the database may be the host's."""
    return kind != "table" or name in history.metadata.tables


def wait_for_others(connection: Connection) -> None:
    """Let one process at a time migrate: the second one finds the work done.

    On SQLite the transaction itself does that, once it has begun by BEGIN IMMEDIATE.
    """
    if connection.dialect.name == "postgresql":
        lock = zlib.crc32(history.version_table.encode())
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": lock})
    elif not connection.connection.driver_connection.in_transaction:  # type: ignore[union-attr]
        connection.exec_driver_sql("BEGIN IMMEDIATE")


with engine.connect().execution_options(identity_clients_writes=True) as connection, connection.begin():
    wait_for_others(connection)
    context.configure(
        connection=connection,
        target_metadata=history.metadata,
        version_table=history.version_table,
        include_object=ours,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    context.run_migrations()
    if not context.get_context().get_current_heads():
        connection.execute(text(f"DROP TABLE IF EXISTS {history.version_table}"))
