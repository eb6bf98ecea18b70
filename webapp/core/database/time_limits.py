"""Bound how long a request waits for the database server (D8).

PostgreSQL's own `lock_timeout` and `statement_timeout` are not used: they are no help against a server that is stopped,
and a pooler such as PgBouncer would pass a session's settings on to other clients. Instead the waiting side keeps the
time: after `RESPONSE_SECONDS` minus `CANCEL_SECONDS` it asks the server to cancel the statement, as for one that waits
for a lock, and after `RESPONSE_SECONDS` it closes the connection.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

RESPONSE_SECONDS = 3.0
"""How long one statement, or a commit, may wait for the server's response."""
CANCEL_SECONDS = 1.0
"""How long before the end of its time a statement is cancelled."""
FIRST_STATEMENT_SECONDS = 0.5
"""How long a new connection's first statement may wait at least, however long connecting took."""
LOST_SECONDS = 1.0
"""A connection that is lost after so long a wait was not closed while it was idle: the server is out."""
RETRY_SECONDS = 1.0
POOL_WAIT_SECONDS = 1.5
"""How long a request waits for a connection that others use."""

_limit: ContextVar[float | None] = ContextVar("identity_clients_response_limit", default=RESPONSE_SECONDS)


@contextmanager
def response_limit(seconds: float | None) -> Iterator[None]:
    """Set how long each statement in the block may wait for the server's response; None: as long as it takes."""
    token = _limit.set(seconds)
    try:
        yield
    finally:
        _limit.reset(token)


class ResponseTimer:
    """Measures the wait for one response of the server, by the limit that is set when it starts.

    :param spent_seconds: how long the connection took to be made, if this is its first statement: both together get the
        time of one response.
    """

    def __init__(self, spent_seconds: float = 0.0) -> None:
        limit = _limit.get()
        self._began = time.monotonic()
        left = None if limit is None else max(limit - spent_seconds, min(limit, FIRST_STATEMENT_SECONDS))
        self._deadline = None if left is None else self._began + left
        self._has_cancelled = False

    @property
    def is_over(self) -> bool:
        """Whether the connection must be given up."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    @property
    def has_waited_long(self) -> bool:
        """Whether a connection that is lost now means that the server is out."""
        return time.monotonic() - self._began >= LOST_SECONDS

    def must_cancel(self) -> bool:
        """Return True, once, when the server must be asked to cancel the statement."""
        if self._has_cancelled or self._deadline is None or time.monotonic() < self._deadline - CANCEL_SECONDS:
            return False
        self._has_cancelled = True
        return True


class ServerOutage:
    """Notes that a server does not respond, and then lets one thread a second try until one gets a response.

    Without it, each request would wait on its own, and soon every thread of the process would. It has no lock, which a
    fork could leave locked: it does no harm if two threads try at once.
    """

    def __init__(self) -> None:
        self._retry_at: float | None = None
        self._trying_thread = 0

    def may_try(self) -> bool:
        """Return whether this thread may use the server now."""
        retry_at, thread = self._retry_at, threading.get_ident()
        if retry_at is None or _limit.get() is None or self._trying_thread == thread:
            return True
        now = time.monotonic()
        if now < retry_at:
            return False
        self._retry_at, self._trying_thread = now + RETRY_SECONDS, thread
        return True

    def begin(self) -> None:
        """Note that the server did not respond in time."""
        self._retry_at, self._trying_thread = time.monotonic() + RETRY_SECONDS, 0

    def end(self) -> None:
        """Note that the server responded."""
        if self._retry_at is not None:
            self._retry_at = None
