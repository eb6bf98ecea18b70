"""A cache of successful argon2id comparisons."""

import hmac
import secrets
import time
from collections import OrderedDict
from threading import Lock

from ..secrets.generation import Secret
from ..secrets.hashing import StoredHash

VERIFIED_SECRETS_MAX = 50_000
VERIFIED_SECRETS_SECONDS = 12 * 60 * 60


class VerifiedSecrets:
    """Remembers which secret matched which stored hash, so that a busy client is not hashed on every request (S9).

    It decides nothing but that comparison: it is asked only about a hash that was just read, and only where the
    client and the secret may be used. It holds no secret, only an HMAC of it under a key that this process made up.
    """

    def __init__(self, most: int = VERIFIED_SECRETS_MAX, seconds: int = VERIFIED_SECRETS_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._ends: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def contains(self, secret: Secret, stored: StoredHash) -> bool:
        """Tell whether this secret matched this hash not long ago."""
        digest = self._digest(secret, stored)
        with self._lock:
            end = self._ends.get(digest)
            if end is None:
                return False
            if end <= time.time():
                del self._ends[digest]
                return False
            self._ends.move_to_end(digest)
            return True

    def add(self, secret: Secret, stored: StoredHash) -> None:
        """Remember that this secret matches this hash; where room is short, forget the one asked for least lately."""
        digest = self._digest(secret, stored)
        with self._lock:
            self._ends[digest] = time.time() + self._seconds
            self._ends.move_to_end(digest)
            if len(self._ends) > self._most:
                self._ends.popitem(last=False)

    def __len__(self) -> int:
        return len(self._ends)

    def _digest(self, secret: Secret, stored: StoredHash) -> bytes:
        return hmac.digest(self._key, f"{stored.value}\n{secret.reveal()}".encode(), "sha256")
