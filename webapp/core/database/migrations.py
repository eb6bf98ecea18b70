"""Migrate the tables with Alembic."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, MetaData
from sqlalchemy.exc import DBAPIError

from ..errors import Unavailable
from ..paths import resource_folder
from . import search_index
from .errors import sqlstate_of
from .models import Base
from .sqlite import renew_statistics
from .time_limits import response_limit

LOG = logging.getLogger(__name__)
LOCK_SECONDS = 1.5
"""How long a migration waits for the lock of a table on PostgreSQL; requests for that table wait behind it.

Longer than the second after which PostgreSQL ends an autovacuum that is in the way (`deadlock_timeout`), shorter than
the two after which a request gives up.
"""
LOCK_ATTEMPTS = 10
LOCK_PAUSE_SECONDS = 3
"""How long requests get the table to themselves before the next attempt."""
_LOCK_NOT_AVAILABLE, _DEADLOCK = "55P03", "40P01"


@dataclass(frozen=True, slots=True)
class PendingRevision:
    """A revision that an upgrade would run: its number, and what it does."""

    number: str
    description: str


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
    config.attributes.update(engine=engine, history=history, lock_milliseconds=round(LOCK_SECONDS * 1000))
    return config


def upgrade(engine: Engine, revision: str = "head", *, history: MigrationHistory = IDENTITY_CLIENTS) -> None:
    """Create or upgrade the tables; running it again changes nothing.

    On SQLite an upgrade that fails changes nothing. On PostgreSQL it keeps what it has done, beside which the former
    release works; running it again continues from there. Tables of a newer release are left as they are, so that a host
    can return to this one during a rolling upgrade.

    :raises Unavailable: a table stayed locked on PostgreSQL in every one of `LOCK_ATTEMPTS`.
    """
    with response_limit(None):
        if revision == "head" and (newer := _newer_revision(engine, history)):
            LOG.warning("The tables are those of a newer release, revision %s. They are left as they are.", newer)
            return
        _with_short_locks(lambda: command.upgrade(alembic_config(engine, history), revision))
        if history is IDENTITY_CLIENTS and revision == "head":
            search_index.update_stale(engine)
            if engine.dialect.name == "sqlite":
                renew_statistics(engine, Base.metadata.tables)


def pending(engine: Engine, *, history: MigrationHistory = IDENTITY_CLIENTS) -> list[PendingRevision]:
    """Return the revisions that an upgrade would run, in their order, without changing anything."""
    if _newer_revision(engine, history):
        return []
    scripts = ScriptDirectory.from_config(alembic_config(engine, history))
    revisions = scripts.iterate_revisions("head", _current_revision(engine, history) or "base")
    return [PendingRevision(script.revision, script.doc) for script in reversed(list(revisions))]


def _current_revision(engine: Engine, history: MigrationHistory) -> str | None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": history.version_table})
        return context.get_current_revision()


def _newer_revision(engine: Engine, history: MigrationHistory) -> str | None:
    """Return the revision of the tables if this release does not know it, or None."""
    current = _current_revision(engine, history)
    scripts = ScriptDirectory.from_config(alembic_config(engine, history))
    is_known = current is None or current in {script.revision for script in scripts.walk_revisions()}
    return None if is_known else current


def _with_short_locks(migrate: Callable[[], None]) -> None:
    """Repeat a migration that did not get a lock within `LOCK_SECONDS`, which `migrations/env.py` sets."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            migrate()
            return
        except DBAPIError as error:
            if sqlstate_of(error.orig) not in (_LOCK_NOT_AVAILABLE, _DEADLOCK):
                raise
            if attempt == LOCK_ATTEMPTS:
                raise Unavailable from error
        LOG.warning("A table that is to be changed is locked. Attempt %d of %d follows.", attempt + 1, LOCK_ATTEMPTS)
        time.sleep(LOCK_PAUSE_SECONDS)


def downgrade(engine: Engine, revision: str, *, history: MigrationHistory = IDENTITY_CLIENTS) -> None:
    """Downgrade the tables to an earlier revision; `base` drops them.

    :raises Unavailable: as for `upgrade`.
    """
    with response_limit(None):
        _with_short_locks(lambda: command.downgrade(alembic_config(engine, history), revision))
