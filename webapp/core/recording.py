"""Recording what becomes of token requests (L2, L3).

A request only notes it in memory. One thread a process writes what was noted, once a second: no request waits for it,
and a crash loses a second at most.
"""

import hmac
import logging
import os
import threading
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from multiprocessing.util import Finalize
from typing import Any, NamedTuple
from weakref import WeakSet

from sqlalchemy import Connection, Engine, bindparam, delete, insert, inspect, or_, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import aliased

from .authentication import Reason
from .database import unit_of_work
from .errors import Busy
from .models import SCOPE_MAX, ClaimedId, ClientSecret, TokenRequest, TokenRequestCount
from .secrets import is_well_formed
from .usage import LATEST_MAX, Outcome

WRITE_EVERY_SECONDS = 1
REQUESTS_MAX = 10_000
"""How many requests wait in memory to be written one by one; beyond, the oldest are only counted."""
COUNTS_MAX = 20_000
"""How many counts wait in memory; a request that would need one more is lost."""
STRANGERS_MAX = 1_000
"""How many requests wait in memory whose client ID nobody has; beyond, the oldest are only counted."""
STRANGERS_NAMED = 3
EXIT_PRIORITY = 10

LOG = logging.getLogger(__name__)


class _Request(NamedTuple):
    """A token request to be written as it is."""

    client_key: uuid.UUID
    at: datetime
    outcome: str
    secret_label: str | None
    address: str | None
    scope: str


class _Stranger(NamedTuple):
    """A token request under an ID that no client has now."""

    client_id: str
    at: datetime
    outcome: str
    address: str | None
    scope: str


class _Key(NamedTuple):
    """What a count is counted by."""

    client_key: uuid.UUID
    day: date
    secret_label: str
    outcome: str


@dataclass(slots=True)
class _Tally:
    """How many requests fell on one key, and the last of them."""

    count: int
    at: datetime
    address: str | None


@dataclass(slots=True)
class _Notes:
    """What waits to be written."""

    tallies: dict[_Key, _Tally] = field(default_factory=dict)
    requests: deque[_Request] = field(default_factory=lambda: deque(maxlen=REQUESTS_MAX))
    strangers: deque[_Stranger] = field(default_factory=lambda: deque(maxlen=STRANGERS_MAX))
    strange: int = 0
    """How many strangers there were, with those for whom there was no room."""
    lost: int = 0

    def __bool__(self) -> bool:
        return bool(self.tallies or self.strange)

    def add(self, request: _Request) -> None:
        self.requests.append(request)
        key = _Key(request.client_key, request.at.date(), request.secret_label or "", request.outcome)
        self.count(key, 1, request.at, request.address)

    def add_stranger(self, stranger: _Stranger) -> None:
        self.strangers.append(stranger)
        self.strange += 1

    def count(self, key: _Key, count: int, at: datetime, address: str | None) -> None:
        tally = self.tallies.get(key)
        if tally is not None:
            tally.count += count
            tally.at, tally.address = at, address
        elif len(self.tallies) < COUNTS_MAX:
            self.tallies[key] = _Tally(count, at, address)
        else:
            self.lost += count

    def add_newer(self, newer: "_Notes") -> None:
        for key, tally in newer.tallies.items():
            self.count(key, tally.count, tally.at, tally.address)
        self.requests.extend(newer.requests)
        self.strangers.extend(newer.strangers)
        self.strange += newer.strange
        self.lost += newer.lost


