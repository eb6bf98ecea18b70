"""Bringing the tables up to date with Alembic."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine

from .models import Base

VERSION_TABLE = "identity_client_alembic_version"


def folder(name: str) -> Path:
    """Return a folder that stands at the top level of the repository, and inside the package in a wheel."""
    package = Path(__file__).parents[1]
    return package / name if (package / name).is_dir() else package.parent / name


def alembic_config(engine: Engine) -> Config:
    """Return Alembic's configuration for our own history on this engine."""
    config = Config()
    config.set_main_option("script_location", str(folder("migrations")).replace("%", "%%"))
    config.attributes.update(engine=engine, metadata=Base.metadata, version_table=VERSION_TABLE)
    return config


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Create the tables, or bring them up to date; doing it again changes nothing."""
    command.upgrade(alembic_config(engine), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Take the tables back to an earlier revision; `base` drops them."""
    command.downgrade(alembic_config(engine), revision)
