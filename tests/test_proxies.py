"""The nginx and Caddy configuration in `docs/operations.md`, run where these are installed (C5, C6, T14)."""

import contextlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from playwright.sync_api import Browser, expect
from sqlalchemy import text

from tests.support import servers
from tests.support.browser import CHROMIUM_ARGUMENTS, headless_chromium
from tests.support.endpoint import FORM
from tests.support.factories import SECRET
from tests.support.guide import NAME, SLOW_SECONDS, Site, blocks, make_client_in, make_site, services_of
from tests.support.mas import PASSWORD, Mas
from tests.support.pages import PREFIX as LIST
from tests.support.pages import ClientList
from tests.support.slow_bodies import read_to_end, slow_bodies, slowest
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.usage import queries
from webapp.settings import PREFIX


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Site:
    """Return a directory to run the guide in, with an up-to-date database."""
    return make_site(tmp_path, sqlite_template)


@contextlib.contextmanager
def running(site: Site, name: str, command: list[str], **environment: str) -> Iterator[None]:
    """Run a process within the block."""
    with (site.directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=servers.ROOT,
            env={"PATH": os.environ["PATH"], "HOME": str(site.directory), **environment},
            stdout=log,
            stderr=log,
        )
    try:
        yield
        assert process.poll() is None, (site.directory / f"{name}.log").read_text()
    finally:
        process.terminate()
        process.wait(servers.STOP_SECONDS)


@contextlib.contextmanager
def serving(site: Site) -> Iterator[None]:
    """Run the application with the guide's settings."""
    with running(
        site, "application", [sys.executable, "-m", "webapp.standalone"], **site.settings, PORT=str(site.port)
    ):
        wait_for(lambda: send(site.port, "GET", "/healthz").status == 200)
        yield


def wait_for(condition: Any) -> None:
    """Call the function until it returns true."""
    deadline = time.monotonic() + SLOW_SECONDS
    while True:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if condition():
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


@dataclass(frozen=True)
class Response:
    """A server's response."""

    status: int
    headers: dict[str, str]
    body: str


def send(
    port: int,
    method: str,
    path: str,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    form: Mapping[str, str] | None = None,
    ca: Path | None = None,
) -> Response:
    """Send a request to a server on this machine under the guide's host name, over https if a CA is given."""
    if ca is None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    else:
        context = ssl.create_default_context(cafile=str(ca))
        context.check_hostname = False
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=20, context=context)
    given = {"Host": NAME} | ({"Content-Type": FORM} if form else {})
    connection.request(method, path, urlencode(form) if form else None, {**given, **headers})
    answer = connection.getresponse()
    try:
        return Response(
            answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read().decode()
        )
    finally:
        connection.close()