class Recorder:
    """Notes what becomes of token requests, and writes it to the database in the background.

    :param pepper: from which the key is derived under which unknown client IDs are logged (L3).
    """

    def __init__(self, engine: Engine, pepper: bytes) -> None:
        self._engine = engine
        self._digest_key = hmac.digest(pepper, b"identity-clients: log of unknown client IDs", "sha256")
        self._begin()
        _recorders.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._notes = _Notes()
        self._has_thread = False
        self._is_held_up = False

    def note(
        self,
        client_key: uuid.UUID | None,
        outcome: Outcome | Reason,
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
                self._notes.add_stranger(_Stranger(client_id, at, outcome, address, scope))
            else:
                self._notes.add(_Request(client_key, at, outcome, secret_label, address, scope))
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
                notes, self._notes = self._notes, _Notes()
            if not notes:
                return
            try:
                with unit_of_work(self._engine) as session:
                    connection = session.connection()
                    _recognise(connection, notes)
                    _write(connection, notes)
            except Busy:
                self._keep(notes)
                return
            except Exception as error:
                # Kept, it would stand in the way of all that is noted later. Its text may hold values: it stays unsaid.
                LOG.error("Could not record what became of token requests: %s.", type(error).__name__)
            self._is_held_up = False
            self._log(notes)

    def _keep(self, notes: _Notes) -> None:
        with self._lock:
            notes.add_newer(self._notes)
            self._notes = notes
        if not self._is_held_up:
            self._is_held_up = True
            LOG.warning("The database does not take what became of token requests. It is kept, and tried every second.")

    def _log(self, notes: _Notes) -> None:
        if notes.strange:
            names = Counter(f"{self._shortened(each.client_id)} from {each.address}" for each in notes.strangers)
            named = ", ".join(f"{name} ({count})" for name, count in names.most_common(STRANGERS_NAMED))
            LOG.warning("%d token requests under unknown client IDs, such as %s.", notes.strange, named)
        if notes.lost:
            LOG.error("%d token requests were not counted: too many clients while the database was busy.", notes.lost)

    def _shortened(self, client_id: str) -> str:
        """Return what may be logged of an ID that may be a secret in the wrong field (L3)."""
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


# Writing. Rows are taken in the same order by every process, so that none waits for another in a circle.


def _recognise(connection: Connection, notes: _Notes) -> None:
    """Give strangers to the client whose ID theirs was once, or is in other letter case: its owner looks for them."""
    folded = {each.client_id.casefold() for each in notes.strangers if is_well_formed(each.client_id)}
    if not folded:
        return
    owners: dict[str, uuid.UUID] = dict(
        connection.execute(
            select(ClaimedId.client_id_folded, ClaimedId.client_key).where(
                ClaimedId.client_id_folded.in_(folded), ClaimedId.client_key.is_not(None)
            )
        ).all()  # type: ignore[arg-type]
    )
    for _ in range(len(notes.strangers)):
        stranger = notes.strangers.popleft()
        owner = owners.get(stranger.client_id.casefold())
        if owner is None:
            notes.strangers.append(stranger)
        else:
            notes.strange -= 1
            notes.add(_Request(owner, stranger.at, stranger.outcome, None, stranger.address, stranger.scope))


def _write(connection: Connection, notes: _Notes) -> None:
    tallies = sorted(notes.tallies.items())
    if not tallies:
        return
    connection.execute(
        _ADD_COUNT[connection.dialect.name], [{**key._asdict(), "count": tally.count} for key, tally in tallies]
    )
    latest = _latest(notes.requests)
    connection.execute(_ADD_REQUEST, [request._asdict() for request in latest])
    connection.execute(_TRIM, [{"key": key} for key in sorted({request.client_key for request in latest})])
    uses = {
        (key.client_key, key.secret_label): {
            "key": key.client_key,
            "of_label": key.secret_label,
            "used_at": tally.at,
            "minute": tally.at.replace(second=0, microsecond=0),
            "address": tally.address,
        }
        for key, tally in sorted(tallies, key=lambda item: item[1].at)
        if key.secret_label and key.outcome in _AFTER_AUTHENTICATION
    }
    if uses:
        connection.execute(_USE, [uses[each] for each in sorted(uses)])


_AFTER_AUTHENTICATION = frozenset(Outcome)


def _latest(requests: Iterable[_Request]) -> list[_Request]:
    """Return the latest requests of each client, by client, the oldest first."""
    of_client: dict[uuid.UUID, deque[_Request]] = {}
    for request in requests:
        of_client.setdefault(request.client_key, deque(maxlen=LATEST_MAX)).append(request)
    return [request for key in sorted(of_client) for request in of_client[key]]


def _adding(insert: Any) -> Any:
    statement = insert(TokenRequestCount)
    return statement.on_conflict_do_update(
        index_elements=inspect(TokenRequestCount).primary_key,
        set_={"count": TokenRequestCount.count + statement.excluded["count"]},
    )


_ADD_COUNT = {"sqlite": _adding(sqlite.insert), "postgresql": _adding(postgresql.insert)}
_ADD_REQUEST = insert(TokenRequest)
_Other = aliased(TokenRequest)
_TRIM = delete(TokenRequest).where(
    TokenRequest.client_key == bindparam("key"),
    tuple_(TokenRequest.at, TokenRequest.id)
    <= select(_Other.at, _Other.id)
    .where(_Other.client_key == bindparam("key"))
    .order_by(_Other.at.desc(), _Other.id.desc())
    .offset(LATEST_MAX)
    .limit(1)
    .scalar_subquery(),
)
# Once a minute at most, whichever process sees it first.
_USE = (
    update(ClientSecret)
    .where(
        ClientSecret.client_key == bindparam("key"),
        ClientSecret.label == bindparam("of_label"),
        or_(ClientSecret.last_used_at.is_(None), ClientSecret.last_used_at < bindparam("minute")),
    )
    .values(last_used_at=bindparam("used_at"), last_used_address=bindparam("address"))
)
