"""PostgreSQL locked, frozen or read-only: every response comes within 5 s, and no queued record is lost (D8)."""

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, create_engine, func, make_url, select, text
from sqlalchemy.exc import DBAPIError
from werkzeug.test import TestResponse

from tests.support import servers
from tests.support.endpoint import basic_header
from tests.support.factories import SECRET, make_client
from tests.support.host import PREFIX
from tests.support.mas import Mas, creation_form, sign_in
from tests.support.outages import OwnPostgresql, own_postgresql, pgbouncer
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.engine import make_engine
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.models import TokenRequestCount
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import NotWritable, Unavailable
from webapp.host import EXTENSION, Services
from webapp.standalone import create_app

LIMIT_SECONDS = 5


@dataclass
class Application:
    """The stand-alone application with a client, and a browser whose user is signed in."""

    app: Flask
    browser: FlaskClient
    creation_form: dict[str, str]
    access_token: str = ""

    @property
    def services(self) -> Services:
        services: Services = self.app.extensions[EXTENSION]
        return services

    def token(self) -> TestResponse:
        return self.app.test_client().post(
            "/connect/token",
            data={"grant_type": "client_credentials"},
            headers={"Authorization": basic_header("northwind-api", SECRET)},
        )

    def page(self) -> TestResponse:
        return self.browser.get(PREFIX)

    def creation(self) -> TestResponse:
        return self.browser.post(f"{PREFIX}/new", data=self.creation_form)

    def introspection(self) -> TestResponse:
        return self._with_token("/connect/introspect")

    def revocation(self) -> TestResponse:
        return self._with_token("/connect/revocation")

    def _with_token(self, path: str) -> TestResponse:
        headers = {"Authorization": basic_header("northwind-api", SECRET)}
        return self.app.test_client().post(path, data={"token": self.access_token}, headers=headers)

    def ready(self) -> TestResponse:
        return self.app.test_client().get("/readyz")

    def jwks(self) -> TestResponse:
        return self.app.test_client().get("/.well-known/jwks.json")


@pytest.fixture
def application(url: str, tmp_path: Path) -> Iterator[Application]:
    """Return an application that has served one request of each kind."""
    with serving(url, tmp_path) as application:
        yield application


@contextmanager
def serving(url: str, directory: Path) -> Iterator[Application]:
    app = create_app(
        PRODUCTION_SETTINGS | {"IDENTITY_CLIENTS_DATABASE_URL": url, "INSTANCE_PATH": str(directory / "instance")}
    )
    services: Services = app.extensions[EXTENSION]
    Mas(app).add_user()
    make_client(services.engine, client_id="northwind-api", hasher=services.secrets.hasher)
    browser = app.test_client()
    assert sign_in(browser).status_code == 303
    application = Application(app, browser, creation_form(browser))
    for request in (application.token, application.page, application.ready, application.jwks):
        assert request().status_code == 200
    application.access_token = str((application.token().json or {})["access_token"])
    yield application
    services.engine.dispose()


def status_within_limit(request: Callable[[], TestResponse]) -> int:
    """Return the status of a response, which must be in time; a 503 must have Retry-After."""
    began = time.monotonic()
    response = request()
    assert time.monotonic() - began < LIMIT_SECONDS
    if response.status_code == 503 and response.data != b"not ready\n":
        assert response.headers["Retry-After"] == "5"
    return response.status_code


# By SQLSTATE


