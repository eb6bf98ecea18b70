"""A flood of wrong secrets against the live server (D2, D7). `benchmarks/flood.py` is the long-running variant."""

from collections.abc import Iterator

import pytest
import requests

from benchmarks.flood import CONNECTIONS, GENERATED, TYPED, flood, make_clients
from tests.support import servers
from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from webapp.core.database.engine import make_engine
from webapp.core.secrets.argon2_pool import POOL_SIZE_MAX

FLOOD_SECONDS = 3
HASH_BYTES = 19 * 2**20


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.LiveServer]:
    """Return a server with two processes behind one proxy, so that each request can have another address."""
    with servers.serve(
        tmp_path_factory.mktemp("flood"),
        WEB_CONCURRENCY="2",
        IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
        IDENTITY_CLIENTS_TRUSTED_PROXIES="1",
        IDENTITY_CLIENTS_FAILURES_PER_ADDRESS="10",
    ) as server:
        yield server


@pytest.mark.parametrize("addresses", [True, False], ids=["many addresses", "one address"])
@pytest.mark.parametrize("secrets", [TYPED, GENERATED])
def test_flood_does_not_affect_other_traffic(server: servers.LiveServer, secrets: str, addresses: bool) -> None:
    """Issue first tokens to clients with generated secrets during a flood without delay (D7, D2).

    The bounds allow for a busy machine.
    """
    assert CONNECTIONS == 200
    clients = make_clients(server.database_url)
    report = flood(server.url, FLOOD_SECONDS, clients=clients, addresses=addresses, secrets=secrets)
    assert set(report.statuses) <= {401, 429, 503}
    if secrets == GENERATED:
        assert report.statuses[401 if addresses else 429] > 0
        assert report.statuses[503] == 0
    elif addresses:
        assert report.statuses[503] > report.statuses[401] > 0
    assert len(report.token_seconds) > 50
    assert report.token_p99_seconds < 1, report
    assert max(report.slowest_seconds.values()) < 1, report
    assert len(report.grown_bytes) == 2
    assert max(report.grown_bytes) <= POOL_SIZE_MAX * HASH_BYTES, report


def test_flood_does_not_lock_the_client_out(server: servers.LiveServer) -> None:
    """Issue a token to the attacked client from its own address, on both processes (D3)."""
    engine = make_engine(server.database_url)
    client_id = make_client(engine, account_id="flooded").client_id
    engine.dispose()
    url, form = f"{server.url}/connect/token", {"grant_type": "client_credentials", "client_id": client_id}
    with requests.Session() as attacker:  # one connection, hence one process
        attacker.headers["X-Forwarded-For"] = "203.0.113.66"
        guesses = [{**form, "client_secret": f"a-wrong-secret-{number}"} for number in range(11)]
        assert [attacker.post(url, guess, timeout=10).status_code for guess in guesses] == [401] * 10 + [429]
    for _ in range(6):
        headers = {"X-Forwarded-For": "198.51.100.7"}
        assert requests.post(url, {**form, "client_secret": SECRET}, headers=headers, timeout=10).status_code == 200
