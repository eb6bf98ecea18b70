"""Recording what becomes of token requests, without keeping them waiting (L2, L3).

A request only notes it in memory. One thread a process writes what was noted, once a second, so that a crash loses a
second at most.
"""

import hmac
import logging
import os
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing.util import Finalize
from typing import NamedTuple
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from ..database.models import SCOPE_MAX
from ..database.outcomes import AuthenticationFailure, Outcome
from ..database.unit_of_work import unit_of_work
from ..errors import Unavailable
from ..validation import is_well_formed
from . import writer
from .writer import RecordedRequest, RequestCount, RequestCountKey

WRITE_EVERY_SECONDS = 1
REQUESTS_MAX = 10_000
"""How many requests wait in memory to be written one by one; beyond, the oldest are only counted."""
COUNTS_MAX = 20_000
"""How many counts wait in memory; a request that would need one more is lost."""
UNKNOWN_REQUESTS_MAX = 1_000
"""How many requests under unknown client IDs wait in memory; beyond, the oldest are only counted."""
UNKNOWN_CLIENT_IDS_LOGGED = 3
EXIT_PRIORITY = 10
LOG = logging.getLogger(__name__)


class _UnknownClientRequest(NamedTuple):
    """A token request under an ID that no client has now."""

    client_id: str
    at: datetime
    outcome: str
    address: str | None
    scope: str


@dataclass(slots=True)
class _PendingWrites:
    """What waits to be written."""

    counts: dict[RequestCountKey, RequestCount] = field(default_factory=dict)
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=REQUESTS_MAX))
    unknown: deque[_UnknownClientRequest] = field(default_factory=lambda: deque(maxlen=UNKNOWN_REQUESTS_MAX))
    unknown_count: int = 0
    """How many unknown there were, with those for whom there was no room."""
    lost: int = 0

    def __bool__(self) -> bool:
        return bool(self.counts or self.unknown_count)

    def add(self, request: RecordedRequest) -> None:
        self.requests.append(request)
        key = RequestCountKey(request.at.date(), request.client_key, request.secret_label or "", request.outcome)
        count = self._count_of(key)
        if count is None:
            self.lost += 1
        else:
            count.add(request.at, request.address)

    def add_unknown(self, request: _UnknownClientRequest) -> None:
        self.unknown.append(request)
        self.unknown_count += 1

    def add_newer(self, newer: "_PendingWrites") -> None:
        for key, newer_count in newer.counts.items():
            count = self._count_of(key)
            if count is None:
                self.lost += newer_count.count
            else:
                count.add_newer(newer_count)
        self.requests.extend(newer.requests)
        self.unknown.extend(newer.unknown)
        self.unknown_count += newer.unknown_count
        self.lost += newer.lost

    def _count_of(self, key: RequestCountKey) -> RequestCount | None:
        """Return the count of a key, None where there is no room for one more."""
        count = self.counts.get(key)
        if count is None and len(self.counts) < COUNTS_MAX:
            count = self.counts[key] = RequestCount()
        return count

    def assign_used_ids(self, connection: Connection) -> None:
        """Give unknown to the client whose ID theirs once was, or is in other letters: its owner looks for them."""
        well_formed = [request.client_id for request in self.unknown if is_well_formed(request.client_id)]
        claimants = writer.clients_by_used_id(connection, well_formed) if well_formed else {}
        for _ in range(len(self.unknown)):
            request = self.unknown.popleft()
            client_key = claimants.get(request.client_id.casefold())
            if client_key is None:
                self.unknown.append(request)
            else:
                self.unknown_count -= 1
                self.add(RecordedRequest(client_key, request.at, request.outcome, None, request.address, request.scope))


