"""The keys that sign tokens, shared by every process through the database, and when each of them signs (T8).

A key is published as soon as it is made, signs from `signs_from` until its successor does, and stays published until
the last token that it signed has ended. Only the first key of all, and one made in an emergency, signs at once.
"""

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import StrEnum
from threading import Lock
from typing import NamedTuple, Protocol, TypeVar

from sqlalchemy import Engine, delete, func, or_, select
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import record_platform_event
from ..database import models
from ..database.engine import autocommitting
from ..database.models import TOKEN_DURATION_MAX_MINUTES
from ..database.unit_of_work import connect, read_session, unit_of_work
from ..errors import NotFound, SigningKeyUnusable, Unavailable
from .signing import PrivateKeyStorage, SigningKey

RELOAD_SECONDS = 1
JWKS_CACHE_SECONDS = 300
CLOCK_SKEW = timedelta(minutes=5)
PUBLISHED_AFTER_SIGNING = (
    timedelta(minutes=TOKEN_DURATION_MAX_MINUTES) + timedelta(seconds=JWKS_CACHE_SECONDS) + CLOCK_SKEW
)
SCHEDULE = "key schedule"
"""The actor of what happens by itself."""


class KeyState(StrEnum):
    """What a key is good for at a given moment."""

    WAITING = "waiting"
    """It is published, so that verifiers know it, and signs later."""
    SIGNING = "signing"
    STAYING = "staying"
    """It signs no more, and is published for the tokens that it signed."""
    OVER = "over"
    WITHDRAWN = "withdrawn"


class _Scheduled(Protocol):
    @property
    def kid(self) -> str: ...
    @property
    def signs_from(self) -> datetime: ...
    @property
    def signs_until(self) -> datetime | None: ...


_Key = TypeVar("_Key", bound=_Scheduled)


def _signing(keys: Iterable[_Key], now: datetime) -> _Key | None:
    """Return the key that signs at this moment: of those that may, the newest."""
    return max(
        (key for key in keys if key.signs_from <= now and (key.signs_until is None or now < key.signs_until)),
        key=lambda key: (key.signs_from, key.kid),
        default=None,
    )


def _waiting(keys: Iterable[_Key], now: datetime) -> _Key | None:
    """Return the key that waits for its turn, None if there is none."""
    return min((key for key in keys if key.signs_from > now), key=lambda key: key.signs_from, default=None)


class _Stored(NamedTuple):
    """A row of `_NOT_WITHDRAWN`."""

    kid: str
    public_jwk: dict[str, str]
    private_key_encrypted: bytes
    signs_from: datetime
    signs_until: datetime | None


_NOT_WITHDRAWN = select(
    models.StoredSigningKey.kid,
    models.StoredSigningKey.public_jwk,
    models.StoredSigningKey.private_key_encrypted,
    models.StoredSigningKey.signs_from,
    models.StoredSigningKey.signs_until,
).where(models.StoredSigningKey.withdrawn.is_(False))


