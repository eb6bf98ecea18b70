"""The signing keys, which all processes share through the database, and their rotation (T8).

A key is published as soon as it is created, signs from `signs_from` until its successor does, and stays published
until the last token that it signed has expired. Only the first key, and one created after a withdrawal, sign at once.
"""

import logging
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import Engine, delete, func, or_, select
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import record_platform_event
from ..database.engine import autocommitting
from ..database.models import TOKEN_DURATION_MAX_MINUTES, StoredSigningKey
from ..database.unit_of_work import connect, read_session, unit_of_work
from ..errors import NotFound, SigningKeyUnusable, Unavailable
from .signing import CLOCK_SKEW, PrivateKeyStorage, SigningKey

LOG = logging.getLogger(__name__)
RELOAD_SECONDS = 1
JWKS_CACHE_SECONDS = 300
PUBLISHED_AFTER_SIGNING = (
    timedelta(minutes=TOKEN_DURATION_MAX_MINUTES) + timedelta(seconds=JWKS_CACHE_SECONDS) + CLOCK_SKEW
)
SCHEDULE = "key schedule"
"""The actor of an audit event that no person caused."""


class KeyState(StrEnum):
    """The state of a key at a given moment; the CLI prints the values."""

    WAITING = "waiting"
    """It is published, so that verifiers learn it, and signs later."""
    SIGNING = "signing"
    STAYING = "staying"
    """It no longer signs, and stays published for the tokens that it signed."""
    OVER = "over"
    """It is no longer published."""
    WITHDRAWN = "withdrawn"


class _Scheduled(Protocol):
    """A key of the schedule: a `SigningKey` or a `StoredSigningKey`."""

    @property
    def kid(self) -> str: ...
    @property
    def signs_from(self) -> datetime: ...
    @property
    def signs_until(self) -> datetime | None: ...


_Key = TypeVar("_Key", bound=_Scheduled)


def _signing(keys: Iterable[_Key], now: datetime) -> _Key | None:
    """Return the key that signs at this moment, the newest if there are several, or None."""
    return max(
        (key for key in keys if key.signs_from <= now and (key.signs_until is None or now < key.signs_until)),
        key=lambda key: (key.signs_from, key.kid),
        default=None,
    )


def _waiting(keys: Iterable[_Key], now: datetime) -> _Key | None:
    """Return the next key that will sign, or None."""
    waiting = (
        key for key in keys if key.signs_from > now and (key.signs_until is None or key.signs_from < key.signs_until)
    )
    return min(waiting, key=lambda key: key.signs_from, default=None)


class _Stored(NamedTuple):
    """A row of `_NOT_WITHDRAWN`."""

    kid: str
    public_jwk: dict[str, str]
    private_key_encrypted: bytes
    signs_from: datetime
    signs_until: datetime | None


_NOT_WITHDRAWN = select(
    StoredSigningKey.kid,
    StoredSigningKey.public_jwk,
    StoredSigningKey.private_key_encrypted,
    StoredSigningKey.signs_from,
    StoredSigningKey.signs_until,
).where(StoredSigningKey.withdrawn.is_(False))


