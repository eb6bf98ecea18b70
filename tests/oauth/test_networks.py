"""Allowed networks at every authenticated endpoint (A7, A8), and the caller's address behind proxies (C5)."""

from typing import Any

import pytest
from flask import request
from flask_login import LoginManager
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.endpoint import ENDPOINTS, Endpoint, argon2_computations, latest_requests
from tests.support.factories import SECRET, make_author, make_client
from webapp import SettingsError
from webapp.core.clients.allowed_networks import ANYWHERE, set_networks
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import unit_of_work
from webapp.host import client_address
from webapp.http_request import is_secure

INSIDE, MAPPED, OUTSIDE = "192.0.2.7", "::ffff:192.0.2.7", "198.51.100.7"


def allow(engine: Engine, client: IdentityClient, text: str) -> None:
    """Set the allowed networks of a client as its administrator does."""
    with unit_of_work(engine) as session:
        version = session.get_one(IdentityClient, client.id).version
        set_networks(session, author=make_author(), key=client.id, version=version, text=text, confirmed=[ANYWHERE])


def ask(endpoint: Endpoint, path: str, client: IdentityClient, address: str, **headers: str) -> TestResponse:
    """Call an endpoint as the client from an address."""
    form = {"client_id": client.client_id, "client_secret": SECRET, "grant_type": "client_credentials", "token": "none"}
    return endpoint.client.post(path, data=form, headers=headers, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("networks", "address", "status"),
    [
        ("", OUTSIDE, 200),
        ("192.0.2.0/28 office", INSIDE, 200),
        ("192.0.2.0/28 office", MAPPED, 200),
        ("192.0.2.0/28 office", OUTSIDE, 401),
        ("192.0.2.0/28 office", f"::ffff:{OUTSIDE}", 401),
        ("::ffff:192.0.2.0/124", INSIDE, 200),
        ("2001:db8::/32\n192.0.2.7", INSIDE, 200),
        ("2001:db8::/32\n192.0.2.7", "2001:db8:1::7", 200),
        ("2001:db8::/32\n192.0.2.7", "2001:db9::7", 401),
        ("192.0.2.7", "", 401),
    ],
)
def test_allowed_networks_apply_to_every_endpoint(
    endpoint: Endpoint, path: str, networks: str, address: str, status: int
) -> None:
    """Refuse other addresses, also with a cached secret, at the cost of any other refusal (A8, P8)."""
    client = make_client(endpoint.engine)
    assert ask(endpoint, path, client, OUTSIDE).status_code == 200
    allow(endpoint.engine, client, networks)
    with argon2_computations() as hashed:
        assert ask(endpoint, path, client, address).status_code == status
    assert len(hashed) == (2 if status == 401 else 0)


def test_network_changes_apply_to_next_request(each_endpoint: Endpoint) -> None:
    """Apply added, changed and removed networks to the next request of every process (A7, A8)."""
    client = make_client(each_endpoint.engine)
    processes = (each_endpoint, Endpoint(each_endpoint.engine))
    for networks, status in (("", 200), ("192.0.2.0/28", 401), ("198.51.100.0/24", 200), ("192.0.2.7", 401), ("", 200)):
        allow(each_endpoint.engine, client, networks)
        assert [ask(process, ENDPOINTS[0], client, OUTSIDE).status_code for process in processes] == [status] * 2


def test_network_refusal_is_recorded_for_the_account(endpoint: Endpoint) -> None:
    """Show the merchant the reason that the caller does not see (A8, L2)."""
    client = make_client(endpoint.engine)
    allow(endpoint.engine, client, "192.0.2.0/28")
    ask(endpoint, ENDPOINTS[0], client, OUTSIDE)
    assert latest_requests(endpoint, client.id) == [("address not allowed", "A", OUTSIDE)]


# Whose word counts (C5)

SPOOFED = {
    "Forwarded": "for=192.0.2.7;proto=https",
    "X-Real-IP": INSIDE,
    "X-Client-IP": INSIDE,
    "CF-Connecting-IP": INSIDE,
    "True-Client-IP": INSIDE,
}
PEER = "10.0.0.1"


