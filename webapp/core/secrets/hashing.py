"""Hash and verify secrets."""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from .argon2_pool import run_in_pool
from .generation import Secret

# The least that OWASP's Password Storage Cheat Sheet allows (S1). One set for new, dummy and renewed hashes.
_HASHER = argon2.PasswordHasher(
    time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID, encoding="ascii"
)


@dataclass(frozen=True, slots=True)
class StoredHash:
    """What the database keeps of a secret.

    :param value: the argon2id hash in PHC form.
    :param pepper_version: which pepper went into it.
    """

    value: str
    pepper_version: int


class SecretHasher:
    """Argon2id over HMAC-SHA-256 under the pepper (S1, S2).

    Every computation waits for a place, and raises `Unavailable` where none becomes free (D7).

    :param peppers: each pepper by its version, the newest first.
    """

    def __init__(self, peppers: Mapping[int, bytes]) -> None:
        self._peppers = dict(peppers)
        self._newest = next(iter(self._peppers))

    def hash(self, secret: Secret) -> StoredHash:
        """Return the hash to store."""
        return StoredHash(run_in_pool(lambda: _HASHER.hash(self._peppered(secret, self._newest))), self._newest)

    def verify(self, secret: Secret, stored: StoredHash) -> bool:
        """Tell whether the secret is the one that was hashed; one argon2id computation.

        A hash made under a pepper that is no longer configured verifies nothing.
        """
        if stored.pepper_version not in self._peppers:
            self.hash_dummy(secret)
            return False
        try:
            return run_in_pool(lambda: _HASHER.verify(stored.value, self._peppered(secret, stored.pepper_version)))
        except (VerificationError, InvalidHashError):
            return False

    def hash_dummy(self, secret: Secret) -> None:
        """Do the work of one verification without an outcome, so that refusals cost the same (P8)."""
        run_in_pool(lambda: _HASHER.hash(self._peppered(secret, self._newest)))

    def needs_renewal(self, stored: StoredHash) -> bool:
        """Tell whether a hash was made at other parameters or under an older pepper."""
        return stored.pepper_version != self._newest or _HASHER.check_needs_rehash(stored.value)

    def _peppered(self, secret: Secret, version: int) -> bytes:
        return hmac.digest(self._peppers[version], secret.reveal().encode(), hashlib.sha256)
