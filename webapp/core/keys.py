"""The keys that sign tokens: made on first use, stored encrypted, shared by every process through the database."""

import json
import os
import time
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from threading import Lock
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from . import models
from .database import autocommitting, connected, unit_of_work
from .errors import KeyUnusable
from .models import utc_now

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 section 2.1
CURVE = "P-256"
RELOAD_SECONDS = 1
CLOCK_SKEW = timedelta(minutes=5)
_NONCE_BYTES = 12
# The layer of joserfc below its `jws.serialize_compact`, which checks header and key anew for each token.
_ES256 = JWSRegistry(algorithms=[ALGORITHM]).get_alg(ALGORITHM)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair, decrypted.

    :param header: the first part of every token that it signs: the protected header in base64url (T1).
    :param public_jwk: what the key set publishes, and nothing more (T7).
    """

    kid: str
    header: str
    public_jwk: dict[str, Any]
    signs_from: datetime
    signs_until: datetime | None
    _jwk: ECKey = field(repr=False)

    def signs_at(self, now: datetime) -> bool:
        """Tell whether it may sign at this moment."""
        return self.signs_from <= now and (self.signs_until is None or now < self.signs_until)

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the ES256 signature (RFC 7518 section 3.4)."""
        return _ES256.sign(message, self._jwk)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made the signature; anything but 64 bytes is none."""
        return _ES256.verify(message, signature, self._jwk)


class KeyRing:
    """All signing keys that are not withdrawn, as the database has them now or had them a second ago.

    :param encryption_key: 32 bytes under which the private halves are stored.
    """

    def __init__(self, engine: Engine, encryption_key: bytes) -> None:
        self._engine = engine
        self._reads = autocommitting(engine)
        self._cipher = AESGCM(encryption_key)
        self._lock = Lock()
        self._stored: list[_Stored] | None = None
        self._keys: dict[str, SigningKey] = {}
        self._reload_at = 0.0

    def signing_key(self, now: datetime) -> SigningKey:
        """Return the key that signs at this moment: the newest that may. The first one is made here, and signs at once.

        :raises KeyUnusable: a stored key does not decrypt, or is not what its row says (T9).
        :raises Busy: the database is out of reach (D8).
        """
        key = _newest(self._current().values(), now)
        if key is None:
            self._make_first()
            key = _newest(self._current(reload=True).values(), now)
        if key is None:
            raise KeyUnusable("No signing key may sign at this moment. Is the clock of this machine right?")
        return key

    def published(self) -> list[SigningKey]:
        """Return every key whose tokens count.

        :raises KeyUnusable: a stored key does not decrypt, or is not what its row says (T9).
        :raises Busy: the database is out of reach (D8).
        """
        return list(self._current().values())

    def with_header(self, header: str) -> SigningKey | None:
        """Return the key whose tokens begin with exactly this header, None if there is none (T5, T6).

        :raises KeyUnusable: a stored key does not decrypt, or is not what its row says (T9).
        :raises Busy: the database is out of reach (D8).
        """
        return self._current().get(header)

    def _current(self, *, reload: bool = False) -> dict[str, SigningKey]:
        if reload or time.monotonic() >= self._reload_at:
            with self._lock:
                if reload or time.monotonic() >= self._reload_at:
                    self._load()
        return self._keys

    def _load(self) -> None:
        with connected(self._reads) as connection:
            stored = [_Stored._make(row) for row in connection.execute(_NOT_WITHDRAWN)]
        if stored != self._stored:
            self._keys = {key.header: key for key in map(self._opened, stored)}
            self._stored = stored
        self._reload_at = time.monotonic() + RELOAD_SECONDS

    def _opened(self, row: "_Stored") -> SigningKey:
        nonce, encrypted = row.private_key_encrypted[:_NONCE_BYTES], row.private_key_encrypted[_NONCE_BYTES:]
        try:
            jwk = ECKey.import_key(self._cipher.decrypt(nonce, encrypted, row.kid.encode()))
        except (InvalidTag, JoseError, ValueError) as error:
            raise KeyUnusable(f"Signing key {row.kid} does not decrypt under its own ID.") from error
        if jwk.curve_name != CURVE or _public(jwk) != row.public_jwk or jwk.thumbprint() != row.kid:
            raise KeyUnusable(f"Signing key {row.kid} is not what its row says.")
        return _signing_key(jwk, row.signs_from, row.signs_until)

    def _make_first(self) -> None:
        """Make a key unless another process has just made one."""
        with unit_of_work(self._engine) as session:
            _wait_for_others(session)
            now = utc_now()
            stored = map(_Stored._make, session.execute(_NOT_WITHDRAWN))
            if _newest(map(self._opened, stored), now):
                return
            jwk = ECKey.generate_key(CURVE)
            kid = jwk.thumbprint()
            nonce = os.urandom(_NONCE_BYTES)
            session.add(
                models.SigningKey(
                    kid=kid,
                    public_jwk=_public(jwk),
                    private_key_encrypted=nonce + self._cipher.encrypt(nonce, jwk.as_der(private=True), kid.encode()),
                    created_at=now,
                    # So that another host whose clock is a little behind signs with it too, and makes none of its own.
                    signs_from=now - CLOCK_SKEW,
                )
            )


class _Stored(NamedTuple):
    """A row of `_NOT_WITHDRAWN`."""

    kid: str
    public_jwk: dict[str, str]
    private_key_encrypted: bytes
    signs_from: datetime
    signs_until: datetime | None


_NOT_WITHDRAWN = select(
    models.SigningKey.kid,
    models.SigningKey.public_jwk,
    models.SigningKey.private_key_encrypted,
    models.SigningKey.signs_from,
    models.SigningKey.signs_until,
).where(models.SigningKey.withdrawn.is_(False))


def throwaway_key() -> SigningKey:
    """Return a key that nobody keeps, to try things with."""
    return _signing_key(ECKey.generate_key(CURVE), utc_now(), None)


def _signing_key(jwk: ECKey, signs_from: datetime, signs_until: datetime | None) -> SigningKey:
    kid = jwk.thumbprint()
    header = json.dumps({"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": kid}, separators=(",", ":"))
    return SigningKey(kid, urlsafe_b64encode(header.encode()).decode(), _public(jwk), signs_from, signs_until, jwk)


def _newest(keys: Iterable[SigningKey], now: datetime) -> SigningKey | None:
    return max((key for key in keys if key.signs_at(now)), key=lambda key: (key.signs_from, key.kid), default=None)


def _public(jwk: ECKey) -> dict[str, Any]:
    return dict(jwk.as_dict(private=False, use="sig", alg=ALGORITHM, kid=jwk.thumbprint()))


def _wait_for_others(session: Session) -> None:
    # On SQLite the unit of work has taken the only write lock already.
    if session.get_bind().dialect.name == "postgresql":
        lock = zlib.crc32(models.SigningKey.__tablename__.encode())
        session.execute(select(func.pg_advisory_xact_lock(lock)))
