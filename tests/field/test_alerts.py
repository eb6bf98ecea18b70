"""Each alert of `docs/alerts.md`: its cause is made, the metric of its rule shows it, and its cure ends it.

`tests/test_monitoring.py` shows that the rules fire at these values of the metrics.
"""

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
import time_machine
from flask import Flask
from prometheus_client import CollectorRegistry
from sqlalchemy import make_url, update
from werkzeug.test import TestResponse

from tests.support import servers
from tests.support.factories import make_client
from tests.support.notifications import age, make_delivery, make_target, notifying
from tests.support.outages import OwnPostgresql
from tests.support.receivers import receive_mail
from tests.support.settings import PRODUCTION_SETTINGS
from webapp import IdentityClients
from webapp.core.database.models import StoredSigningKey, utc_now
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets.generation import generate_secret
from webapp.core.usage import pending
from webapp.host import EXTENSION, Services
from webapp.standalone import create_app

CHOSEN, GENERATED = "a secret that a person chose", generate_secret("vcs_").reveal()


class Site:
    """The stand-alone application in production mode on PostgreSQL and Redis of its own, with a client."""

    def __init__(self, url: str, directory: Path, **settings: str) -> None:
        self.app: Flask = create_app(
            PRODUCTION_SETTINGS
            | {"IDENTITY_CLIENTS_DATABASE_URL": url, "INSTANCE_PATH": str(directory / "instance")}
            | settings
        )
        self.services: Services = self.app.extensions[EXTENSION]
        self.engine = self.services.engine

    def add_client(self, client_id: str, secret: str) -> None:
        """Add a client with this secret."""
        make_client(self.engine, client_id=client_id, secret=secret, hasher=self.services.secrets.hasher)

    def token(self, client_id: str, secret: str, address: str = "192.0.2.9") -> TestResponse:
        """Request a token."""
        data = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret}
        return self.app.test_client().post("/connect/token", data=data, environ_base={"REMOTE_ADDR": address})

    def metric(self, name: str, *labels: str) -> float:
        """Return the sum of a metric over all values of the labels that are not given."""
        registry = CollectorRegistry()
        registry.register(IdentityClients.metrics_collector(self.app))
        return sum(
            sample.value
            for family in registry.collect()
            for sample in family.samples
            if sample.name == f"identity_clients_{name}" and set(labels) <= set(sample.labels.values())
        )

    def command(self, *arguments: str) -> str:
        """Run a command of ours; return what it printed."""
        result = self.app.test_cli_runner().invoke(args=["identity-clients", *arguments])
        assert result.exit_code == 0, result.output
        return result.output


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds."""
    deadline = time.monotonic() + servers.START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def site(url: str, tmp_path: Path) -> Iterator[Site]:
    """Return the application, with one client of a generated and one of a chosen secret."""
    site = Site(url, tmp_path)
    site.add_client("generated", GENERATED)
    site.add_client("chosen", CHOSEN)
    assert site.token("generated", GENERATED).status_code == 200
    yield site
    site.engine.dispose()


@contextmanager
def locked(url: str, table: str, mode: str) -> Iterator[None]:
    """Hold a lock of a table, as a careless maintenance does."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address) as connection:
        connection.execute(f"LOCK TABLE {table} IN {mode} MODE".encode())
        yield
        connection.rollback()


def test_down(tmp_path: Path) -> None:
    """`IdentityClientsDown`: after kill -9 nothing responds; started again, everything is as before."""
    others = {*psutil.Process().children()}  # that other tests share
    with servers.serve(tmp_path) as live:
        started = {*psutil.Process().children()} - others
        [process] = [each for each in started if "webapp.standalone" in each.cmdline()]
        os.killpg(process.pid, signal.SIGKILL)
        wait_for(lambda: not servers.answers(f"{live.url}/metrics"))
    with servers.serve(tmp_path) as live:
        assert servers.answers(f"{live.url}/metrics")


