"""Connections that send the head of a request and only the beginning of its body."""

import contextlib
import socket
import time
from collections.abc import Callable, Iterator

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\r\n\r\n{body}"
)


def send(
    port: int, *, path: str = "/connect/token", headers: str = "Content-Length: 100", body: str = "a"
) -> socket.socket:
    """Open a connection to this machine, and send a request whose body does not end."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=20)
    connection.sendall(HEAD.format(path=path, host="id.example.com", headers=headers, body=body).encode())
    return connection


@contextlib.contextmanager
def slow_bodies(port: int, count: int) -> Iterator[list[socket.socket]]:
    """Keep this many connections open, each of which has sent one byte of a body."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(send(port)) for _ in range(count)]


def read_to_end(connection: socket.socket) -> bytes:
    """Return everything that arrives until the server closes the connection."""
    return b"".join(iter(lambda: connection.recv(65536), b""))


def slowest(calls: list[Callable[[], None]], seconds: float) -> float:
    """Make calls in turn for a time; return the duration of the slowest in seconds."""
    end, worst = time.monotonic() + seconds, 0.0
    while time.monotonic() < end:
        for call in calls:
            began = time.monotonic()
            call()
            worst = max(worst, time.monotonic() - began)
        time.sleep(0.1)
    return worst
