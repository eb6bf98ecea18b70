"""Record the outcomes of token requests without delaying them (L2, L3).

A request only adds its outcome to memory. One thread per process writes them to the database once a second, so that a
crash loses at most a second.
"""

import hmac
import logging
import os
import threading
import time
import uuid
from collections import Counter
from datetime import datetime
from multiprocessing.util import Finalize
from weakref import WeakSet

from sqlalchemy import Engine

from .. import metrics
from ..credentials import is_well_formed
from ..database.models import SCOPE_MAX
from ..database.outcomes import AuthenticationFailure, Outcome
from ..database.sqlite import without_waiting_for_disk
from ..database.time_limits import response_limit
from ..database.unit_of_work import unit_of_work
from ..errors import Unavailable
from .last_uses import RecentWrites
from .pending import PendingWrites, UnknownClientRequest
from .stored_requests import RecordedRequest
from .writer import write_requests

WRITE_EVERY_SECONDS = 1
BACKGROUND_RESPONSE_SECONDS = 8.0
"""How long a statement of the background thread may wait for the database server."""
WRITE_CPU_SECONDS = 0.15
"""How much CPU time one write should take at most, so that requests keep the rest however many clients ask at once."""
COUNTS_PER_WRITE_MIN, COUNTS_PER_WRITE_MAX = 100, 1_000
"""How many counts one write takes, those that waited longest, depending on the CPU time of the write before.

Each is about one client, whose rows are at random places of the database.
"""
UNKNOWN_CLIENT_IDS_LOGGED = 3
EXIT_PRIORITY = 10
LOG = logging.getLogger(__name__)