def test_not_ready_and_unavailable(server: OwnPostgresql, site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """`IdentityClientsNotReady`, `IdentityClientsUnavailable`: PostgreSQL stops; the cure is to start it."""
    server.stop()
    assert site.metric("ready") == 0
    before = site.metric("requests_total", "unavailable")
    assert [site.token("generated", GENERATED).status_code for _ in range(3)] == [503] * 3
    assert site.metric("requests_total", "unavailable") == before + 3
    assert site.metric("database_errors_total", "unavailable") >= 1
    with caplog.at_level(logging.WARNING):
        assert site.app.test_client().get("/readyz").status_code == 503
    assert "The database cannot be used" in caplog.text
    server.start_again()
    wait_for(lambda: site.metric("ready") == 1)
    wait_for(lambda: site.token("generated", GENERATED).status_code == 200)
    for value, ready in (("on", 0), ("off", 1)):
        server.execute(f"ALTER DATABASE mas SET default_transaction_read_only = {value}")
        site.engine.dispose()
        assert site.metric("ready") == ready


def test_not_ready_with_a_wrong_key_encryption_key(site: Site, url: str, tmp_path: Path) -> None:
    """`IdentityClientsNotReady`: the stored keys do not decrypt; a restart with the right key is the cure."""
    other = PRODUCTION_SETTINGS["IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY"].swapcase()
    wrong = Site(url, tmp_path, IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY=other)
    assert wrong.metric("ready") == 0
    assert wrong.token("generated", GENERATED).status_code in (500, 503)
    wrong.engine.dispose()
    assert site.metric("ready") == 1


def test_slow(site: Site, url: str) -> None:
    """`IdentityClientsSlow`: a lock holds token requests; they are as fast as before once it is gone."""

    def slow() -> float:
        buckets = [site.metric("request_seconds_bucket", "token", bound) for bound in ("1.0", "+Inf")]
        return buckets[1] - buckets[0]

    before = slow()
    with ThreadPoolExecutor(1) as threads:
        with locked(url, "identity_clients", "ACCESS EXCLUSIVE"):
            waiting = threads.submit(site.token, "generated", GENERATED)
            wait_for(lambda: waiting.done() or waiting.running())
            time.sleep(1.5)
        assert waiting.result().status_code == 200
    assert slow() == before + 1
    assert site.token("generated", GENERATED).status_code == 200
    assert slow() == before + 1


def test_tables_missing(server: OwnPostgresql, tmp_path: Path) -> None:
    """`IdentityClientsTablesMissing`: a release before its upgrade; `upgrade` is the cure, without a restart."""
    server.execute("DROP DATABASE IF EXISTS empty WITH (FORCE)")
    server.execute("CREATE DATABASE empty")
    site = Site(server.url_of("empty"), tmp_path)
    before = site.metric("database_errors_total", "missing_tables")
    assert site.token("generated", GENERATED).status_code == 500
    assert site.metric("database_errors_total", "missing_tables") > before
    assert site.metric("ready") == 0
    assert site.app.test_cli_runner().invoke(args=["mas", "upgrade"]).exit_code == 0
    site.add_client("generated", GENERATED)
    assert site.token("generated", GENERATED).status_code == 200
    assert site.metric("ready") == 1
    site.engine.dispose()


def test_signing_key_old(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """`IdentityClientsSigningKeyOld`: nobody asked for a token; `keys rotate` helps, with effect a day later."""
    monkeypatch.setattr("webapp.core.tokens.signing_keys.RELOAD_SECONDS", 0)
    with unit_of_work(site.engine) as session:
        session.execute(update(StoredSigningKey).values(signs_from=utc_now() - timedelta(days=92)))
    assert site.metric("signing_key_age_seconds") > 91 * 86400
    assert "waiting" not in site.command("keys", "list")
    assert "is published, and signs from" in site.command("keys", "rotate")
    assert "waiting" in site.command("keys", "list")
    assert site.token("generated", GENERATED).status_code == 200
    assert site.metric("signing_key_age_seconds") > 91 * 86400
    with time_machine.travel(utc_now() + timedelta(hours=25)):
        assert site.token("generated", GENERATED).status_code == 200
        assert site.metric("signing_key_age_seconds") < 86400


def test_refusals(site: Site) -> None:
    """`IdentityClientsRefusals`: by `outcome`; the right secret is the cure, also from the same address."""
    for client_id, secret, outcome in (
        ("generated", "an old secret", "wrong_secret"),
        ("guessed", "an old secret", "unknown"),
    ):
        before = site.metric("requests_total", "token", outcome)
        for _ in range(5):
            assert site.token(client_id, secret).status_code == 401
        assert site.metric("requests_total", "token", outcome) == before + 5
    for _ in range(6):
        status = site.token("generated", "an old secret").status_code
    assert status == 429
    assert site.metric("requests_total", "token", "throttled") >= 1
    assert site.token("generated", GENERATED).status_code == 200


def test_argon2_refused(site: Site) -> None:
    """`IdentityClientsArgon2Refused`: many chosen secrets at once; generated ones work, and it ends by itself."""
    with ThreadPoolExecutor(40) as threads:
        flood = [threads.submit(site.token, "chosen", f"wrong {n}", f"2001:db8:{n:x}::1") for n in range(40)]
        assert site.token("generated", GENERATED).status_code == 200
        statuses = {each.result().status_code for each in flood}
    assert 503 in statuses
    assert site.metric("argon2_refused_total") >= 1
    assert site.metric("argon2_in_use") == 0
    assert site.token("chosen", CHOSEN).status_code == 200


def test_recorder_behind_and_lost(site: Site, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """`IdentityClientsRecorderBehind`, `IdentityClientsRecorderLost`: a lock; what waited is written afterwards."""
    monkeypatch.setattr(pending, "COUNTS_MAX", 2)
    ours = site.services.recorder
    ours.write_all()
    lost = site.metric("recorder_lost_total")
    with locked(url, "identity_client_token_request_counts", "EXCLUSIVE"):
        assert site.token("generated", GENERATED).status_code == 200
        assert site.token("generated", "an old secret").status_code == 401
        assert not ours.write()
        assert site.metric("recorder_backlog") == 2
        assert site.token("chosen", CHOSEN).status_code == 200
    ours.write_all()
    assert site.metric("recorder_backlog") == 0
    assert site.metric("recorder_lost_total") == lost + 1


def test_rate_limits_not_shared(url: str, tmp_path: Path) -> None:
    """`IdentityClientsRateLimitsNotShared`: Redis is killed and comes back; the next use of a limit notices it."""
    port = str(servers.free_port())
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--save", "", "--dir", str(tmp_path)]
    site = Site(url, tmp_path, IDENTITY_CLIENTS_THROTTLE_STORAGE_URL=f"redis://127.0.0.1:{port}/0")
    site.add_client("generated", GENERATED)

    def is_shared() -> bool:
        site.token("generated", "wrong secret")
        return site.metric("rate_limits_not_shared") == 0

    for _ in range(2):
        redis = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_for(is_shared)
        finally:
            redis.kill()
            redis.wait()
        assert not is_shared()
        assert site.token("generated", GENERATED).status_code == 200
    site.engine.dispose()


def test_notifications_stuck(site: Site) -> None:
    """`IdentityClientsNotificationsStuck`: no mail server; the log names the error, and delivery goes on by itself."""
    engine = notifying(site.engine)
    make_target(engine, kinds=["client.created"])
    make_client(engine, hasher=site.services.secrets.hasher)
    with receive_mail() as mailbox:
        gone = mailbox
    make_delivery(engine, gone).deliver_due()
    age(engine, timedelta(hours=2))
    assert site.metric("notifications_waiting") == 1
    assert site.metric("notifications_oldest_seconds") > 3600
    with receive_mail() as mailbox:
        make_delivery(engine, mailbox).deliver_due()
        assert len(mailbox.mails) == 1
    assert site.metric("notifications_oldest_seconds") == 0