@pytest.mark.parametrize(
    ("sqlstate", "expected"),
    [
        ("08006", Unavailable),  # connection_failure
        ("08P01", Unavailable),  # protocol_violation, as PgBouncer reports its own failures
        ("53300", Unavailable),  # too_many_connections
        ("57014", Unavailable),  # query_canceled
        ("57P01", Unavailable),  # admin_shutdown
        ("57P03", Unavailable),  # cannot_connect_now
        ("58030", Unavailable),  # io_error
        ("40001", Unavailable),  # serialization_failure
        ("40P01", Unavailable),  # deadlock_detected
        ("55P03", Unavailable),  # lock_not_available
        ("25006", NotWritable),  # read_only_sql_transaction
        ("53100", NotWritable),  # disk_full
        ("22012", DBAPIError),  # division_by_zero
        ("42501", DBAPIError),  # insufficient_privilege
        ("55000", DBAPIError),  # object_not_in_prerequisite_state
        ("XX000", DBAPIError),  # internal_error
    ],
)
def test_the_state_of_the_server_is_known_by_sqlstate(
    postgresql_url: str, sqlstate: str, expected: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever exception class the driver raises (D8)."""
    engine = make_engine(postgresql_url)
    cause = f"DO $$ BEGIN RAISE EXCEPTION 'the cause {sqlstate}' USING ERRCODE = '{sqlstate}'; END $$"
    with pytest.raises(expected) as caught, unit_of_work(engine) as session:
        session.execute(text(cause))
    assert type(caught.value) is expected or expected is DBAPIError
    is_logged = f"The database cannot be used: the cause {sqlstate} (SQLSTATE {sqlstate})" in caplog.messages
    assert is_logged == (expected is not DBAPIError)
    engine.dispose()


# Locked


@pytest.mark.parametrize("table", ["identity_clients", "identity_client_events", "mas_users"])
def test_a_locked_table_delays_requests_briefly(application: Application, url: str, table: str) -> None:
    """The waiting statements are cancelled in the server as well (D8)."""

    def screens() -> list[int]:
        return [status_within_limit(application.page), status_within_limit(application.creation)]

    locker = create_engine(url)
    with locker.connect() as connection:
        connection.execute(text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        with ThreadPoolExecutor(16) as threads:
            shown = threads.submit(screens)
            others = threads.map(status_within_limit, [application.token] * 12 + [application.ready, application.jwks])
            statuses = {*others, *shown.result()}
        assert 503 in statuses <= {200, 503}
        time.sleep(0.5)
        waiting = connection.scalar(text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))
        assert waiting == 0
    locker.dispose()
    for request in (application.token, application.page, application.creation, application.ready):
        assert status_within_limit(request) == 200


def test_sign_ins_during_an_outage_are_not_counted(application: Application, url: str) -> None:
    """More attempts than the limit allows each get 503, and the next one after the outage succeeds (D6, D8)."""
    locker = create_engine(url)
    with locker.connect() as connection:
        connection.execute(text("LOCK TABLE mas_users IN ACCESS EXCLUSIVE MODE"))
        with ThreadPoolExecutor(8) as threads:
            attempts = [threads.submit(sign_in, application.app.test_client()) for _ in range(8)]
            assert {attempt.result().status_code for attempt in attempts} == {503}
    locker.dispose()
    assert sign_in(application.app.test_client()).status_code == 303


def test_tokens_are_signed_with_cached_keys_while_keys_cannot_be_read(application: Application, url: str) -> None:
    """One request at a time waits for the keys; the others are not delayed (D8)."""
    locker = create_engine(url)
    with locker.connect() as connection:
        connection.execute(text("LOCK TABLE identity_client_signing_keys IN ACCESS EXCLUSIVE MODE"))
        time.sleep(1.1)  # after which the cached keys are older than a second

        def seconds(_: int) -> float:
            began = time.monotonic()
            assert application.token().status_code == 200
            return time.monotonic() - began

        with ThreadPoolExecutor(8) as threads:
            durations = sorted(threads.map(seconds, range(8)))
        assert durations[-2] < 1.5 < durations[-1] < LIMIT_SECONDS
        assert status_within_limit(application.introspection) == status_within_limit(application.jwks) == 503
        assert status_within_limit(application.ready) == 503
        assert application.page().status_code == 200
    locker.dispose()


def test_the_guides_options_for_a_hosts_engine(url: str) -> None:
    """The limits of a host's engine come from the options in the guide (D8)."""
    guide = (servers.ROOT / "docs" / "embedding.md").read_text("utf-8")
    start = guide.index('app.config["SQLALCHEMY_ENGINE_OPTIONS"]')
    app = Flask("host")
    exec(guide[start : guide.index("```", start)], {"app": app})
    host, locker = create_engine(url, **app.config["SQLALCHEMY_ENGINE_OPTIONS"]), create_engine(url)
    with locker.connect() as connection:
        connection.execute(text("LOCK TABLE identity_clients IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        with pytest.raises(Unavailable), read_session(host) as session:
            session.execute(text("SELECT count(*) FROM identity_clients"))
        assert time.monotonic() - began < LIMIT_SECONDS
    host.dispose()
    locker.dispose()


# Frozen


def test_a_frozen_server_is_503_in_time_and_no_thread_is_held(server: OwnPostgresql, application: Application) -> None:
    """After the first requests have timed out, the following ones are answered at once (D8)."""
    requests = (application.token, application.page, application.creation, application.ready, application.jwks)
    with server.frozen():
        with ThreadPoolExecutor(30) as threads:
            statuses = list(threads.map(status_within_limit, [application.token] * 25 + [*requests]))
        assert set(statuses) == {503}
        began = time.monotonic()
        assert [application.token().status_code for _ in range(20)] == [503] * 20
        assert time.monotonic() - began < LIMIT_SECONDS + 1
    deadline = time.monotonic() + LIMIT_SECONDS
    while application.token().status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert application.page().status_code == application.ready().status_code == 200
    assert application.creation().status_code == 200


@pytest.mark.parametrize("wait_seconds", [120, 2.6])
def test_pgbouncer_in_front_of_a_frozen_server(
    server: OwnPostgresql, url: str, tmp_path: Path, wait_seconds: float
) -> None:
    """Connecting succeeds, but each statement times out, or PgBouncer gives up earlier and is not asked twice (D8)."""
    with (
        pgbouncer(
            server.directory / f"pooler-{wait_seconds}", str(server.socket_directory), "tests", wait_seconds
        ) as pooler,
        serving(f"{pooler}mas", tmp_path) as application,
        ThreadPoolExecutor(10) as threads,
    ):
        requests = [application.token, application.page, application.ready, application.token] * 2
        assert {status_within_limit(request) for request in requests} == {200}
        with server.frozen():
            assert set(threads.map(status_within_limit, requests)) == {503}
            for request in requests[:4]:
                assert status_within_limit(request) == 503
        deadline = time.monotonic() + 3 * LIMIT_SECONDS
        while application.token().status_code != 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_stopped_pgbouncer(server: OwnPostgresql, url: str, tmp_path: Path) -> None:
    """Refused connections are 503 at once (D8)."""
    with ExitStack() as pooler:
        address = pooler.enter_context(pgbouncer(tmp_path / "pooler", str(server.socket_directory), "tests"))
        with serving(f"{address}{make_url(url).database}", tmp_path) as application:
            pooler.close()
            began = time.monotonic()
            for request in (application.token, application.introspection, application.page, application.ready):
                assert status_within_limit(request) == 503
            assert time.monotonic() - began < LIMIT_SECONDS


def test_a_waiting_process_stays_alive(server: OwnPostgresql, url: str, tmp_path: Path) -> None:
    """`/healthz` answers while every other request waits for the database, and SIGTERM ends the process (D8)."""
    with servers.serve(tmp_path, IDENTITY_CLIENTS_DATABASE_URL=url) as live:
        stop = Event()

        def flood() -> None:
            while not stop.is_set():
                status_of(
                    f"{live.url}/connect/token",
                    b"grant_type=client_credentials&client_id=unknown&client_secret=unknown",
                )

        flooders = [Thread(target=flood) for _ in range(50)]
        for flooder in flooders:
            flooder.start()
        try:
            time.sleep(1)
            with server.frozen():
                until = time.monotonic() + 8
                while time.monotonic() < until:
                    began = time.monotonic()
                    assert status_of(f"{live.url}/healthz") == 200
                    assert time.monotonic() - began < 1
                    began = time.monotonic()
                    assert status_of(f"{live.url}/readyz") == 503
                    assert time.monotonic() - began < LIMIT_SECONDS
        finally:
            stop.set()
            for flooder in flooders:
                flooder.join()


def status_of(url: str, body: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(url, body, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# Failover


def test_reads_and_writes_follow_the_primary() -> None:
    """With `target_session_attrs` no read stays at a former primary that has become a standby (A7, D8)."""
    with own_postgresql() as former, own_postgresql() as new:
        hosts = f"{former.socket_directory},{new.socket_directory}"
        query = {"host": hosts, "target_session_attrs": "read-write"}
        engine = make_engine(make_url(former.url).set(query=query).render_as_string())
        reads = FastReads(engine)
        directory = select(func.current_setting("data_directory"))
        prepared = reads.prepare(directory)
        assert reads.rows(prepared) == [[f"{former.socket_directory}/data"]]
        # Becoming a standby needs a restart, which closes every connection.
        former.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        former.stop()
        former.start_again()
        assert reads.rows(prepared) == [[f"{new.socket_directory}/data"]]
        with unit_of_work(engine) as session:
            assert session.scalar(directory) == f"{new.socket_directory}/data"
            session.execute(text("CREATE TABLE written (id int)"))
        reads.close()
        engine.dispose()


# Read-only


@pytest.fixture
def read_only(server: OwnPostgresql) -> Iterator[Callable[[bool], None]]:
    """Return a function that turns the server read-only, or back."""

    def switch(on: bool) -> None:
        server.execute(f"ALTER SYSTEM SET default_transaction_read_only = {'on' if on else 'off'}")
        server.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)

    yield switch
    switch(on=False)


def test_a_read_only_server_issues_tokens_and_loses_no_record(
    application: Application, read_only: Callable[[bool], None], caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover that left the application connected to the former primary (D8)."""
    application.services.recorder.write()
    before = recorded(application.services.engine)
    read_only(True)
    assert [application.token().status_code for _ in range(5)] == [200] * 5
    application.services.recorder.write()
    assert application.page().status_code == 200
    response = application.creation()
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert "Nothing can be saved now" in response.text
    assert "cannot execute" not in response.text
    assert "in a read-only transaction (SQLSTATE 25006)" in caplog.text
    assert application.ready().status_code == 503
    assert (application.introspection().json or {})["active"] is True
    assert status_within_limit(application.revocation) == 503
    read_only(False)
    assert application.ready().status_code == 200
    application.services.recorder.write()
    assert recorded(application.services.engine) == before + 5
    assert application.creation().status_code == 200


def recorded(engine: Engine) -> int:
    with read_session(engine) as session:
        return session.scalar(select(func.sum(TokenRequestCount.count))) or 0
