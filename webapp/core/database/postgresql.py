"""Connections of psycopg whose waits for the server are bounded."""

import threading
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.pq import ConnStatus
from sqlalchemy import Dialect, Engine, event
from sqlalchemy.pool import ConnectionPoolEntry

from .time_limits import LOST_SECONDS, ResponseTimer, ServerOutage

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
    :ivar connecting_seconds: how long it took to connect; 0 once a statement has begun.
    """

    outage: ServerOutage
    connecting_seconds = 0.0

    def wait(self, gen: Generator[Any, Any, Result], *args: Any, **kwargs: Any) -> Result:
        """Run a generator of psycopg that communicates with the server.

        :raises ServerNotResponding: the limit is exceeded.
        """
        if not self.outage.may_try():
            self.pgconn.finish()  # so that SQLAlchemy does not try to roll back
            raise ServerNotResponding
        timer = timer_of(self)
        try:
            result = super().wait(self._bounded(gen, timer), CHECK_SECONDS)
        except psycopg.OperationalError as error:
            if timer.has_waited_long and is_loss(self, error):
                self.outage.begin()
            raise
        self.outage.end()
        return result

    def _bounded(self, gen: Generator[Any, Any, Result], timer: ResponseTimer) -> Generator[Any, Any, Result]:
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
        began = time.monotonic()
        try:
            connection = BoundedConnection.connect(*args, **parameters)
        except psycopg.OperationalError:
            if time.monotonic() - began >= LOST_SECONDS:
                outage.begin()
            raise
        connection.outage, connection.connecting_seconds = outage, time.monotonic() - began
        return connection

    event.listen(engine, "do_connect", connect)


def timer_of(connection: psycopg.Connection[Any]) -> ResponseTimer:
    """Return a timer for the next statement of a connection, which may be of the host's engine."""
    spent = getattr(connection, "connecting_seconds", 0.0)
    if spent:
        connection.connecting_seconds = 0.0  # type: ignore[attr-defined]
    return ResponseTimer(spent)


def is_loss(connection: psycopg.Connection[Any], error: psycopg.Error) -> bool:
    """Return whether an error means that the connection is lost, and not that an administrator ended it.

    A pooler sends the class 08 before it closes the connection of a client that has waited too long for a server.
    """
    if error.sqlstate is None:
        return connection.pgconn.status != ConnStatus.OK
    return error.sqlstate.startswith("08")


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