class Recorder:
    """Collects the outcomes of token requests, and writes them to the database in the background.

    :param pepper: the key from which the key for digests of unknown client IDs in the log is derived (L3).
    :ivar restarts: how often the background thread had died and was started again.
    """

    def __init__(self, engine: Engine, pepper: bytes) -> None:
        self._engine = without_waiting_for_disk(engine)
        self._digest_key = hmac.digest(pepper, b"identity-clients: log of unknown client IDs", "sha256")
        self._reset()
        _recorders.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._pending = PendingWrites()
        self._recent_writes: RecentWrites = frozenset()
        self._thread: threading.Thread | None = None
        self._is_starting = False
        self._counts_per_write = COUNTS_PER_WRITE_MAX
        self._at_exit: Finalize | None = None
        self._is_delayed = False
        self.restarts = 0

    def record(
        self,
        client_key: uuid.UUID | None,
        outcome: Outcome | AuthenticationFailure,
        secret_label: str | None,
        *,
        client_id: str,
        at: datetime,
        address: str | None,
        scope: str,
        account_id: str | None = None,
        request_id: str | None = None,
    ) -> None:
        """Add the outcome of a token request without waiting for the database, in a few microseconds; never raises.

        :param client_key: the client; None if no client has the ID that was sent.
        :param secret_label: the label of the secret that matched, None if none did.
        :param client_id: the client ID that was sent.
        :param scope: the `scope` parameter, empty if there was none.
        :param account_id: the client's account; None: it is looked up when the outcome is written.
        :param request_id: the ID of the HTTP request.
        """
        scope = _printable(scope)
        # Not within the lock: where threads are greenlets, asking for one, or starting one, runs others, which may want
        # the lock. It is a real one if this object was created before the server replaced threads by greenlets.
        thread = self._thread
        is_running = thread is not None and thread.is_alive()
        with self._lock:
            if client_key is None:
                self._pending.add_unknown(UnknownClientRequest(client_id, at, outcome, address, scope, request_id))
            else:
                self._pending.add(
                    RecordedRequest(client_key, at, outcome, secret_label, address, scope, account_id, request_id)
                )
            has_ended = self._thread is None or (self._thread is thread and not is_running)
            starts = has_ended and not self._is_starting
            self._is_starting |= starts
        if starts:
            self._start()
            self._is_starting = False

    def _start(self) -> None:
        thread = threading.Thread(target=self._write_until_done, name="identity-clients-recorder", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            return  # the limit of threads is reached; the next request tries again
        if self._thread is not None:
            self.restarts += 1
            LOG.error("The thread that records token requests died and was started again (%d times).", self.restarts)
            if self._at_exit is not None:
                self._at_exit.cancel()
        self._thread = thread
        # Not atexit, which does not run at the end of a process that multiprocessing forked.
        self._at_exit = Finalize(None, self._write_at_exit, exitpriority=EXIT_PRIORITY)

    def _write_until_done(self) -> None:
        while True:
            time.sleep(WRITE_EVERY_SECONDS)
            with response_limit(BACKGROUND_RESPONSE_SECONDS):
                self.write()
            with self._lock:
                if not self._pending:
                    self._thread = None
                    if self._at_exit is not None:
                        self._at_exit.cancel()
                    return

    def _write_at_exit(self) -> None:
        self.write_all()
        if self._pending:
            LOG.error("The process ends before its last token requests could be recorded.")

    def write_all(self) -> None:
        """Write everything that is pending, or nothing more once the database is unavailable."""
        while self._pending and self.write():
            pass

    def write(self) -> bool:
        """Write the counts that waited longest, as many as `WRITE_CPU_SECONDS` allows, with their clients' requests.

        Return False if the database is unavailable; then they are kept for the next time.
        """
        with self._writing:
            with self._lock:
                pending, self._pending = self._pending, PendingWrites()
            if not pending:
                metrics.set_gauge(metrics.RECORDER_BACKLOG, 0)
                return True
            if rest := pending.split_off(self._counts_per_write):
                self._requeue(rest)
            recent_writes, began = self._recent_writes, time.thread_time()
            try:
                with unit_of_work(self._engine) as session:
                    connection = session.connection()
                    pending.assign_unknown(connection)
                    if pending.counts:
                        recent_writes = write_requests(connection, pending.counts, pending.requests, recent_writes)
                self._recent_writes = recent_writes
                if pending.counts:
                    self._adapt_counts_per_write(len(pending.counts), time.thread_time() - began)
            except Unavailable:
                self._keep(pending)
                return False
            except Exception as error:
                # Not kept, since it would fail again with all that follows. The message could contain values (L5).
                metrics.add(metrics.RECORDER_LOST, amount=sum(count.count for count in pending.counts.values()))
                LOG.error("Token requests could not be recorded: %s.", type(error).__name__)
            self._is_delayed = False
            metrics.set_gauge(metrics.RECORDER_BACKLOG, len(self._pending.counts))
            self._log(pending)
            return True

    def _adapt_counts_per_write(self, counts: int, cpu_seconds: float) -> None:
        """Set how many counts the next write takes, from what this write took for its counts."""
        fitting = int(counts * WRITE_CPU_SECONDS / max(cpu_seconds, 0.001))
        self._counts_per_write = min(max(fitting, COUNTS_PER_WRITE_MIN), COUNTS_PER_WRITE_MAX)

    def _requeue(self, pending: PendingWrites) -> None:
        with self._lock:
            pending.merge(self._pending)
            self._pending = pending

    def _keep(self, pending: PendingWrites) -> None:
        self._requeue(pending)
        metrics.set_gauge(metrics.RECORDER_BACKLOG, len(self._pending.counts))
        if not self._is_delayed:
            self._is_delayed = True
            LOG.warning("Token requests cannot be recorded now. They are kept in memory, and retried every second.")

    def _log(self, pending: PendingWrites) -> None:
        if pending.unknown_count:
            callers = Counter(f"{self._abbreviate(each.client_id)} from {each.address}" for each in pending.unknown)
            examples = ", ".join(f"{name} ({count})" for name, count in callers.most_common(UNKNOWN_CLIENT_IDS_LOGGED))
            LOG.warning("Token requests with unknown client IDs: %d, such as %s.", pending.unknown_count, examples)
        if pending.lost:
            metrics.add(metrics.RECORDER_LOST, amount=pending.lost)
            LOG.error("Token requests not counted, since too many clients made them at once: %d.", pending.lost)

    def _abbreviate(self, client_id: str) -> str:
        """Return the first characters and a digest of an ID, which may be a secret in the wrong field (L3)."""
        if not is_well_formed(client_id):
            return "malformed"
        return f"{client_id[:4]}...{hmac.digest(self._digest_key, client_id.encode(), 'sha256').hex()[:8]}"


_recorders: WeakSet[Recorder] = WeakSet()


def _reset_after_fork() -> None:
    # The parent writes what is pending there; its thread does not exist in the child, and its locks may be taken.
    for recorder in _recorders:
        recorder._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)


def _printable(scope: str) -> str:
    """Return a scope cut to `SCOPE_MAX`, with `?` for characters other than printable ASCII."""
    scope = scope[:SCOPE_MAX]
    if scope.isascii() and scope.isprintable():
        return scope
    return "".join(character if " " <= character <= "~" else "?" for character in scope)
