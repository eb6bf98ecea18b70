"""Outages of databases and shared stores: every request fails closed, in time, and without details (D8)."""

import shutil
import socket
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import make_url
from werkzeug.test import TestResponse

from tests.support import servers
from tests.support.databases import migrate_everything
from tests.support.endpoint import Endpoint, basic_header
from tests.support.factories import SECRET, make_client
from tests.support.host import PREFIX
from tests.support.mas import EMAIL, Mas, creation_form, csrf_token, sign_in
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database import sqlite
from webapp.core.database.engine import make_engine
from webapp.host import EXTENSION
from webapp.standalone import create_app

CLOSED_PORT = "127.0.0.1:1"


def mas_on(database_url: str, directory: Path, **settings: str) -> Flask:
    """Return the stand-alone application, set up as in production."""
    given = {f"IDENTITY_CLIENTS_{name}": value for name, value in settings.items()}
    return create_app(
        PRODUCTION_SETTINGS
        | {"IDENTITY_CLIENTS_DATABASE_URL": database_url, "INSTANCE_PATH": str(directory / "instance")}
        | given
    )


def ask_token(client: FlaskClient, client_id: str = "northwind-api") -> TestResponse:
    return client.post(
        "/connect/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": basic_header(client_id, SECRET)},
    )


def assert_busy(response: TestResponse) -> None:
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "5"
    for word in ("psycopg", "sqlite", "Traceback", "connection failed", "locked", "postgres"):
        assert word not in response.text


class OwnPostgresql:
    """A PostgreSQL server that a test can stop and restart; while it is stopped, connections are refused."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._data = directory, directory / "one" / "data"
        self._server, self.url = servers.start_postgresql(directory / "one")
        self.wait()

    def wait(self) -> None:
        address = make_url(self.url).set(drivername="postgresql").render_as_string()
        deadline = time.monotonic() + servers.START_SECONDS
        while True:
            try:
                psycopg.connect(address).close()
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        self._server.stop()

    def start_again(self) -> None:
        program = servers.postgresql_programs() / "postgres"
        script = f'exec "{program}" -D "{self._data}" -k "{self._data.parent}" -c listen_addresses= -c fsync=off'
        self._server = servers.Server("PostgreSQL", self._directory / "two", script)
        self.wait()


@pytest.fixture
def own_postgresql() -> Iterator[OwnPostgresql]:
    """Return a PostgreSQL server for one test."""
    directory = Path(tempfile.mkdtemp(prefix="ic-", dir="/tmp"))
    directory.chmod(0o711)
    server = OwnPostgresql(directory)
    yield server
    server.stop()
    shutil.rmtree(directory)


def test_stopped_database_is_503_until_it_is_back(own_postgresql: OwnPostgresql, tmp_path: Path) -> None:
    """Return 503 from token endpoint, screens and sign-in, with and without open connections (D8)."""
    app = mas_on(own_postgresql.url, tmp_path)
    engine = app.extensions[EXTENSION].engine
    migrate_everything(engine)
    Mas(app).add_user()
    make_client(engine, client_id="northwind-api", hasher=app.extensions[EXTENSION].secrets.hasher)
    browser, signed_out = app.test_client(), app.test_client()
    assert sign_in(browser).status_code == 303
    token = csrf_token(signed_out)
    form = {"email": EMAIL, "password": "a long enough password", "csrf_token": token}
    assert ask_token(signed_out).status_code == 200
    assert browser.get(PREFIX).status_code == 200
    assert signed_out.get("/readyz").status_code == 200

    own_postgresql.stop()
    began = time.monotonic()
    for _ in range(2):
        answer = ask_token(signed_out)
        assert_busy(answer)
        assert answer.json == {"error": "temporarily_unavailable"}
        assert_busy(browser.get(PREFIX))
        assert_busy(signed_out.post("/login", data=form))
        assert_health(signed_out, ready=False)
        assert signed_out.get("/login").status_code == 200
    assert time.monotonic() - began < 5

    own_postgresql.start_again()
    assert ask_token(signed_out).status_code == 200
    assert browser.get(PREFIX).status_code == 200
    assert signed_out.post("/login", data=form).status_code == 303
    assert_health(signed_out, ready=True)
    engine.dispose()


def test_unresponsive_database_is_503_in_time() -> None:
    """Return 503 in time when packets to the database host are dropped (D8)."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        engine = make_engine(f"postgresql+psycopg://mas@127.0.0.1:{silent.getsockname()[1]}/mas")
        began = time.monotonic()
        assert_busy(Endpoint(engine).request_token("northwind-api"))
        assert time.monotonic() - began < 6
        engine.dispose()


