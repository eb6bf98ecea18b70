"""Two hosts behind nginx with the files of `docs/deploy`: no request fails in a restart, and few when one is killed."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlencode

import pytest

from tests.support import servers
from tests.support.factories import SECRET
from tests.support.guide import NAME, Site, make_client_in, make_site, services_of
from tests.test_proxies import make_certificate, program, running, send, wait_for

DEPLOY = servers.ROOT / "docs" / "deploy"
APART_SECONDS = 2
DRAIN_SECONDS = 2
SCREENS, API = "/administration/identity-clients", "/api/identity-clients/v1"
# As systemd does: the socket is descriptor 3, and the variables name the process itself.
START = 'exec 3<&"$1"; shift; export LISTEN_FDS=1 LISTEN_PID=$$; exec "$@"'


class Host:
    """An application host whose listening socket outlives its process."""

    def __init__(self, site: Site, name: str) -> None:
        self._site = site
        self._log = site.directory / f"{name}.log"
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.start()

    def start(self) -> None:
        """Start the process."""
        descriptor = self._listener.fileno()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                ["bash", "-c", START, "host", str(descriptor), sys.executable, "-m", "webapp.standalone"],
                cwd=servers.ROOT,
                env={"PATH": os.environ["PATH"], **self._site.settings, "DRAIN_SECONDS": str(DRAIN_SECONDS)},
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                start_new_session=True,
            )

    def restart(self) -> None:
        """Stop the process, and start another."""
        self.process.terminate()
        assert self.process.wait(servers.START_SECONDS) == 0, self._log.read_text()
        self.start()

    def close(self) -> None:
        """End everything."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._listener.close()


@pytest.fixture
def site(tmp_path: Path, sqlite_template: Path) -> Site:
    """Return a directory with the guide's settings and an up-to-date database."""
    return make_site(tmp_path, sqlite_template)


@pytest.fixture
def hosts(site: Site) -> Iterator[list[Host]]:
    """Return two hosts that share a database."""
    with contextlib.ExitStack() as stack:
        both = []
        for name in ("one", "two"):
            both.append(Host(site, name))
            stack.callback(both[-1].close)
        yield both


class Port(NamedTuple):
    """A host at this port."""

    port: int


