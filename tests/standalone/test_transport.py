"""Accepted host names, and https (C5, C6)."""

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.support import servers
from tests.support.mas import EMAIL, Mas, sign_in
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.standalone import create_app

SETTING = "IDENTITY_CLIENTS_"


def make_application(sqlite_url: str, instance: Any, **settings: str) -> Flask:
    """Return an application set up as in production except for these settings."""
    given = {f"{SETTING}{name}": value for name, value in settings.items()}
    return create_app(
        PRODUCTION_SETTINGS | {f"{SETTING}DATABASE_URL": sqlite_url, "INSTANCE_PATH": str(instance)} | given
    )


@pytest.mark.parametrize(
    ("settings", "host", "accepted"),
    [
        ({"ISSUER": "https://mas.example"}, "mas.example", True),
        ({"ISSUER": "https://mas.example"}, "MAS.example:443", True),
        ({"ISSUER": "https://mas.example:8443/id"}, "mas.example:8443", True),
        ({"ISSUER": "https://mas.example"}, "evil.example", False),
        ({"ISSUER": "https://mas.example"}, "localhost", False),
        ({"ISSUER": "https://mas.example"}, "127.0.0.1", False),
        ({"ISSUER": "https://[2001:db8::1]"}, "[2001:db8::1]", True),
        ({"ISSUER": "https://mas.example", "TRUSTED_HOSTS": "a.example, .b.example"}, "x.b.example", True),
        ({"ISSUER": "https://mas.example", "TRUSTED_HOSTS": "a.example, .b.example"}, "mas.example", False),
    ],
)
def test_an_unknown_host_is_400_everywhere(
    sqlite_url: str, tmp_path: Any, settings: dict[str, str], host: str, accepted: bool
) -> None:
    """By default the issuer's name is accepted; unknown paths are no exception (C5)."""
    client = make_application(sqlite_url, tmp_path / "instance", TRUSTED_PROXIES="1", **settings).test_client()
    headers = {"Host": host, "X-Forwarded-Host": "mas.example", "X-Forwarded-Proto": "https"}
    for path in ("/healthz", "/readyz"):
        assert client.get(path, headers=headers).status_code == 200, "health checks accept any name (D8)"
    for path in ("/login", "/", "/nowhere", "/.well-known/jwks.json", "/connect/nowhere"):
        response = client.get(path, headers=headers)
        assert (response.status_code != 400) is accepted, path
    response = client.post("/connect/token", headers=headers)
    assert response.status_code == 400
    assert response.mimetype == "application/json"
    assert "Use POST" not in response.text
    assert ("content type" in response.text or "x-www-form-urlencoded" in response.text) is accepted


@pytest.mark.parametrize(
    ("listens_on", "host", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1:5000", True),
        ("127.0.0.1", "localhost:5000", True),
        ("127.0.0.1", "[::1]:5000", True),
        ("127.0.0.1", "rebound.evil.example", False),
        ("0.0.0.0", "the-developers-machine:5000", True),
    ],
)
def test_in_development_the_loopback_has_many_names(
    sqlite_url: str, tmp_path: Any, listens_on: str, host: str, accepted: bool
) -> None:
    """Names that an attacker may point to this machine are refused (C5)."""
    given = {
        f"{SETTING}DEVELOPMENT": "true",
        f"{SETTING}DATABASE_URL": sqlite_url,
        "INSTANCE_PATH": str(tmp_path / "instance"),
        "HOST": listens_on,
    }
    response = create_app(given).test_client().get("/login", headers={"Host": host})
    assert response.status_code == (200 if accepted else 400)


@pytest.mark.parametrize(
    ("path", "leads_to"),
    [
        ("/login", "https://localhost/login"),
        ("/login?next=%2Fa%3Fb%3D%C3%A9", "https://localhost/login?next=/a?b%3D%C3%A9"),  # the same, quoted less
        ("/nowhere", "https://localhost/nowhere"),
        ("/administration/identity-clients?q=a+b", "https://localhost/administration/identity-clients?q=a+b"),
        ("/.well-known/jwks.json", "https://localhost/.well-known/jwks.json"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_plain_http_is_redirected_to_https(app: Flask, path: str, leads_to: str, method: str) -> None:
    """By 308, which keeps the method (C6)."""
    response = app.test_client().open(path, method=method, base_url="http://localhost")
    assert (response.status_code, response.location) == (308, leads_to)
    assert "Set-Cookie" not in response.headers


def test_plain_http_is_refused_where_credentials_are_sent(app: Flask) -> None:
    """A redirect would make the client send them again (C6)."""
    for path, status in (("/connect/token", 400), ("/connect/introspect", 400), ("/connect/nowhere", 404)):
        response = app.test_client().post(path, base_url="http://localhost", data={"client_secret": "x"})
        assert response.status_code == status
        assert "Location" not in response.headers


def test_health_checks_may_use_plain_http(app: Flask) -> None:
    """They reach the process without the proxy (C6)."""
    for path in ("/healthz", "/readyz"):
        assert app.test_client().get(path, base_url="http://localhost").status_code == 200


@pytest.mark.parametrize(
    ("hops", "forwarded", "status"), [(0, "https", 308), (1, "https", 200), (2, "https", 200), (1, "http", 308)]
)
def test_a_trusted_proxy_forwards_the_scheme(
    sqlite_url: str, tmp_path: Any, hops: int, forwarded: str, status: int
) -> None:
    """With any number of proxies there is one scheme (C6)."""
    client = make_application(sqlite_url, tmp_path / "instance", TRUSTED_PROXIES=str(hops)).test_client()
    response = client.get("/login", base_url="http://localhost", headers={"X-Forwarded-Proto": forwarded})
    assert response.status_code == status


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_spoofed_addresses_do_not_evade_the_limit_of_sign_ins(sqlite_url: str, tmp_path: Any, hops: int) -> None:
    """The limit counts by the address that the trusted proxies saw (C5, D6)."""
    app = make_application(sqlite_url, tmp_path / "instance", TRUSTED_PROXIES=str(hops))
    Mas(app).add_user()
    client = app.test_client()
    peer = "198.51.100.7" if hops == 0 else "10.0.0.1"
    statuses = []
    for number in range(6):
        forwarded = ", ".join([f"192.0.2.{number}", *["198.51.100.7", "10.0.0.2"][:hops]])
        headers = {"X-Forwarded-For": forwarded, "X-Real-IP": f"192.0.2.{number}"}
        answer = sign_in(client, EMAIL, "wrong wrong wrong", headers=headers, environ_base={"REMOTE_ADDR": peer})
        statuses.append(answer.status_code)
    assert statuses == [422] * 5 + [429]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize(
    "head",
    [
        "GET {} HTTP/1.0",
        "GET {} HTTP/1.1\r\nHost: 10.0.0.1",
        "GET {} HTTP/1.1\r\nHost: evil.example:99",
        "HEAD {} HTTP/1.0",
    ],
)
def test_health_checks_need_no_host_header(live_server: servers.LiveServer, path: str, head: str) -> None:
    """They use an address, or HTTP/1.0 without `Host` (D8)."""
    port = urlsplit(live_server.url).port
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(f"{head.format(path)}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.split(b"\r\n")[0].endswith(b" 200 OK")
    assert answer.endswith(b"ok\n") is not head.startswith("HEAD")