def assert_health(client: FlaskClient, *, ready: bool) -> None:
    """Require a health response of ok or not, without version or cause (D8)."""
    alive, usable = client.get("/healthz"), client.get("/readyz")
    assert (alive.status_code, alive.data, alive.mimetype) == (200, b"ok\n", "text/plain")
    assert (usable.status_code, usable.data) == ((200, b"ok\n") if ready else (503, b"not ready\n"))
    for response in (alive, usable):
        assert "Server" not in response.headers
        assert "Retry-After" not in response.headers


def test_readiness_checks_database_and_keys(app: Flask, client: FlaskClient) -> None:
    """Report an unusable signing key like an unreachable database (D8)."""
    assert_health(client, ready=True)
    services = app.extensions[EXTENSION]
    make_client(services.engine, client_id="northwind-api", hasher=services.secrets.hasher)
    assert ask_token(client).status_code == 200
    connection = sqlite3.connect(services.engine.url.database)
    connection.execute("UPDATE identity_client_signing_keys SET private_key_encrypted = x'00'")
    connection.commit()
    time.sleep(1.1)  # what was loaded counts for a second
    assert_health(client, ready=False)
    answer = ask_token(client)
    assert (answer.status_code, answer.json) == (500, {"error": "server_error"})
    connection.execute("ALTER TABLE identity_client_signing_keys RENAME TO gone")
    connection.close()
    assert_health(client, ready=False)


def test_locked_sqlite_is_503_for_writers_only(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Return 503 to a writer within five seconds, and keep serving readers (D8)."""
    assert sqlite.BUSY_TIMEOUT_SECONDS < 5
    monkeypatch.setattr("webapp.core.database.sqlite.BUSY_TIMEOUT_SECONDS", 1)
    app = mas_on(sqlite_url, tmp_path)
    services = app.extensions[EXTENSION]
    Mas(app).add_user()
    make_client(services.engine, client_id="northwind-api", hasher=services.secrets.hasher)
    browser = app.test_client()
    assert sign_in(browser).status_code == 303
    assert ask_token(browser).status_code == 200
    form = creation_form(browser)
    other = sqlite3.connect(services.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    assert_busy(browser.post(f"{PREFIX}/new", data=form))
    assert 0.9 < time.monotonic() - began < 4
    began = time.monotonic()
    assert ask_token(browser).status_code == 200
    assert browser.get(PREFIX).status_code == 200
    assert_health(browser, ready=True)
    assert time.monotonic() - began < 0.9
    other.execute("ROLLBACK")
    other.close()
    assert browser.post(f"{PREFIX}/new", data=form).status_code == 200
    services.engine.dispose()


def test_sign_in_rate_limit_without_shared_store(sqlite_url: str, tmp_path: Path) -> None:
    """Count sign-in failures per process while the shared store is unavailable (D8, D6)."""
    app = mas_on(sqlite_url, tmp_path, THROTTLE_STORAGE_URL=f"redis://{CLOSED_PORT}/0")
    Mas(app).add_user()
    client = app.test_client()
    began = time.monotonic()
    answers = [sign_in(client, password="a wrong password").status_code for _ in range(6)]
    assert answers == [422] * 5 + [429]
    assert_health(client, ready=True)
    assert time.monotonic() - began < 5
    app.extensions[EXTENSION].engine.dispose()