@pytest.mark.parametrize(
    ("hops", "forwarded", "address"),
    [
        (0, None, PEER),
        (0, "192.0.2.7", PEER),
        (0, "192.0.2.7, 192.0.2.8", PEER),
        (1, None, PEER),
        (1, OUTSIDE, OUTSIDE),
        (1, f"192.0.2.7, {OUTSIDE}", OUTSIDE),
        (1, f"192.0.2.7,192.0.2.8,,{OUTSIDE} ", OUTSIDE),
        (1, f"192.0.2.7, ::ffff:{OUTSIDE}", OUTSIDE),
        (1, "192.0.2.7, 2001:DB8::1", "2001:db8::1"),
        (1, "192.0.2.7, unknown", None),
        (1, "192.0.2.7, " + "9" * 500, None),
        (1, "192.0.2.7,", None),
        (2, None, PEER),
        (2, "10.0.0.2", PEER),
        (2, f"{OUTSIDE}, 10.0.0.2", OUTSIDE),
        (2, f"192.0.2.7, {OUTSIDE}, 10.0.0.2", OUTSIDE),
        (2, f"192.0.2.7, 192.0.2.8, {OUTSIDE}, 10.0.0.2", OUTSIDE),
    ],
)
def test_forwarded_address_is_counted_from_the_right(
    sqlite_engine: Engine, hops: int, forwarded: str | None, address: str | None
) -> None:
    """Ignore X-Forwarded-For values that the caller sent itself (C5)."""
    endpoint = Endpoint(sqlite_engine, TRUSTED_PROXIES=hops)
    headers = SPOOFED | ({} if forwarded is None else {"X-Forwarded-For": forwarded})
    with endpoint.app.test_request_context(headers=headers, environ_base={"REMOTE_ADDR": PEER}):
        assert client_address() == address


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_spoofed_forwarded_headers_have_no_effect(sqlite_engine: Engine, hops: int) -> None:
    """Use the proxies' address for allowlist, rate limit and record, with no, one and two proxies (C5, A8, D2)."""
    endpoint = Endpoint(sqlite_engine, TRUSTED_PROXIES=hops, FAILURES_PER_ADDRESS=3, FAILURES_PER_CLIENT_AND_ADDRESS=3)
    client = make_client(sqlite_engine)
    allow(sqlite_engine, client, INSIDE)
    peer = OUTSIDE if hops == 0 else PEER
    proxies = [OUTSIDE, "10.0.0.2"][:hops]
    statuses = []
    for number in range(5):
        forged = [INSIDE, f"203.0.113.{number}", "192.0.2.7"][:number]
        headers = SPOOFED | {"X-Forwarded-For": ", ".join([*forged, *proxies])}
        statuses.append(ask(endpoint, ENDPOINTS[0], client, peer, **headers).status_code)
    assert statuses == [401, 401, 401, 429, 429]
    assert {address for _, _, address in latest_requests(endpoint, client.id)} == {OUTSIDE}


@pytest.mark.parametrize(
    ("hops", "scheme", "forwarded", "secure"),
    [
        (0, "https", None, True),
        (0, "http", None, False),
        (0, "http", "https", False),
        (1, "http", None, False),
        (1, "http", "https", True),
        (1, "http", "HTTPS", True),
        (1, "http", "http", False),
        (1, "http", "https, http", False),
        (2, "http", "https", True),
        (2, "http", "http, https", True),
    ],
)
def test_scheme_comes_from_the_nearest_proxy(
    sqlite_engine: Engine, hops: int, scheme: str, forwarded: str | None, secure: bool
) -> None:
    """Use the X-Forwarded-Proto value of the nearest trusted proxy (C6)."""
    endpoint = Endpoint(sqlite_engine, TRUSTED_PROXIES=hops)
    headers = {"Forwarded": "proto=https", "X-Forwarded-Ssl": "on", "Front-End-Https": "on"}
    headers |= {} if forwarded is None else {"X-Forwarded-Proto": forwarded}
    with endpoint.app.test_request_context(base_url=f"{scheme}://localhost", headers=headers):
        assert is_secure(request.environ, endpoint.services.settings) is secure


# Our names (C5)


@pytest.mark.parametrize(
    ("trusted", "host", "accepted"),
    [
        ((), "evil.example", True),
        (("id.mas.example",), "id.mas.example", True),
        (("id.mas.example",), "ID.MAS.example:8443", True),
        (("id.mas.example",), "evil.example", False),
        (("id.mas.example",), "id.mas.example.evil.example", False),
        (("id.mas.example",), "evil.id.mas.example", False),
        (("id.mas.example",), "id.mas.example@evil.example", False),
        (("id.mas.example",), "", False),
        (("a.example", ".mas.example"), "id.mas.example", True),
        (("a.example", ".mas.example"), "mas.example", True),
        (("a.example", ".mas.example"), "evilmas.example", False),
        (("127.0.0.1", "[::1]"), "[::1]:5000", True),
        (("127.0.0.1", "[::1]"), "127.0.0.1:5000", True),
        (("127.0.0.1", "[::1]"), "127.0.0.1.example", False),
        (("127.0.0.1", "[::1]"), "[::2]:5000", False),
    ],
)
def test_untrusted_host_is_400(sqlite_engine: Engine, trusted: tuple[str, ...], host: str, accepted: bool) -> None:
    """Return 400 at every URL of the product and at none of the host's, with any proxy headers (C5, E2)."""
    endpoint = Endpoint(sqlite_engine, TRUSTED_HOSTS=trusted, TRUSTED_PROXIES=1)
    endpoint.app.secret_key = "k" * 32
    LoginManager(endpoint.app).user_loader(lambda _: None)
    endpoint.app.add_url_rule("/", view_func=lambda: "the host's own")
    headers = {"Host": host, "X-Forwarded-Host": "id.mas.example", "X-Forwarded-Proto": "https"}
    for path in ("/.well-known/jwks.json", "/administration/identity-clients"):
        response = endpoint.client.get(path, headers=headers)
        assert (response.status_code != 400) is accepted, path
        assert accepted or path.startswith("/.well") or "That request could not be read" in response.text
    response = endpoint.client.post("/connect/token", headers=headers)
    assert response.json == {"error": "invalid_request"} if not accepted else response.status_code == 400
    assert endpoint.client.get("/", headers=headers).status_code == 200


@pytest.mark.parametrize("host", ["https://id.example", "id.example:443", "ID.example", "", "*", "a b", "id.example/"])
def test_invalid_trusted_host_stops_the_start(sqlite_engine: Engine, host: str) -> None:
    """Refuse to start with an invalid trusted host name (C5)."""
    given: dict[str, Any] = {"TRUSTED_HOSTS": (host,)}
    with pytest.raises(SettingsError, match="TRUSTED_HOSTS must be"):
        Endpoint(sqlite_engine, **given)
