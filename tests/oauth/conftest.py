"""The endpoint on SQLite, and on each engine in turn."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from webapp.core.database.engine import make_engine

from .endpoint import Endpoint


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    """Return an engine of ours on a fresh migrated SQLite database."""
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def endpoint(sqlite_engine: Engine) -> Endpoint:
    """Return the endpoint on SQLite."""
    return Endpoint(sqlite_engine)


@pytest.fixture
def each_endpoint(engine: Engine) -> Endpoint:
    """Return the endpoint on SQLite and PostgreSQL in turn."""
    return Endpoint(engine)