class SigningKeys:
    """All signing keys that are not withdrawn. What signs is read from the database once a second at most.

    :param encryption_keys: 32 bytes each. The private halves are stored under the first one, or still under another.
    :param rotation: how long a key signs.
    :param publication: how long it is published before it signs.
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
        self._box = PrivateKeyStorage(encryption_keys)
        self._rotation = rotation
        self._publication = publication
        self._lock = Lock()
        self._stored: list[_Stored] | None = None
        self._keys: dict[str, SigningKey] = {}
        self._reload_at = 0.0

    # What signs and verifies. Each raises KeyUnusable where a stored key does not decrypt, or is not what its row
    # says (T9), and Unavailable where the database is out of reach (D8).

    def signing_key(self, now: datetime) -> SigningKey:
        """Return the key that signs at this moment; the first one, and each successor in time, is made here."""
        key = _signing(self._current().values(), now)
        if key is None or self._is_due(key, now):
            try:
                self._renew(now)
            except Unavailable:
                if key is None:
                    raise
                return key  # it signs until it has a successor
            key = _signing(self._current().values(), now)
        if key is None:
            raise SigningKeyUnusable("No signing key may sign at this moment. Is the clock of this machine right?")
        return key

    def published(self, now: datetime) -> list[SigningKey]:
        """Return every key whose tokens may still count at this moment."""
        keys = self._current(reload=True).values()
        return [key for key in keys if key.signs_until is None or now < key.signs_until + PUBLISHED_AFTER_SIGNING]

    def for_header(self, header: str) -> SigningKey | None:
        """Return the key whose tokens begin with exactly this header, None if there is none (T5, T6).

        The database is asked each time, so that a withdrawn key verifies nothing more in any process (T8).
        """
        return self._current(reload=True).get(header)

    # The schedule

    def rotate(self, now: datetime, actor: str) -> models.StoredSigningKey:
        """Make the next key before its time, unless it is there already; return it.

        :param actor: who gave the command, for the trail.
        """
        self._current(reload=True)
        with self._changing() as (session, keys):
            signing = _signing(keys, now) or self._begin(session, keys, now, actor)
            waiting = _waiting(keys, now)
            return waiting or self._succeed(session, signing, now + self._publication, now, actor)

    def withdraw(self, kid: str, now: datetime, actor: str) -> None:
        """Take a key away: it is published no more, and none of its tokens counts. Doing it again changes nothing.

        If it was the one that signs, the next one signs at once, or a new one where none is waiting. Another process
        that knows no better may sign with it for `RELOAD_SECONDS`: such tokens do not count either. A key that does
        not decrypt can be withdrawn too.

        :param actor: who gave the command, for the trail.
        :raises NotFound: there is no such key.
        """
        with self._changing() as (session, keys):
            withdrawn = session.get(models.StoredSigningKey, kid)
            if withdrawn is None:
                raise NotFound
            if withdrawn.withdrawn:
                return
            withdrawn.withdrawn = True
            record_platform_event(session, actor, Action.KEY_WITHDRAWN, {"signing_key": [kid, None]})
            keys.remove(withdrawn)
            if withdrawn.signs_from > now:
                for key in keys:
                    if key.signs_until == withdrawn.signs_from:
                        key.signs_until = None  # until it has another successor
            if _signing(keys, now) is None:
                self._begin(session, keys, now, actor)

    def states(self, now: datetime) -> list[tuple[models.StoredSigningKey, KeyState]]:
        """Return every stored key with its state at this moment, oldest first."""
        with read_session(self._engine) as session:
            rows = session.scalars(select(models.StoredSigningKey).order_by(models.StoredSigningKey.signs_from)).all()
        signing = _signing([row for row in rows if not row.withdrawn], now)
        return [(row, KeyState.SIGNING if row is signing else _state_beside(row, now)) for row in rows]

    def _is_due(self, key: _Scheduled, now: datetime) -> bool:
        """Tell whether it is time to publish the successor of a key."""
        return key.signs_until is None and now >= key.signs_from + self._rotation - self._publication

    def _renew(self, now: datetime) -> None:
        """Make the first key, or the next one, unless another process has just done so."""
        with self._changing() as (session, keys):
            signing = _signing(keys, now)
            if signing is None:
                self._begin(session, keys, now, SCHEDULE)
            elif self._is_due(signing, now):
                signs_from = max(signing.signs_from + self._rotation, now + self._publication)
                self._succeed(session, signing, signs_from, now, SCHEDULE)

    def _begin(
        self, session: Session, keys: Sequence[models.StoredSigningKey], now: datetime, actor: str
    ) -> models.StoredSigningKey:
        """Let a key sign at once: one that verifiers know already if there is one, else a new one."""
        # So that another host whose clock is a little behind signs with it too, and makes none of its own.
        signs_from = now - CLOCK_SKEW
        key = _waiting(keys, now)
        if key is None:
            key = self._box.new_row(now, signs_from)
            session.add(key)
            record_platform_event(session, actor, Action.KEY_CREATED, {"signing_key": [None, key.kid]})
        else:
            key.signs_from = signs_from
            record_platform_event(session, actor, Action.KEY_ROTATED, {"signing_key": [None, key.kid]})
        return key

    def _succeed(
        self, session: Session, signing: models.StoredSigningKey, signs_from: datetime, now: datetime, actor: str
    ) -> models.StoredSigningKey:
        """Make the successor of a key, and forget the keys that nobody needs any more."""
        session.execute(
            delete(models.StoredSigningKey)
            .where(
                or_(
                    models.StoredSigningKey.withdrawn,
                    models.StoredSigningKey.signs_until <= now - PUBLISHED_AFTER_SIGNING,
                )
            )
            .execution_options(synchronize_session=False)
        )
        key = self._box.new_row(now, signs_from)
        session.add(key)
        signing.signs_until = signs_from
        changes = {"signing_key": [signing.kid, key.kid], "signs_from": [None, signs_from.isoformat()]}
        record_platform_event(session, actor, Action.KEY_ROTATED, changes)
        return key

    @contextmanager
    def _changing(self) -> Iterator[tuple[Session, list[models.StoredSigningKey]]]:
        """Give the keys that are not withdrawn to one process at a time."""
        with unit_of_work(self._engine) as session:
            _wait_for_others(session)
            rows = session.scalars(select(models.StoredSigningKey).where(models.StoredSigningKey.withdrawn.is_(False)))
            yield session, list(rows)
        self._reload_at = 0.0

    def _current(self, *, reload: bool = False) -> dict[str, SigningKey]:
        if reload or time.monotonic() >= self._reload_at:
            with self._lock:
                if reload or time.monotonic() >= self._reload_at:
                    self._load()
        return self._keys

    def _load(self) -> None:
        with connect(self._reads) as connection:
            stored = [_Stored._make(row) for row in connection.execute(_NOT_WITHDRAWN)]
        if stored != self._stored:
            self._keys = {key.header: key for key in (self._box.opened(*row) for row in stored)}
            self._stored = stored
        self._reload_at = time.monotonic() + RELOAD_SECONDS


def _state_beside(key: models.StoredSigningKey, now: datetime) -> KeyState:
    if key.withdrawn:
        return KeyState.WITHDRAWN
    if key.signs_from > now:
        return KeyState.WAITING
    return (
        KeyState.OVER
        if key.signs_until is not None and key.signs_until + PUBLISHED_AFTER_SIGNING <= now
        else KeyState.STAYING
    )


def _wait_for_others(session: Session) -> None:
    # On SQLite the unit of work has taken the only write lock already.
    if session.get_bind().dialect.name == "postgresql":
        lock = zlib.crc32(models.StoredSigningKey.__tablename__.encode())
        session.execute(select(func.pg_advisory_xact_lock(lock)))