class SigningKeys:
    """All signing keys that are not withdrawn. For signing they are read from the database at most once a second.

    Hosts whose clocks differ by up to `CLOCK_SKEW` share one schedule. A clock that is wrong by more leaves times in
    the database that no right clock would have written; a host with another clock corrects them when it signs. Such a
    correction only lets keys sign or be published longer, so it does no harm if that host's clock is the wrong one.

    Every method raises `SigningKeyUnusable` if a stored key does not decrypt or does not match its row (T9), and
    `Unavailable` if the database is locked or out of reach (D8). Signing goes on with the known keys meanwhile.

    :param encryption_keys: 32 bytes each. The first one encrypts private keys, all of them decrypt.
    :param rotation: how long a key signs.
    :param publication: how long a key is published before it signs.
    """

    def __init__(
        self,
        engine: Engine,
        encryption_keys: Sequence[bytes],
        *,
        rotation: timedelta = timedelta(days=90),
        publication: timedelta = timedelta(hours=24),
    ) -> None:
        self._engine = engine
        self._reads = autocommitting(engine)
        self._storage = PrivateKeyStorage(encryption_keys)
        self._rotation = rotation
        self._publication = publication
        self._known: tuple[list[_Stored], dict[str, SigningKey]] = ([], {})
        self._reload_at = 0.0

    def signing_key(self, now: datetime) -> SigningKey:
        """Return the key that signs at this moment. The first key, and each successor in time, is created here."""
        key = _signing(self._current().values(), now)
        if key is None or self._is_due(key, now) or self._signs_too_long(key, now):
            try:
                self._renew(now)
            except Unavailable:
                if key is None:
                    raise
                return key  # it signs until a successor is created
            key = _signing(self._current().values(), now)
        if key is None:
            raise SigningKeyUnusable("No signing key may sign at this moment. Is the clock of this machine right?")
        return key

    def published(self, now: datetime) -> list[SigningKey]:
        """Return every key with tokens that may be valid at this moment, from the database."""
        keys = self._load().values()
        return [key for key in keys if key.signs_until is None or now < key.signs_until + PUBLISHED_AFTER_SIGNING]

    def for_header(self, header: str) -> SigningKey | None:
        """Return the key whose tokens have exactly this header, None if there is none (T5, T6).

        The database is read each time, so that after a withdrawal the key verifies nothing in any process (T8).
        """
        return self._load().get(header)

    # The schedule

    def rotate(self, now: datetime, actor: str) -> StoredSigningKey:
        """Create the next key before it is due, unless one is published that signs in time, and return it.

        :param actor: who gave the command, for the audit log.
        """
        self._load()
        with self._locked() as (session, keys):
            signing = _signing(keys, now) or self._start_signing(session, keys, now, actor)
            return self._use_waiting(signing, keys, now) or self._add_successor(
                session, signing, keys, now + self._publication, now, actor
            )

    def withdraw(self, kid: str, now: datetime, actor: str) -> None:
        """Withdraw a key: it is no longer published, and its tokens are invalid. Withdrawing it again changes nothing.

        If the key is signing, the next one signs at once, or a new one if there is none. Other processes may sign with
        the withdrawn key for `RELOAD_SECONDS`; those tokens are invalid too. A key that does not decrypt can be
        withdrawn as well.

        :param actor: who gave the command, for the audit log.
        :raises NotFound: there is no such key.
        """
        with self._locked() as (session, keys):
            key = session.get(StoredSigningKey, kid)
            if key is None:
                raise NotFound
            if key.withdrawn:
                return
            key.withdrawn = True
            record_platform_event(session, actor, Action.KEY_WITHDRAWN, {"signing_key": [kid, None]})
            keys.remove(key)
            if key.signs_from > now:
                for other in keys:
                    if other.signs_until == key.signs_from:
                        other.signs_until = None  # until another successor is created
            if _signing(keys, now) is None:
                self._start_signing(session, keys, now, actor)

    def states(self, now: datetime) -> list[tuple[StoredSigningKey, KeyState]]:
        """Return every stored key and its state at this moment, oldest first."""
        with read_session(self._engine) as session:
            rows = session.scalars(select(StoredSigningKey).order_by(StoredSigningKey.signs_from)).all()
        signing = _signing([row for row in rows if not row.withdrawn], now)
        return [(row, KeyState.SIGNING if row is signing else _state_of_other(row, now)) for row in rows]

    def _is_due(self, key: _Scheduled, now: datetime) -> bool:
        """Return whether the successor of a key must be published now."""
        return key.signs_until is None and now >= key.signs_from + self._rotation - self._publication

    def _signs_too_long(self, key: _Scheduled, now: datetime) -> bool:
        """Return whether the end of a key was set by a clock that was far ahead of this one."""
        if key.signs_until is None:
            return False
        return key.signs_until > max(key.signs_from + self._rotation, now + self._publication) + CLOCK_SKEW

    def _renew(self, now: datetime) -> None:
        """Create the first key, or the next one, or correct the schedule, unless another process has just done so."""
        with self._locked() as (session, keys):
            signing = _signing(keys, now)
            if signing is None:
                self._start_signing(session, keys, now, SCHEDULE)
                return
            if self._signs_too_long(signing, now):
                LOG.warning(
                    "The end of signing key %s lies too far ahead, and was removed: a clock is wrong.", signing.kid
                )
                signing.signs_until = None
            if self._is_due(signing, now) and self._use_waiting(signing, keys, now) is None:
                signs_from = max(signing.signs_from + self._rotation, now + self._publication)
                self._add_successor(session, signing, keys, signs_from, now, SCHEDULE)

    def _use_waiting(
        self, signing: StoredSigningKey, keys: Iterable[StoredSigningKey], now: datetime
    ) -> StoredSigningKey | None:
        """Make the waiting key the successor and return it, or None if there is none or it signs too late."""
        waiting = _waiting(keys, now)
        if waiting is None or waiting.signs_from > now + self._publication + CLOCK_SKEW:
            return None
        signing.signs_until = waiting.signs_from
        return waiting

    def _start_signing(
        self, session: Session, keys: Sequence[StoredSigningKey], now: datetime, actor: str
    ) -> StoredSigningKey:
        """Let a key sign at once: the one that is published and waits, else a new one."""
        # Another host whose clock is a little behind then signs with it too, and does not create a key of its own.
        signs_from = now - CLOCK_SKEW
        # A key from the future stays as it is: to hosts whose clocks are ahead of this one it is the current key.
        key = _waiting([key for key in keys if key.created_at <= now + CLOCK_SKEW], now)
        if key is None:
            key = self._storage.generate_row(now, signs_from)
            session.add(key)
            record_platform_event(session, actor, Action.KEY_CREATED, {"signing_key": [None, key.kid]})
        else:
            key.signs_from = signs_from
            record_platform_event(session, actor, Action.KEY_ROTATED, {"signing_key": [None, key.kid]})
        return key

    def _add_successor(
        self,
        session: Session,
        signing: StoredSigningKey,
        keys: Iterable[StoredSigningKey],
        signs_from: datetime,
        now: datetime,
        actor: str,
    ) -> StoredSigningKey:
        """Create the successor of a key, and delete the keys that are no longer published."""
        session.execute(
            delete(StoredSigningKey)
            .where(
                or_(
                    StoredSigningKey.withdrawn,
                    StoredSigningKey.signs_until <= now - PUBLISHED_AFTER_SIGNING,
                )
            )
            .execution_options(synchronize_session=False)
        )
        key = self._storage.generate_row(now, signs_from)
        session.add(key)
        signing.signs_until = signs_from
        for other in keys:
            other.signs_until = other.signs_until or signs_from  # a key that a wrong clock left without an end
        changes = {"signing_key": [signing.kid, key.kid], "signs_from": [None, signs_from.isoformat()]}
        record_platform_event(session, actor, Action.KEY_ROTATED, changes)
        return key

    @contextmanager
    def _locked(self) -> Iterator[tuple[Session, list[StoredSigningKey]]]:
        """Yield a session and the keys that are not withdrawn, to one process at a time."""
        with unit_of_work(self._engine) as session:
            _lock_schedule(session)
            rows = session.scalars(select(StoredSigningKey).where(StoredSigningKey.withdrawn.is_(False)))
            yield session, list(rows)
        self._reload_at = 0.0

    def _current(self) -> dict[str, SigningKey]:
        """Return the keys as they were at most a second ago, or as they are known while they cannot be read."""
        if not self._known[1]:
            return self._load()
        if time.monotonic() >= self._reload_at:
            with suppress(Unavailable):
                return self._load()
        return self._known[1]

    def _load(self) -> dict[str, SigningKey]:
        # Set before the read, so that other threads sign with the known keys while this one waits for the database. A
        # lock instead could stay locked in a process that is forked meanwhile.
        self._reload_at = time.monotonic() + RELOAD_SECONDS
        with connect(self._reads) as connection:
            stored = [_Stored._make(row) for row in connection.execute(_NOT_WITHDRAWN)]
        known_stored, keys = self._known
        if stored != known_stored:
            try:
                keys = {key.header: key for key in (self._storage.decrypt_row(*row) for row in stored)}
            except SigningKeyUnusable:
                self._reload_at = 0.0  # nothing is signed until the stored keys are usable
                raise
            self._known = stored, keys
        return keys


def _state_of_other(key: StoredSigningKey, now: datetime) -> KeyState:
    if key.withdrawn:
        return KeyState.WITHDRAWN
    if key.signs_from > now:
        return KeyState.WAITING
    return (
        KeyState.OVER
        if key.signs_until is not None and key.signs_until + PUBLISHED_AFTER_SIGNING <= now
        else KeyState.STAYING
    )


def _lock_schedule(session: Session) -> None:
    """Lock the schedule until the transaction ends."""
    # On SQLite the unit of work has taken the only write lock already.
    if session.get_bind().dialect.name == "postgresql":
        lock = zlib.crc32(StoredSigningKey.__tablename__.encode())
        session.execute(select(func.pg_advisory_xact_lock(lock)))
