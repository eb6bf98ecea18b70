"""The server: granian, which drains before it stops, and can take its listening socket from systemd."""

import os
import signal
import socket
import threading
from collections.abc import Iterable, MutableMapping
from multiprocessing import RawValue
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from granian._granian import SocketHolder
from granian.server.mp import MPServer

from ..settings import SettingsError

READINESS_PATH = "/readyz"
FIRST_INHERITED_DESCRIPTOR = 3
"""The first file descriptor that systemd passes on, `SD_LISTEN_FDS_START`."""


class Draining:
    """Whether this server is about to stop: one flag in memory that its processes share."""

    def __init__(self) -> None:
        self._flag = RawValue("b", 0)

    def __bool__(self) -> bool:
        return bool(self._flag.value)

    def begin(self) -> None:
        """Set the flag, in every process."""
        self._flag.value = 1


class DrainingApplication:
    """Middleware that, once the server is about to stop, makes callers move to others while it still serves them.

    `/readyz` is 503, and each response closes its connection, so that no request is sent on one that the server closes.
    """

    def __init__(self, app: WSGIApplication, draining: Draining) -> None:
        self.app = app
        self._draining = draining

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if not self._draining:
            return self.app(environ, start_response)
        if environ["PATH_INFO"] == READINESS_PATH:
            start_response("503 Service Unavailable", [("Content-Type", "text/plain"), ("Connection", "close")])
            return [b"stopping\n"]

        def start_last_response(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, ("Connection", "close")], *error)

        return self.app(environ, start_last_response)


class DrainingServer(MPServer):
    """A granian server that serves for some seconds more after SIGTERM.

    SIGINT, or a second SIGTERM, stops it at once.

    :param draining: set at the first SIGTERM.
    :param drain_seconds: how long it goes on serving; 0: not at all.
    :param listener: the socket to accept connections from, or None to open one.
    """

    def __init__(
        self, *arguments: Any, draining: Draining, drain_seconds: int, listener: socket.socket | None, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._listener = listener

    def signal_handler_interrupt(self, *arguments: Any, **options: Any) -> None:
        """Begin to drain, or stop."""
        if not self._drain_seconds or self._draining or arguments[0] != signal.SIGTERM:
            super().signal_handler_interrupt(*arguments, **options)  # type: ignore[no-untyped-call]
            return
        self._draining.begin()
        stop = threading.Timer(self._drain_seconds, super().signal_handler_interrupt)
        stop.daemon = True
        stop.start()

    def _init_shared_socket(self) -> None:
        """Share the given socket with the workers, as granian does with its own where there is no SO_REUSEPORT."""
        if self._listener is None:
            super()._init_shared_socket()  # type: ignore[no-untyped-call]
            return
        descriptor = self._listener.fileno()
        # The attributes that granian sets, which have no types.
        shared: Any = self
        shared._ssp, shared._sfd, shared._sso = None, descriptor, self._listener
        shared._shd = SocketHolder(descriptor, False, self.backlog)  # type: ignore[call-arg] # its stub lacks them


def inherited_listener(environment: MutableMapping[str, str]) -> socket.socket | None:
    """Return the listening socket that systemd has passed to this process (`sd_listen_fds(3)`), or None.

    The variables are removed, so that no child takes them for its own.

    :raises SettingsError: it is more than one, or not a TCP socket that listens.
    """
    process, number = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "0")
    environment.pop("LISTEN_FDNAMES", None)
    if process != str(os.getpid()):
        return None
    try:
        listener = socket.socket(fileno=os.dup(FIRST_INHERITED_DESCRIPTOR)) if number == "1" else None
    except OSError:
        listener = None
    if listener is None or not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise SettingsError("The systemd socket unit must pass exactly one listening socket.")
    if listener.family not in (socket.AF_INET, socket.AF_INET6):
        raise SettingsError("The systemd socket unit must listen on an IP address.")
    os.close(FIRST_INHERITED_DESCRIPTOR)
    listener.setblocking(False)
    return listener
