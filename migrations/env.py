"""Alembic's entry: runs our own history on the engine that the caller gives, in a version table of its own."""

from typing import Any

from alembic import context
from sqlalchemy.sql.schema import SchemaItem

config = context.config
engine = config.attributes["engine"]
metadata = config.attributes["metadata"]
version_table: str = config.attributes["version_table"]


def ours(item: SchemaItem, name: str | None, kind: str, _reflected: bool, _compare_to: Any) -> bool:
    """Leave every table that is not ours out of a comparison: the database may be the host's."""
    return kind != "table" or name in metadata.tables


with engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=version_table,
        include_object=ours,
        render_as_batch=connection.dialect.name == "sqlite",
        compare_server_default=True,
    )
    with context.begin_transaction():
        context.run_migrations()
