"""Shared fixtures: databases on both engines, Redis, the stand-alone application, and a browser."""

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from flask import Flask
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import Engine, create_engine, text

from tests.support import servers
from tests.support.applications import SharedApplication
from tests.support.browser import CHROMIUM_ARGUMENTS, headless_chromium
from tests.support.databases import Databases, migrate_everything
from tests.support.endpoint import Endpoint
from tests.support.factories import PEPPER_SETTING
from tests.support.host import Host, make_host
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.engine import make_engine
from webapp.core.usage.recorder import Recorder
from webapp.host import EXTENSION
from webapp.standalone import create_app

ENGINES = ("sqlite", "postgresql")
_SERVERS = pytest.StashKey[contextlib.ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the servers that the workers of a run share; the first test that needs one starts it."""
    if not hasattr(config, "workerinput"):
        stack = config.stash[_SERVERS] = contextlib.ExitStack()
        stack.enter_context(servers.shared_servers())


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers that tests have started."""
    if _SERVERS in config.stash:
        config.stash[_SERVERS].close()


@pytest.fixture(autouse=True)
def _monotonic_clocks_follow_the_wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `time_machine`, which moves the wall clock only, move the windows of rate limits and caches too."""
    for module in ("rate_limits.storage", "authentication.verified_secrets"):
        monkeypatch.setattr(f"webapp.core.{module}._clock", lambda: time.time())


@pytest.fixture(autouse=True)
def _no_background_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let only the test call `Recorder.write`, so that nothing else writes to the database."""
    monkeypatch.setattr(Recorder, "_start", lambda self: None)


# Databases


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
    engine = create_engine(_shared_server("postgresql"), isolation_level="AUTOCOMMIT")
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


@pytest.fixture(scope="session")
def postgresql_databases(postgresql_server: Engine, postgresql_template: str) -> Iterator[Databases]:
    """Return the databases of this worker."""
    databases = Databases(postgresql_server, postgresql_template)
    yield databases
    databases.close()


@pytest.fixture
def postgresql_url(postgresql_server: Engine, postgresql_databases: Databases) -> Iterator[str]:
    """Return the address of a PostgreSQL database that is migrated and empty."""
    with postgresql_databases.lend() as name:
        yield _sibling(postgresql_server, name)


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


# The identity endpoint


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    """Return an engine of ours on a fresh migrated SQLite database."""
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture(scope="session")
def endpoint_application() -> SharedApplication:
    """Return the application of `endpoint` and `each_endpoint`, one per worker."""
    return SharedApplication(Endpoint(create_engine("sqlite://")).app)


@pytest.fixture
def endpoint(sqlite_engine: Engine, endpoint_application: SharedApplication) -> Iterator[Endpoint]:
    """Return the endpoint on SQLite."""
    yield Endpoint.shared(sqlite_engine, endpoint_application)
    endpoint_application.check()


@pytest.fixture
def each_endpoint(engine: Engine, endpoint_application: SharedApplication) -> Iterator[Endpoint]:
    """Return the endpoint on SQLite and PostgreSQL in turn."""
    yield Endpoint.shared(engine, endpoint_application)
    endpoint_application.check()


# A host with the screens


@pytest.fixture(scope="session")
def host_application() -> SharedApplication:
    """Return the application of `host`, one per worker."""
    return SharedApplication(make_host(create_engine("sqlite://")).app)


@pytest.fixture
def host(sqlite_engine: Engine, host_application: SharedApplication) -> Iterator[Host]:
    """Return a host on a fresh SQLite database, signed in as a Merchant Admin of Northwind."""
    yield Host.shared(sqlite_engine, host_application)
    host_application.check()


@pytest.fixture(params=[False, True], ids=["plain", "htmx"])
def htmx(request: pytest.FixtureRequest) -> bool:
    """Return False and True in turn: whether to request a page, or its fragment as htmx does."""
    return bool(request.param)


# Redis


@pytest.fixture
def redis_url(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the address of an empty Redis database, one per worker."""
    # On a busy machine a response may take longer, after which each process counts by itself.
    monkeypatch.setattr("webapp.core.rate_limits.storage.SHARED_TIMEOUT_SECONDS", 10)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    url = _shared_server("redis").removesuffix("/0") + f"/{worker}"
    with redis.Redis.from_url(url) as connection:
        connection.flushdb()
    return url


def _shared_server(name: str) -> str:
    try:
        return servers.shared_server(name)
    except servers.MissingServer as error:
        pytest.fail(str(error), pytrace=False)


# The stand-alone application


@pytest.fixture
def app(sqlite_url: str, tmp_path: Path) -> Iterator[Flask]:
    """Return the stand-alone application on a fresh SQLite database, set up as in production."""
    app = create_app(
        PRODUCTION_SETTINGS | {"IDENTITY_CLIENTS_DATABASE_URL": sqlite_url, "INSTANCE_PATH": str(tmp_path / "instance")}
    )
    yield app
    app.extensions[EXTENSION].engine.dispose()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """Return a test client of the stand-alone application, which uses https."""
    return app.test_client()


# A server process and a browser


@pytest.fixture(scope="session")
def live_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.LiveServer]:
    """Return the server that `make run` starts, with its own database and demo data, one per worker.

    Its pepper is the one with which the factories hash.
    """
    with servers.serve(tmp_path_factory.mktemp("live"), IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return a headless Chromium, one per worker."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=headless_chromium(), args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, live_server: servers.LiveServer) -> Iterator[Page]:
    """Return an empty tab of a browser without cookies; its base URL is the live server."""
    with browser.new_context(base_url=live_server.url, viewport={"width": 1280, "height": 900}) as context:
        yield context.new_page()
