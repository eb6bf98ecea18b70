"""Reading request bodies within a deadline, as WSGI middleware in front of everything else (D10).

granian gives each request to a thread as soon as its head has arrived, and the thread waits for the body without a
time limit. Here a connection whose body is not complete in time is ended, only some of the threads may wait for bodies,
and only some of them may work on requests at the same time. Ending connections needs Linux.
"""

import json
import logging
import math
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterable, Mapping
from io import BytesIO
from queue import SimpleQueue
from typing import NamedTuple
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import HTTPException, RequestTimeout, ServiceUnavailable

from ..http_request import request_id_of
from ..oauth.response import error_response
from ..settings import Settings
from .error_pages import log_request

LOG = logging.getLogger(__name__)
BODY_WITHIN_SECONDS = 10
CHECK_EVERY_SECONDS = 0.25
WORKING_THREADS = 64
"""How many requests are worked on at the same time in a process."""
WAITING_THREADS = 448
"""How many threads of a process may wait for bodies. The server starts a thread only when it is needed."""
RETRY_AFTER_SECONDS = 5
SENT_WITHIN_SECONDS = 1
"""How late a response to the former request, or `100 Continue`, may be sent over a connection with an overdue body."""
_TCP_INFO = struct.Struct("@44xI")
"""The beginning of Linux's `struct tcp_info`, of which only `tcpi_last_data_sent` is read: milliseconds ago."""


class Peer(NamedTuple):
    """The IP address that a connection comes from, and the port of this server that it goes to."""

    address: str
    port: str


class BodyDeadline:
    """Middleware that reads the body of each request before it calls the application.

    :param app: the application behind it.
    :param body_limit_bytes: the longest body that is read; the application refuses longer ones by their length.
    """

    def __init__(self, app: WSGIApplication, settings: Settings, body_limit_bytes: int) -> None:
        self.app = app
        self._settings = settings
        self._body_limit_bytes = body_limit_bytes
        self._waiting: dict[int, tuple[float, WSGIEnvironment]] = {}
        self._watches = False
        self._lock = threading.Lock()
        # A queue of C: the semaphores of `threading` take 2 us.
        self._work: SimpleQueue[None] = SimpleQueue()
        for _ in range(WORKING_THREADS):
            self._work.put(None)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Read the body, and call the application; respond with 408 or 503 where the body cannot be read."""
        if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
            began = time.perf_counter()
            try:
                self._read_body(environ)
            except HTTPException as error:
                return self._refuse(error, environ, start_response, began)
        self._work.get()
        try:
            return self.app(environ, start_response)
        finally:
            self._work.put(None)

    def _read_body(self, environ: WSGIEnvironment) -> None:
        """Replace the body by one in memory.

        :raises RequestTimeout: it was not complete in time, or the client closed the connection.
        :raises ServiceUnavailable: too many threads are waiting for bodies.
        """
        try:
            length = int(environ.get("CONTENT_LENGTH") or self._body_limit_bytes + 1)
        except ValueError:
            return  # the application refuses it
        if "CONTENT_LENGTH" in environ and length > self._body_limit_bytes:
            return
        if len(self._waiting) >= WAITING_THREADS:
            raise ServiceUnavailable(retry_after=RETRY_AFTER_SECONDS)
        thread, began = threading.get_ident(), time.monotonic()
        self._waiting[thread] = began, environ
        if not self._watches:
            self._start_watching()
        try:
            body = environ["wsgi.input"].read(length)
        except OSError:
            raise RequestTimeout from None
        finally:
            del self._waiting[thread]
        # A chunked body that was cut off looks complete.
        if time.monotonic() - began >= BODY_WITHIN_SECONDS or ("CONTENT_LENGTH" in environ and len(body) < length):
            raise RequestTimeout
        environ["wsgi.input"] = BytesIO(body)

    def _refuse(
        self, error: HTTPException, environ: WSGIEnvironment, start_response: StartResponse, began: float
    ) -> Iterable[bytes]:
        """Respond with an error, in JSON where machines ask, and close the connection."""
        response = error_response(error, request_id_of(environ))
        headers, body = dict(response.headers), response.body
        path, settings = environ["PATH_INFO"], self._settings
        if path.startswith(f"{settings.api_prefix}/"):
            problem = {"type": "about:blank", "title": error.name, "status": error.code}  # RFC 9457 section 4.2.1
            headers["Content-Type"], body = "application/problem+json", json.dumps(problem).encode()
        elif not path.startswith(f"{settings.endpoint_prefix}/"):
            headers["Content-Type"], body = "text/plain", f"{error.name}\n".encode()
        log_request(environ, self._settings, response.status, began)
        start_response(f"{error.code} {error.name}", [*headers.items(), ("Connection", "close")])
        return [body]

    # Ending connections

    def _start_watching(self) -> None:
        with self._lock:
            if not self._watches:
                self._watches = True
                threading.Thread(target=self._watch, name="body-deadline", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(CHECK_EVERY_SECONDS)
            try:
                self._end_overdue()
            except Exception:
                LOG.exception("connections with overdue request bodies could not be ended")

    def _end_overdue(self) -> None:
        now = time.monotonic()
        waiting = list(self._waiting.values())
        overdue: dict[Peer, float] = {}
        for began, environ in waiting:
            if now - began >= BODY_WITHIN_SECONDS:
                peer = Peer(environ.get("REMOTE_ADDR", ""), environ["SERVER_PORT"])
                overdue[peer] = min(overdue.get(peer, math.inf), now - began - SENT_WITHIN_SECONDS)
        if overdue:
            end_silent_connections(overdue)


def end_silent_connections(peers: Mapping[Peer, float]) -> None:
    """Stop receiving over connections that this process has sent nothing over for some time.

    WSGI does not say which connection a request came over. One whose body is overdue had no response since its request
    began. Other connections from the same address without a response for so long are idle, and may be ended as well.
    What has arrived can still be read, and a response can still be sent.

    :param peers: for each peer, for how many seconds nothing was sent.
    """
    for name in os.listdir("/dev/fd"):
        try:
            if not stat.S_ISSOCK(os.stat(int(name)).st_mode):
                continue
            connection = socket.socket(fileno=os.dup(int(name)))
        except OSError:
            continue  # closed meanwhile
        with connection:
            try:
                peer = Peer(connection.getpeername()[0], str(connection.getsockname()[1]))
                if peer not in peers:
                    continue  # also our own connections to a database, which have another port
                info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
                if _TCP_INFO.unpack(info)[0] >= peers[peer] * 1000:
                    connection.shutdown(socket.SHUT_RD)
            except (OSError, IndexError):
                continue  # not a connection, or closed meanwhile