def nginx_configuration(site: Site, hosts: Sequence[Host | Port], port: int) -> Path:
    """Return the configuration in `docs/deploy`, with other addresses and paths."""
    text = (DEPLOY / "nginx.conf").read_text("utf-8")
    for number, host in zip((71, 72), hosts, strict=True):
        text = text.replace(f"192.0.2.{number}:5000", f"127.0.0.1:{host.port}")
    text = text.replace("    listen 192.0.2.81:80;\n", "").replace("192.0.2.81:443", f"127.0.0.1:{port}")
    text = text.replace("/etc/ssl", str(site.directory)).replace("/var/log/nginx", str(site.directory))
    assert not re.search(r"192\.0\.2\.", text)
    places = "".join(
        f"{kind}_temp_path {site.directory}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    user = "user root;" if os.getuid() == 0 else ""
    path = site.directory / "nginx.conf"
    path.write_text(
        f"daemon off; {user} pid {site.directory}/nginx.pid; error_log stderr;\n"
        f"events {{}}\nhttp {{\n{places}{text}}}\n"
    )
    return path


def test_restarts_two_seconds_apart_fail_no_request(site: Site, hosts: list[Host]) -> None:
    """Token requests, and forms that nginx must not repeat, are all answered."""
    app = site.app()
    client = make_client_in(app)
    services_of(app).engine.dispose()
    token = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    requests = {"/connect/token": (token, 200), "/logout": ({"next": "/"}, 303)}
    port, ca = servers.free_port(), make_certificate(site.directory)
    configuration = nginx_configuration(site, hosts, port)
    statuses: Counter[tuple[str, int | str]] = Counter()
    is_over = threading.Event()

    def load(path: str) -> None:
        while not is_over.is_set():
            try:
                statuses[path, send(port, "POST", path, form=requests[path][0], ca=ca).status] += 1
            except Exception as error:
                statuses[path, repr(error)] += 1
            time.sleep(0.03)

    with running(site, "nginx", [program("nginx"), "-c", str(configuration), "-p", str(site.directory)]):
        for host in hosts:
            wait_for(lambda port=host.port: send(port, "GET", "/readyz").status == 200)
        threads = [threading.Thread(target=load, args=(path,)) for path in requests]
        restarts = [threading.Thread(target=host.restart) for host in hosts]
        try:
            for thread in threads:
                thread.start()
            for thread in restarts:
                thread.start()
                time.sleep(APART_SECONDS)
            for thread in restarts:
                thread.join()
            for host in hosts:
                wait_for(lambda port=host.port: send(port, "GET", "/readyz").status == 200)
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
    assert set(statuses) == {(path, status) for path, (_, status) in requests.items()}
    check_drain(hosts[0])


def check_drain(host: Host) -> None:
    """`/readyz` is 503 while requests are served, on connections that are closed; then the process ends (D8)."""
    host.process.terminate()
    began = time.monotonic()
    wait_for(lambda: send(host.port, "GET", "/readyz").status == 503)
    health = send(host.port, "GET", "/healthz")
    assert (health.status, health.headers["connection"]) == (200, "close")
    assert host.process.wait(servers.START_SECONDS) == 0
    assert time.monotonic() - began > DRAIN_SECONDS - 1


def test_a_second_signal_ends_the_drain(site: Site) -> None:
    """Without a socket of systemd, too: a drain of a minute is over at once (D8)."""
    environment = {"PATH": os.environ["PATH"], **site.settings, "PORT": str(site.port), "DRAIN_SECONDS": "60"}
    command = [sys.executable, "-m", "webapp.standalone"]
    with (site.directory / "application.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=servers.ROOT, env=environment, stdout=log, stderr=log)
    try:
        wait_for(lambda: send(site.port, "GET", "/readyz").status == 200)
        process.terminate()
        wait_for(lambda: send(site.port, "GET", "/readyz").status == 503)
        assert send(site.port, "GET", "/login", {"Host": NAME, "X-Forwarded-Proto": "https"}).status == 200
        assert process.poll() is None
        process.terminate()
        assert process.wait(servers.STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait()


def test_nginx_repeats_only_what_changes_nothing_a_second_time(site: Site) -> None:
    """A host gets a request and dies: the other one gets it too, or the caller gets 503 with `Retry-After`."""
    arrived: Counter[tuple[str, str, str | None]] = Counter()

    class DiesOnce(BaseHTTPRequestHandler):
        """Close the connection at the first of equal requests, and answer the second with its body."""

        def handle_once(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = (self.command, self.path, self.headers["Idempotency-Key"])
            arrived[request] += 1
            if arrived[request] == 2:
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST = do_PATCH = do_DELETE = handle_once  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    requests = [
        *[(method, f"{SCREENS}/x", {}, True) for method in ("GET", "DELETE")],
        *[("POST", path, {}, True) for path in ("/connect/token", "/connect/introspect", "/connect/revocation")],
        *[("POST", path, {}, True) for path in ("/login", f"{SCREENS}/new", f"{SCREENS}/new/form", f"{SCREENS}/check")],
        *[("POST", f"{SCREENS}/x/{form}/form", {}, True) for form in ("edit", "secret")],
        *[("POST", f"{SCREENS}/{page}", {}, False) for page in ("settings", "bulk", "x/edit", "x/secret", "x/delete")],
        ("POST", "/logout", {}, False),
        ("POST", f"{API}/clients", {"Idempotency-Key": "0f9b"}, True),
        ("POST", f"{API}/clients", {}, False),
        ("PATCH", f"{API}/clients/x", {}, False),
    ]
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(2):
            server = ThreadingHTTPServer(("127.0.0.1", 0), DiesOnce)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever).start()
            ports.append(Port(server.server_port))
        port, ca = servers.free_port(), make_certificate(site.directory)
        configuration = nginx_configuration(site, ports, port)
        command = [program("nginx"), "-c", str(configuration), "-p", str(site.directory)]
        stack.enter_context(running(site, "nginx", command))
        wait_for(lambda: send(port, "GET", "/readyz", ca=ca).status in (200, 503))
        for method, path, headers, is_repeated in requests:
            answer = send(port, method, path, headers, form={"a": path} if method == "POST" else None, ca=ca)
            expected = (200, None) if is_repeated else (503, "2")
            assert (answer.status, answer.headers.get("retry-after")) == expected, (method, path, headers)
            assert arrived[method, path, headers.get("Idempotency-Key")] == 1 + is_repeated
            assert not is_repeated or method != "POST" or answer.body == urlencode({"a": path})
