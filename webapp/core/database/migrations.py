"""Migrate the tables with Alembic."""

from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, MetaData

from ..paths import resource_folder
from . import search_index
from .models import Base
from .time_limits import response_limit


@dataclass(frozen=True, slots=True)
class MigrationHistory:
    """A history of revisions, so that the tables of different owners can share one database.

    :param versions: the folder of its revisions.
    :param metadata: the tables after the last revision.
    :param version_table: the table that stores the current revision.
    """

    versions: Path
    metadata: MetaData
    version_table: str


IDENTITY_CLIENTS = MigrationHistory(
    resource_folder("migrations") / "versions", Base.metadata, "identity_client_alembic_version"
)


def alembic_config(engine: Engine, history: MigrationHistory = IDENTITY_CLIENTS) -> Config:
    """Return Alembic's configuration for a history on this engine; `migrations/env.py` runs every history."""
    config = Config()
    for name, value in (
        ("script_location", str(resource_folder("migrations"))),
        ("version_locations", str(history.versions)),
        ("path_separator", "newline"),
    ):
        config.set_main_option(name, value.replace("%", "%%"))
    config.attributes.update(engine=engine, history=history)
    return config


def upgrade(engine: Engine, revision: str = "head", *, history: MigrationHistory = IDENTITY_CLIENTS) -> None:
    """Create or upgrade the tables in one transaction; running it again changes nothing."""
    with response_limit(None):
        command.upgrade(alembic_config(engine, history), revision)
        if history is IDENTITY_CLIENTS and revision == "head":
            search_index.update_stale(engine)


def downgrade(engine: Engine, revision: str, *, history: MigrationHistory = IDENTITY_CLIENTS) -> None:
    """Downgrade the tables to an earlier revision in one transaction; `base` drops them."""
    with response_limit(None):
        command.downgrade(alembic_config(engine, history), revision)
