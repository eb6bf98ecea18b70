"""What every test can ask for: databases on both engines, Redis, the stand-alone application and its client."""

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from sqlalchemy import Engine, create_engine, make_url, text

from webapp.core import migrate
from webapp.core.database import make_engine

from . import servers

ENGINES = ("sqlite", "postgresql")
_SERVERS = pytest.StashKey[contextlib.ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the servers once per run: xdist's workers inherit their addresses."""
    if not hasattr(config, "workerinput") and not config.option.collectonly:
        stack = config.stash[_SERVERS] = contextlib.ExitStack()
        stack.enter_context(servers.running())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what `pytest_configure` started."""
    if _SERVERS in config.stash:
        config.stash[_SERVERS].close()


# Databases


def migrate_everything(engine: Engine) -> None:
    """Bring our tables and the stand-alone's up to date."""
    migrate.upgrade(engine)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "template.sqlite3"
    engine = make_engine(f"sqlite:///{path}")
    migrate_everything(engine)
    engine.dispose()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the address of a fresh migrated SQLite database."""
    path = tmp_path / "database" / "test.sqlite3"
    path.parent.mkdir(mode=0o700)
    shutil.copyfile(sqlite_template, path)
    path.chmod(0o600)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Engine]:
    """Return an engine for PostgreSQL's maintenance database, outside transactions."""

    def is_up(url: str) -> bool:
        try:
            psycopg.connect(url.replace("+psycopg", "")).close()
        except psycopg.OperationalError:
            return False
        return True

    engine = create_engine(_address("TEST_POSTGRESQL_URL", is_up), isolation_level="AUTOCOMMIT")
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: Engine) -> str:
    """Return the name of a migrated PostgreSQL database to copy, one per worker."""
    name = f"template_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
    with postgresql_server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine = make_engine(_sibling(postgresql_server, name))
    migrate_everything(engine)
    engine.dispose()
    return name


@pytest.fixture
def postgresql_url(postgresql_server: Engine, postgresql_template: str) -> Iterator[str]:
    """Return the address of a fresh migrated PostgreSQL database."""
    name = f"test_{uuid.uuid4().hex}"
    with postgresql_server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {postgresql_template}"))
        yield _sibling(postgresql_server, name)
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest) -> str:
    """Return the address of a fresh migrated database, on each engine in turn."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """Return an engine of ours on a fresh migrated database, SQLite and PostgreSQL in turn."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def _sibling(server: Engine, name: str) -> str:
    return server.url.set(database=name).render_as_string(hide_password=False)


# Redis


@pytest.fixture
def redis_url() -> str:
    """Return the address of an empty Redis database, one per worker."""

    def is_up(url: str) -> bool:
        try:
            return bool(redis.Redis.from_url(url).ping())
        except redis.ConnectionError:
            return False

    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    url = _address("TEST_REDIS_URL", is_up).removesuffix("/0") + f"/{worker}"
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


def _address(variable: str, is_up: Any) -> str:
    try:
        return servers.address(variable, is_up)
    except servers.MissingServer as error:
        pytest.fail(str(error), pytrace=False)
