"""A cache of successful argon2id comparisons (S9)."""

import hmac
import secrets
import time
from collections import OrderedDict
from threading import Lock

from ..secrets.generation import Secret
from ..secrets.hashing import StoredHash

VERIFIED_SECRETS_MAX = 50_000
VERIFIED_SECRETS_SECONDS = 12 * 60 * 60
# Not the wall clock: after a step back entries would live longer.
_clock = time.monotonic


class VerifiedSecrets:
    """Caches which secret matched which argon2id hash, so that a busy client pays for argon2id once per process.

    It replaces only that comparison: it is used only for a hash that was just read, and only where client and
    secret may be used. It holds no secret, only an HMAC of it with a random key of this process.
    """

    def __init__(self, most: int = VERIFIED_SECRETS_MAX, seconds: int = VERIFIED_SECRETS_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._expiries: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def contains(self, secret: Secret, stored: StoredHash) -> bool:
        """Return whether this secret matched this hash within the last `seconds`."""
        digest = self._digest(secret, stored)
        with self._lock:
            expires_at = self._expiries.get(digest)
            if expires_at is None:
                return False
            if expires_at <= _clock():
                del self._expiries[digest]
                return False
            self._expiries.move_to_end(digest)
            return True

    def add(self, secret: Secret, stored: StoredHash) -> None:
        """Remember that this secret matches this hash, and remove the least recently used entry of a full cache."""
        digest = self._digest(secret, stored)
        with self._lock:
            self._expiries[digest] = _clock() + self._seconds
            self._expiries.move_to_end(digest)
            if len(self._expiries) > self._most:
                self._expiries.popitem(last=False)

    def __len__(self) -> int:
        return len(self._expiries)

    def _digest(self, secret: Secret, stored: StoredHash) -> bytes:
        return hmac.digest(self._key, f"{stored.value}\n{secret.reveal()}".encode(), "sha256")
