"""A PostgreSQL server that the tests of a module may stop, freeze and restart."""

from collections.abc import Iterator

import pytest

from tests.support.databases import migrate_everything
from tests.support.outages import OwnPostgresql, own_postgresql
from webapp.core.database.engine import make_engine


@pytest.fixture(scope="module")
def server() -> Iterator[OwnPostgresql]:
    """Return a PostgreSQL server whose database `migrated` has the tables."""
    with own_postgresql() as server:
        server.execute("CREATE DATABASE migrated")
        engine = make_engine(server.url_of("migrated"))
        migrate_everything(engine)
        engine.dispose()
        yield server


@pytest.fixture
def url(server: OwnPostgresql) -> str:
    """Return the URL of a new database."""
    server.execute("DROP DATABASE IF EXISTS mas WITH (FORCE)")
    server.execute("CREATE DATABASE mas TEMPLATE migrated")
    return server.url_of("mas")