def make_certificate(directory: Path) -> Path:
    """Create a certificate for the guide's host name at the path that its nginx uses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)]), datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / f"{NAME}.key").write_bytes(private)
    (directory / f"{NAME}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return directory / f"{NAME}.pem"


@dataclass(frozen=True)
class Proxy:
    """A running reverse proxy."""

    http: int
    https: int
    ca: Path


@contextlib.contextmanager
def nginx(site: Site, *, below_a_path: bool = False) -> Iterator[Proxy]:
    """Run nginx with the guide's configuration."""
    proxy = Proxy(servers.free_port(), servers.free_port(), make_certificate(site.directory))
    fragment = site.adapt(blocks("Proxies", "nginx")[0])
    if below_a_path:
        root = re.search(r"    location / \{.*?    \}\n", fragment, re.DOTALL)
        assert root
        fragment = fragment.replace(root[0], site.adapt(blocks("Below a sub-path", "nginx")[0]))
    fragment = fragment.replace("listen 80;", f"listen 127.0.0.1:{proxy.http};")
    fragment = fragment.replace("listen 443 ssl;", f"listen 127.0.0.1:{proxy.https} ssl;")
    places = "".join(
        f"{kind}_temp_path {site.directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = site.directory / "nginx.conf"
    user = "user root;" if os.getuid() == 0 else ""
    configuration.write_text(
        f"daemon off; {user} pid {site.directory}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{\n{places}{fragment}}}\n"
    )
    with running(site, "nginx", [program("nginx"), "-c", str(configuration), "-p", str(site.directory)]):
        yield proxy


@contextlib.contextmanager
def caddy(site: Site, *, below_a_path: bool = False) -> Iterator[Proxy]:
    """Run Caddy with the guide's configuration and certificates of its own authority."""
    root = site.directory / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    proxy = Proxy(servers.free_port(), servers.free_port(), root)
    fragment = site.adapt(blocks("Proxies", "caddy")[0])
    if below_a_path:
        fragment = fragment.partition("{\n")[0] + "{\n" + site.adapt(blocks("Below a sub-path", "caddy")[0]) + "}\n"
    for scheme, port in (("http", proxy.http), ("https", proxy.https)):
        fragment = fragment.replace(f"{scheme}://{NAME}", f"{scheme}://{NAME}:{port}")
    ports = f"http_port {proxy.http}\n https_port {proxy.https}"
    options = blocks("Proxies", "caddy")[1].strip().removeprefix("{").removesuffix("}")
    configuration = site.directory / "Caddyfile"
    configuration.write_text(
        f"{{\n admin off\n {ports}\n local_certs\n skip_install_trust\n default_sni {NAME}\n{options}}}\n{fragment}"
    )
    arguments = [program("caddy"), "run", "--adapter", "caddyfile", "--config", str(configuration)]
    with running(site, "caddy", arguments, XDG_DATA_HOME=str(site.directory), XDG_CONFIG_HOME=str(site.directory)):
        yield proxy


def program(name: str) -> str:
    """Return the path of a proxy, or skip the test with a message."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed: the guide's fragment for it was not tried")
    return path


def recorded_requests(site: Site, client: IdentityClient) -> list[tuple[str, str | None]]:
    """Return outcome and address of a client's latest requests, as soon as they are written."""
    engine = make_engine(site.settings[f"{PREFIX}DATABASE_URL"])
    with read_session(engine) as session:
        found = [(row.outcome, row.address) for row in queries.recent_requests(session, client.account_id, client.id)]
    engine.dispose()
    return found


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_behind_a_proxy(site: Site, proxy: Any) -> None:
    """Https is recognized, http is refused for credentials, and callers cannot forge their address (C5, C6)."""
    app = site.app()
    client = make_client_in(app)
    services_of(app).engine.dispose()
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https", "Forwarded": "for=203.0.113.9"}
    with proxy(site) as ports, serving(site):
        wait_for(lambda: send(ports.http, "GET", "/healthz").status == 200)
        assert send(ports.https, "POST", "/connect/token", forged, form=form, ca=ports.ca).status == 200
        assert send(ports.https, "GET", "/login", ca=ports.ca).headers["strict-transport-security"]
        login = send(ports.http, "GET", "/login", forged)
        assert (login.status, login.headers["location"]) == (308, f"https://{NAME}/login")
        exposed = send(ports.http, "POST", "/connect/token", forged, form=form)
        assert (exposed.status, "location" in exposed.headers) == (400, False)
        assert "Use https" in exposed.body
        asked = send(ports.https, "POST", f"/connect/token?{urlencode(form)}", form=form, ca=ports.ca)
        assert (asked.status, asked.headers["content-type"]) == (400, "application/json")
        too_long = send(ports.https, "POST", "/connect/token", form=form | {"x": "x" * 9000}, ca=ports.ca)
        assert (too_long.status, json.loads(too_long.body)["error"]) == (413, "invalid_request")
        metadata = json.loads(send(ports.https, "GET", "/.well-known/oauth-authorization-server", ca=ports.ca).body)
        assert metadata["token_endpoint"] == f"https://{NAME}/connect/token"
        assert "<form" not in send(ports.https, "GET", "/login", {"Host": "evil.example"}, ca=ports.ca).body
        site.run(blocks("Monitoring", "sh")[0])
    assert set(recorded_requests(site, client)) == {("issued", "127.0.0.1"), ("plain http", "127.0.0.1")}
    logs = "".join(path.read_text() for path in site.directory.glob("*.log"))
    assert "Credentials were sent over plain http" in logs
    assert SECRET not in logs
    assert "client_secret" not in logs


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_missing_bodies_do_not_delay_other_requests(site: Site, proxy: Any) -> None:
    """200 connections that send one byte of a body are each ended (D10)."""
    app = site.app()
    client = make_client_in(app)
    services_of(app).engine.dispose()
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    with proxy(site) as ports, serving(site):
        wait_for(lambda: send(ports.http, "GET", "/healthz").status == 200)

        def ask_token() -> None:
            assert send(ports.https, "POST", "/connect/token", form=form, ca=ports.ca).status == 200

        def ask_health() -> None:
            assert send(ports.http, "GET", "/healthz").status == 200
            assert send(site.port, "GET", "/healthz").status == 200

        ask_token()
        began = time.monotonic()
        with slow_bodies(ports.http, 200) as connections:
            assert slowest([ask_token, ask_health], 9) < 1
            answers = [read_to_end(connection) for connection in connections]
        assert time.monotonic() - began < 20
        assert not any(b"access_token" in answer for answer in answers), "each proxy ends them with a status of its own"
        ask_token()


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_the_screens_while_the_application_is_stopped(site: Site, proxy: Any, browser: Browser) -> None:
    """The proxy's error page is not shown as part of a screen; what was typed stays, and Retry works later."""
    app = site.app()
    email = Mas(app).add_user()
    services_of(app).engine.dispose()
    arguments = [*CHROMIUM_ARGUMENTS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    with proxy(site) as ports, contextlib.ExitStack() as application:
        application.enter_context(serving(site))
        own_browser = browser.browser_type.launch(executable_path=headless_chromium(), args=arguments)
        tab = own_browser.new_page(base_url=f"https://{NAME}:{ports.https}", ignore_https_errors=True)
        tab.goto(LIST)
        tab.get_by_label("E-mail address").fill(email)
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name="Sign in").click()
        form = ClientList(tab).new().fill(client_id="made-behind-a-proxy").choose({"MerchantUser"})
        application.close()
        retry = tab.get_by_role("button", name="Retry")
        form.root.get_by_role("button", name="Create", exact=True).click()
        expect(form.root.get_by_role("alert").filter(has=retry)).to_contain_text("cannot answer right now")
        expect(tab.locator("body")).not_to_contain_text("502 Bad Gateway")
        expect(form.field("client_id")).to_have_value("made-behind-a-proxy")
        with serving(site):
            retry.click()
            expect(tab.get_by_text("Client created and enabled")).to_be_visible()
        own_browser.close()


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=["nginx", "caddy"])
def test_below_a_sub_path(site: Site, proxy: Any) -> None:
    """The metadata is at the path of RFC 8414, and pages link to each other (T14)."""
    site.set(f"{PREFIX}ISSUER", f"https://{NAME}/identity")
    with proxy(site, below_a_path=True) as ports, contextlib.ExitStack() as stack:
        command = site.adapt(blocks("Below a sub-path", "sh")[0])
        stack.enter_context(running(site, "application", command.split(), **site.settings))
        path = "/.well-known/oauth-authorization-server/identity"
        wait_for(lambda: send(ports.https, "GET", path, ca=ports.ca).status == 200)
        metadata = json.loads(send(ports.https, "GET", path, ca=ports.ca).body)
        assert metadata["issuer"] == f"https://{NAME}/identity"
        for name in ("jwks_uri", "token_endpoint"):
            assert metadata[name].startswith(f"https://{NAME}/identity/")
        jwks = metadata["jwks_uri"].removeprefix(f"https://{NAME}")
        assert json.loads(send(ports.https, "GET", jwks, ca=ports.ca).body)["keys"]
        assert send(ports.https, "POST", "/identity/connect/token", form={"x": "y"}, ca=ports.ca).status == 400
        login = send(ports.https, "GET", "/identity/login", ca=ports.ca)
        links = re.findall(r'(?:href|src|action)="(/[^"]*)"', login.body)
        assert links
        assert all(link.startswith("/identity/") for link in links)


def test_forwarded_headers_are_ignored_without_a_proxy(site: Site) -> None:
    """The mistakes that the guide warns about (C5)."""
    site.set(f"{PREFIX}TRUSTED_PROXIES", "0")
    app = site.app()
    answer = app.test_client().post(
        "/connect/token", base_url=f"http://{NAME}", headers={"X-Forwarded-Proto": "https"}, data={"x": "y"}
    )
    assert answer.status_code == 400
    with unit_of_work(services_of(app).engine) as session:
        assert session.scalar(text("SELECT count(*) FROM identity_client_token_requests")) == 0
