"""Fixtures of the management API: an application that all tests of a worker share."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, create_engine

from tests.support.api import Api
from tests.support.applications import SharedApplication
from tests.support.endpoint import Endpoint


@pytest.fixture(scope="session")
def api_application() -> SharedApplication:
    """Return the application of `api`, one per worker."""
    return SharedApplication(Endpoint(create_engine("sqlite://"), API_ENABLED=True).app)


@pytest.fixture
def api(sqlite_engine: Engine, api_application: SharedApplication) -> Iterator[Api]:
    """Return the API on SQLite, with a caller."""
    yield Api.ready(sqlite_engine, api_application)
    api_application.check()


@pytest.fixture
def each_api(engine: Engine, api_application: SharedApplication) -> Iterator[Api]:
    """Return the API on SQLite and PostgreSQL in turn, with a caller."""
    yield Api.ready(engine, api_application)
    api_application.check()
