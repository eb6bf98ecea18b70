"""The time limit of request bodies, against a server process (D10)."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from tests.support import servers
from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from tests.support.slow_bodies import read_to_end, send, slow_bodies, slowest
from webapp.core.database.engine import make_engine
from webapp.standalone.body_deadline import BODY_WITHIN_SECONDS, WAITING_THREADS

CONNECTIONS = 200
JSON_TIMEOUT = (
    b"HTTP/1.1 408 ",
    b"content-type: application/json",
    b"connection: close",
    b'{"error": "invalid_request"}',
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.LiveServer]:
    """Return a server that accepts any `Host`, with the pepper of the factories."""
    with servers.serve(
        tmp_path_factory.mktemp("bodies"),
        IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
        IDENTITY_CLIENTS_TRUSTED_HOSTS="127.0.0.1,id.example.com",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def port(server: servers.LiveServer) -> int:
    """Return the server's port."""
    return urlsplit(server.url).port or 0


def ask_token(server: servers.LiveServer, client_id: str) -> None:
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    assert requests.post(f"{server.url}/connect/token", data=form, timeout=5).status_code == 200


def ask_health(server: servers.LiveServer) -> None:
    assert requests.get(f"{server.url}/healthz", timeout=5).status_code == 200


def test_missing_bodies_do_not_delay_other_requests(server: servers.LiveServer, port: int) -> None:
    """200 connections with one byte of a body each get 408 in JSON after 10 s (D10, P13)."""
    engine = make_engine(server.database_url)
    client_id = make_client(engine).client_id
    engine.dispose()
    ask_token(server, client_id)  # its secret is remembered
    began = time.monotonic()
    with slow_bodies(port, CONNECTIONS) as connections:
        calls = [lambda: ask_health(server), lambda: ask_token(server, client_id)]
        assert slowest(calls, BODY_WITHIN_SECONDS - 1) < 1
        connections[0].setblocking(False)
        with pytest.raises(BlockingIOError):
            connections[0].recv(1)
        connections[0].settimeout(20)
        answers = [read_to_end(connection) for connection in connections]
    assert time.monotonic() - began < BODY_WITHIN_SECONDS + 5
    for answer in answers:
        assert all(part in answer for part in JSON_TIMEOUT), answer


INCOMPLETE_BODIES = (
    ("/connect/token", "Transfer-Encoding: chunked", "1\r\na\r\n", b"application/json"),
    ("/connect/token", "Content-Length: 100\r\nExpect: 100-continue", "", b"application/json"),
    ("/api/identity-clients/v1/clients", "Content-Length: 100", "{", b"application/problem+json"),
    ("/login", "Content-Length: 100", "email=", b"text/plain"),
)


def test_every_kind_of_incomplete_body(port: int) -> None:
    """A truncated chunked body does not count as complete (D10). All wait at the same time."""
    began = time.monotonic()
    with ExitStack() as stack:
        waiting = [
            (stack.enter_context(send(port, path=path, headers=headers, body=body)), content_type)
            for path, headers, body, content_type in INCOMPLETE_BODIES
        ]
        for connection, content_type in waiting:
            answer = read_to_end(connection).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert BODY_WITHIN_SECONDS - 0.5 < time.monotonic() - began < BODY_WITHIN_SECONDS + 3
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"content-type: " + content_type in answer


def test_a_slow_body_is_refused_and_a_late_one_is_read(port: int) -> None:
    """The time at which the body is complete decides (D10)."""
    with send(port, headers="Content-Length: 100") as drips, send(port, headers="Content-Length: 9") as late:
        began, drips_until, late_status = time.monotonic(), 0.0, b""
        while not drips_until:
            time.sleep(0.5)
            seconds = time.monotonic() - began
            if not late_status and seconds > BODY_WITHIN_SECONDS - 3:
                late.sendall(b"=x&c=def")
                late_status = late.recv(13)
            try:
                drips.sendall(b"b")
            except OSError:
                drips_until = seconds
    assert late_status == b"HTTP/1.1 400 "
    assert BODY_WITHIN_SECONDS - 1 < drips_until < BODY_WITHIN_SECONDS + 4


def test_a_second_request_over_the_same_connection_has_its_own_limit(port: int) -> None:
    with send(port, headers="Content-Length: 4", body="a=bc") as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")
        connection.sendall(b"POST /connect/token HTTP/1.1\r\nHost: id.example.com\r\nContent-Length: 100\r\n\r\na")
        began = time.monotonic()
        assert read_to_end(connection).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began > BODY_WITHIN_SECONDS - 0.5


def test_beyond_the_limit_of_pending_bodies_further_ones_are_refused(server: servers.LiveServer, port: int) -> None:
    """Requests without a body are still served (D10)."""
    answer = b""
    for _ in range(3):  # on a busy machine the first bodies may be overdue before the last request has come
        with slow_bodies(port, WAITING_THREADS):
            deadline = time.monotonic() + BODY_WITHIN_SECONDS - 2
            while not answer and time.monotonic() < deadline:
                with send(port) as connection, suppress(TimeoutError):
                    connection.settimeout(1)
                    answer = connection.recv(65536)
            if answer:
                ask_health(server)
                break
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 5" in answer


def test_sigterm_ends_the_server_in_time(tmp_path: Path) -> None:
    """With unfinished headers and bodies (D10)."""
    with servers.serve(tmp_path) as server:
        port = urlsplit(server.url).port or 0
        connections = [send(port) for _ in range(CONNECTIONS)]
        half_head = socket.create_connection(("127.0.0.1", port))
        half_head.sendall(b"POST /connect/token HTTP/1.1\r\nHost: ")
        time.sleep(0.5)
        began = time.monotonic()
    assert time.monotonic() - began < 12
    for connection in (*connections, half_head):
        connection.close()