class Recorder:
    """Notes what becomes of token requests, and writes it to the database in the background.

    :param pepper: from it the key is derived under which unknown client IDs are logged (L3).
    """

    def __init__(self, engine: Engine, pepper: bytes) -> None:
        self._engine = engine
        self._digest_key = hmac.digest(pepper, b"identity-clients: log of unknown client IDs", "sha256")
        self._begin()
        _recorders.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._notes = _PendingWrites()
        self._written: writer.Written = frozenset()
        self._has_thread = False
        self._is_held_up = False

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
    ) -> None:
        """Note what became of a token request. It costs microseconds, waits for no database and never fails.

        :param client_key: the client; None where nobody has the ID that was sent.
        :param secret_label: the secret that matched, None if none did.
        :param client_id: what was sent as client ID.
        :param scope: what was asked for, empty if nothing was.
        """
        scope = _printable(scope)
        with self._lock:
            if client_key is None:
                self._notes.add_unknown(_UnknownClientRequest(client_id, at, outcome, address, scope))
            else:
                self._notes.add(RecordedRequest(client_key, at, outcome, secret_label, address, scope))
            if not self._has_thread:
                self._start()

    def _start(self) -> None:
        try:
            threading.Thread(target=self._write_until_done, name="identity-clients-recorder", daemon=True).start()
        except RuntimeError:
            return  # this process may have no more threads now; the next request tries again
        self._has_thread = True
        # Not atexit: a worker process that multiprocessing forked ends without it.
        self._at_exit = Finalize(None, self._write_at_exit, exitpriority=EXIT_PRIORITY)

    def _write_until_done(self) -> None:
        while True:
            time.sleep(WRITE_EVERY_SECONDS)
            self.write()
            with self._lock:
                if not self._notes:
                    self._has_thread = False
                    self._at_exit.cancel()
                    return

    def _write_at_exit(self) -> None:
        self.write()
        if self._notes:
            LOG.error("The process ends before the database took what became of its last token requests.")

    def write(self) -> None:
        """Write all that was noted. Where the database is busy or away, keep it for the next time."""
        with self._writing:
            with self._lock:
                notes, self._notes = self._notes, _PendingWrites()
            if not notes:
                return
            written = self._written
            try:
                with unit_of_work(self._engine) as session:
                    connection = session.connection()
                    notes.assign_used_ids(connection)
                    if notes.counts:
                        written = writer.write_requests(connection, notes.counts, notes.requests, written)
                self._written = written
            except Unavailable:
                self._keep(notes)
                return
            except Exception as error:
                # Kept, it would stand in the way of all that is noted later. Its text may hold values: it stays unsaid.
                LOG.error("What became of token requests could not be recorded: %s.", type(error).__name__)
            self._is_held_up = False
            self._log(notes)

    def _keep(self, notes: _PendingWrites) -> None:
        with self._lock:
            notes.add_newer(self._notes)
            self._notes = notes
        if not self._is_held_up:
            self._is_held_up = True
            LOG.warning(
                "The database does not take what becomes of token requests. It is kept, and tried every second."
            )

    def _log(self, notes: _PendingWrites) -> None:
        if notes.unknown_count:
            names = Counter(f"{self._shortened(each.client_id)} from {each.address}" for each in notes.unknown)
            named = ", ".join(f"{name} ({count})" for name, count in names.most_common(UNKNOWN_CLIENT_IDS_LOGGED))
            LOG.warning("Token requests under unknown client IDs: %d, such as %s.", notes.unknown_count, named)
        if notes.lost:
            LOG.error("Token requests not counted, since too many clients made them at once: %d.", notes.lost)

    def _shortened(self, client_id: str) -> str:
        """Return what may be logged of an ID, which may be a secret in the wrong field (L3)."""
        if not is_well_formed(client_id):
            return "malformed"
        return f"{client_id[:4]}...{hmac.digest(self._digest_key, client_id.encode(), 'sha256').hex()[:8]}"


_recorders: WeakSet[Recorder] = WeakSet()


def _begin_in_child() -> None:
    # What its parent noted is the parent's to write, and the parent's thread and locks are of no use here.
    for recorder in _recorders:
        recorder._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)


def _printable(scope: str) -> str:
    """Return a scope as it can be stored and shown, whatever was sent in its place."""
    scope = scope[:SCOPE_MAX]
    if scope.isascii() and scope.isprintable():
        return scope
    return "".join(character if " " <= character <= "~" else "?" for character in scope)
