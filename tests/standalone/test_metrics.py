"""`/metrics`: access, the counted requests, and the sums over several processes."""

import http.client
import re
import time
import timeit
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from prometheus_client import CollectorRegistry
from sqlalchemy import Engine

from tests.support import servers
from tests.support.endpoint import FORM, Endpoint, basic_header
from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from tests.support.settings import PRODUCTION_SETTINGS
from webapp import IdentityClients, SettingsError
from webapp.core import metrics
from webapp.core.database.engine import make_engine
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.oauth.errors import ErrorKind
from webapp.standalone import create_app

TOKEN = "a-token-of-the-tests-that-is-long-enough"


def samples(app: Flask) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and the values of its labels."""
    registry = CollectorRegistry()
    registry.register(IdentityClients.metrics_collector(app))
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in registry.collect()
        for sample in family.samples
    }


def increases(before: dict[tuple[str, ...], float], app: Flask) -> dict[tuple[str, ...], float]:
    """Return by how much each counter has grown, without those of durations."""
    return {
        key: value - before.get(key, 0)
        for key, value in samples(app).items()
        if value != before.get(key, 0) and key[0].endswith("_total")
    }


@pytest.fixture
def endpoint(sqlite_engine: Engine) -> Endpoint:
    """Return the endpoint with low rate limits."""
    return Endpoint(sqlite_engine, FAILURES_PER_CLIENT_AND_ADDRESS=2)


def test_requests_are_counted_by_outcome_and_method(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    before = samples(endpoint.app)
    assert endpoint.request_token(client).status_code == 200
    statuses = [endpoint.request_token(client, "wrong secret").status_code for _ in range(3)]
    assert statuses == [401, 401, 429]
    header = {"Authorization": basic_header(client.client_id, SECRET)}
    grant = {"grant_type": "client_credentials", "scope": "no such scope"}
    assert endpoint.app.test_client().post("/connect/token", data=grant, headers=header).status_code in (400, 429)
    found = increases(before, endpoint.app)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "identity_clients_requests_total"}
    method = next(key[1] for key in requests if key[2] == "success")
    assert requests["token", method, "success"] == 1
    assert requests["token", method, "wrong_secret"] == 2
    assert requests["token", method, "throttled"] >= 1
    assert sum(requests.values()) == 5
    assert found["identity_clients_rate_limited_total", "client-failure"] >= 1
    text = repr(samples(endpoint.app))
    assert client.client_id not in text
    assert SECRET not in text


def test_durations_ready_and_keys(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    assert endpoint.request_token(client).status_code == 200
    found = samples(endpoint.app)
    assert found["identity_clients_ready",] == 1
    # A new key signs from some minutes ago, for hosts whose clocks differ.
    assert 0 <= found["identity_clients_signing_key_age_seconds",] < 600
    assert found["identity_clients_notifications_waiting",] == 0
    count = found["identity_clients_request_seconds_count", "token"]
    assert count == found["identity_clients_request_seconds_bucket", "token", "+Inf"] >= 1
    assert 0 < found["identity_clients_request_seconds_sum", "token"] < count * 60


def test_unavailable_database(tmp_path: Path, endpoint: Endpoint) -> None:
    """Metrics are served without the database, and report it."""
    services = endpoint.app.extensions["identity_clients"]
    before = samples(endpoint.app)
    path = Path(services.engine.url.database)
    services.engine.dispose()
    path.rename(tmp_path / "away")
    try:
        found = samples(endpoint.app)
        assert found["identity_clients_ready",] == 0
        assert ("identity_clients_signing_key_age_seconds",) not in found
        assert before["identity_clients_ready",] == 1
    finally:
        for name in ("", "-wal", "-shm"):
            Path(f"{path}{name}").unlink(missing_ok=True)
        (tmp_path / "away").rename(path)


def test_every_outcome_has_a_number() -> None:
    """One that is missing would be counted as other."""
    outcomes = {reason.replace(" ", "_") for reason in AuthenticationFailure} | {
        kind.name.lower() for kind in ErrorKind
    }
    assert outcomes <= set(metrics.OUTCOMES)
    before = metrics.totals()
    metrics.observe("token", "none", "no such outcome", 0)
    key = (metrics.REQUESTS.name, "token", "none", metrics.OTHER)
    assert metrics.totals()[key] == before[key] + 1


def test_counting_a_request_takes_about_a_microsecond() -> None:
    """The fast path for tokens stays fast: the best of several rounds, since the machine may be busy."""
    best = min(timeit.repeat(lambda: metrics.observe("token", "client_secret_post", "success", 0.01), number=2000))
    assert best / 2000 < 5e-6


# Access


@pytest.mark.parametrize(
    ("token", "header", "status"),
    [
        (None, None, 404),
        (None, "Bearer ", 404),
        (TOKEN, None, 401),
        (TOKEN, "Bearer", 401),
        (TOKEN, f"Bearer {TOKEN}x", 401),
        (TOKEN, f"Basic {TOKEN}", 401),
        (TOKEN, f"Bearer {TOKEN}", 200),
    ],
)
def test_access_in_production(sqlite_url: str, token: str | None, header: str | None, status: int) -> None:
    app = start(sqlite_url, METRICS_TOKEN=token)
    response = app.test_client().get("/metrics", headers={"Authorization": header} if header else {})
    assert response.status_code == status
    assert ("identity_clients_ready 1.0" in response.text) == (status == 200)


@pytest.mark.parametrize("changes", [{"METRICS_TOKEN": "short"}, {"IDENTITY_CLIENTS_METRICS_DIRECTORY": "/nowhere"}])
def test_invalid_settings(sqlite_url: str, changes: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=f"^{next(iter(changes))}"):
        start(sqlite_url, **changes)


def start(url: str, **changes: Any) -> Flask:
    """Return the application in production mode."""
    values = PRODUCTION_SETTINGS | {"IDENTITY_CLIENTS_DATABASE_URL": url} | changes
    return create_app({name: value for name, value in values.items() if value is not None})


def test_several_processes_are_added_up(tmp_path: Path) -> None:
    """A scrape of any process of the server shows the requests to all of them, in development without a token."""
    with servers.serve(tmp_path, IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING, WEB_CONCURRENCY="2") as server:
        engine = make_engine(server.database_url)
        client = make_client(engine)
        engine.dispose()
        host = server.url.removeprefix("http://")
        body = urlencode({"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET})
        for _ in range(12):
            connection = http.client.HTTPConnection(host)  # a new one each time, so that both processes get some
            connection.request("POST", "/connect/token", body, {"Content-Type": FORM})
            assert connection.getresponse().status == 200
            connection.close()
        time.sleep(0.1)
        for _ in range(6):
            text = urllib.request.urlopen(f"{server.url}/metrics").read().decode()
            labels = 'endpoint="token",method="client_secret_post",outcome="success"'
            line = rf"identity_clients_requests_total\{{{labels}\}} (.+)"
            found = re.search(line, text)
            assert found
            assert float(found[1]) == 12
