"""Connections of psycopg whose waits for the server are bounded."""

import threading
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.errors import ConnectionTimeout
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from .time_limits import ResponseTimer, ServerOutage

CHECK_SECONDS = 0.1
"""How often a waiting connection checks the time."""
CANCEL_REQUESTS_MAX = 32
"""How many cancel requests of a process may be unanswered; a server that leaves so many does not respond at all."""
CANCEL_REQUEST_SECONDS = 3600

Result = TypeVar("Result")
_unanswered_cancel_requests: set[threading.Thread] = set()


class ServerNotResponding(psycopg.OperationalError):
    """The server did not respond in time, or is not used since it has just not responded to another thread."""

    def __init__(self) -> None:
        super().__init__("the server does not respond")


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that is closed where the server does not respond within the limit of `time_limits`.

    :ivar outage: shared by all connections to the server.
    """

    outage: ServerOutage

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **kwargs: Any) -> Result:
        """Run a generator of psycopg that communicates with the server.

        :raises ServerNotResponding: the limit is exceeded.
        """
        if not self.outage.may_try():
            raise ServerNotResponding
        result = super().wait(self._bounded(gen), CHECK_SECONDS)
        self.outage.end()
        return result

    def _bounded(self, gen: Generator[Any, Any, Result]) -> Generator[Any, Any, Result]:
        timer = ResponseTimer()
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and timer.is_over:
                    self.outage.begin()
                    self.pgconn.finish()
                    raise ServerNotResponding
                if not ready and timer.must_cancel():
                    cancel_in_background(self)
                wanted = gen.send(ready)
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]


def use_bounded_connections(engine: Engine) -> None:
    """Let an engine of psycopg connect by `BoundedConnection`."""
    outage = ServerOutage()

    def connect(_dialect: Dialect, _record: ConnectionPoolEntry, args: Any, parameters: Any) -> BoundedConnection:
        if not outage.may_try():
            raise ServerNotResponding
        try:
            connection = BoundedConnection.connect(*args, **parameters)
        except ConnectionTimeout:
            outage.begin()
            raise
        connection.outage = outage
        return connection

    event.listen(engine, "do_connect", connect)


def cancel_in_background(connection: psycopg.Connection[Any]) -> None:
    """Ask the server to cancel what a connection waits for, without waiting for the server's answer."""

    def cancel() -> None:
        try:
            # Not cut short: PgBouncer 1.18 crashes if a client leaves before its cancel request is answered.
            connection.cancel_safe(timeout=CANCEL_REQUEST_SECONDS)
        except psycopg.Error:
            return  # the connection was closed meanwhile, or no server listens
        finally:
            _unanswered_cancel_requests.discard(thread)

    if len(_unanswered_cancel_requests) >= CANCEL_REQUESTS_MAX:
        return
    thread = threading.Thread(target=cancel, name="identity-clients-cancel", daemon=True)
    _unanswered_cancel_requests.add(thread)
    try:
        thread.start()
    except RuntimeError:  # the limit of threads is reached
        _unanswered_cancel_requests.discard(thread)
