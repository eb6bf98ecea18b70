"""Hash and verify secrets: HMAC-SHA-256 for generated ones, argon2id for those that a person chose (S1, S2)."""

import hmac
import re
import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .argon2_pool import run_in_pool
from .generation import Secret, is_generated

# The least that OWASP's Password Storage Cheat Sheet allows. One set for new, dummy and renewed hashes.
_ARGON2ID = argon2.PasswordHasher(
    time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID, encoding="ascii"
)
_HMAC_KEY_CONTEXT = b"identity-clients: HMAC-SHA-256 of generated secrets, version 1"
_HMAC_PREFIX = "$hmac-sha256$"
_HMAC_HASH = re.compile(r"\$hmac-sha256\$v=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})")
_HMAC_SALT_BYTES = 16


class HashScheme(Enum):
    """How a secret is hashed."""

    HMAC_SHA256 = "hmac-sha256"
    """For secrets in the form of a generated one: no guessing finds 264 random bits, so a slow hash adds nothing."""
    ARGON2ID = "argon2id"
    """For any other secret: a person may have chosen one that can be guessed."""


def scheme_of(secret: Secret) -> HashScheme:
    """Return the scheme by which a secret is hashed, which depends on its form alone."""
    return HashScheme.HMAC_SHA256 if is_generated(secret) else HashScheme.ARGON2ID


class StoredHash(NamedTuple):
    """The hash of a secret as it is stored.

    :param value: `$argon2id$v=19$m=...,t=...,p=...$salt$tag` or `$hmac-sha256$v=1$salt$tag`, in base64 without padding.
    :param pepper_version: the version of the pepper that it was computed with.
    :param is_legacy: whether it was stored before the scheme followed the form, so that an argon2id hash may be that of
        a generated secret.
    """

    value: str
    pepper_version: int
    is_legacy: bool = False

    @property
    def scheme(self) -> HashScheme:
        """The scheme that the value names."""
        return HashScheme.HMAC_SHA256 if self.value.startswith(_HMAC_PREFIX) else HashScheme.ARGON2ID


class SecretHasher:
    """Hashes and verifies secrets with a pepper, which is not in the database (S2).

    argon2id has HMAC-SHA-256(pepper, secret) as its input, and its computations run in the bounded pool (D7). The fast
    scheme is HMAC-SHA-256(key, salt + secret), with a key that HKDF derives from the pepper.

    :param peppers: each pepper by its version, the newest first.
    """

    def __init__(self, peppers: Mapping[int, bytes]) -> None:
        self._peppers = dict(peppers)
        self._hmac_keys = {version: _derive_hmac_key(pepper) for version, pepper in peppers.items()}
        self._newest = next(iter(self._peppers))

    def hash(self, secret: Secret) -> StoredHash:
        """Return the hash to store, by the scheme of the secret's form.

        :raises Unavailable: too many argon2id computations are under way.
        """
        if scheme_of(secret) is HashScheme.HMAC_SHA256:
            salt = secrets.token_bytes(_HMAC_SALT_BYTES)
            tag = self._hmac_tag(secret, salt, self._newest)
            return StoredHash(f"{_HMAC_PREFIX}v=1${_encode(salt)}${tag}", self._newest)
        return StoredHash(run_in_pool(lambda: _ARGON2ID.hash(self._peppered(secret, self._newest))), self._newest)

    def verify(self, secret: Secret, stored: StoredHash) -> bool:
        """Return whether a secret is the one that was hashed, by one computation of the stored hash's scheme.

        A damaged hash, and one with a pepper that is no longer configured, match no secret, at the same cost.

        :raises Unavailable: too many argon2id computations are under way.
        """
        if stored.scheme is HashScheme.HMAC_SHA256:
            return self._verify_hmac(secret, stored)
        if stored.pepper_version not in self._peppers:
            self.compute_dummy(secret, HashScheme.ARGON2ID)
            return False
        peppered = self._peppered(secret, stored.pepper_version)
        try:
            return run_in_pool(lambda: _ARGON2ID.verify(stored.value, peppered))
        except (VerificationError, InvalidHashError):
            return False

    def compute_dummy(self, secret: Secret, scheme: HashScheme) -> None:
        """Do the work of one verification without a result, so that all refusals cost the same (P8).

        :raises Unavailable: too many argon2id computations are under way.
        """
        if scheme is HashScheme.HMAC_SHA256:
            self._hmac_tag(secret, bytes(_HMAC_SALT_BYTES), self._newest)
        else:
            run_in_pool(lambda: _ARGON2ID.hash(self._peppered(secret, self._newest)))

    def needs_renewal(self, stored: StoredHash) -> bool:
        """Return whether a hash was made by an older scheme, with other parameters, or with an older pepper."""
        if stored.is_legacy or stored.pepper_version != self._newest:
            return True
        return stored.scheme is HashScheme.ARGON2ID and _ARGON2ID.check_needs_rehash(stored.value)

    def _verify_hmac(self, secret: Secret, stored: StoredHash) -> bool:
        parts = _HMAC_HASH.fullmatch(stored.value)
        if parts is None or stored.pepper_version not in self._peppers:
            self.compute_dummy(secret, HashScheme.HMAC_SHA256)
            return False
        salt, tag = parts.groups()
        return hmac.compare_digest(self._hmac_tag(secret, b64decode(f"{salt}=="), stored.pepper_version), tag)

    def _hmac_tag(self, secret: Secret, salt: bytes, pepper_version: int) -> str:
        return _encode(hmac.digest(self._hmac_keys[pepper_version], salt + secret.reveal().encode(), "sha256"))

    def _peppered(self, secret: Secret, pepper_version: int) -> bytes:
        return hmac.digest(self._peppers[pepper_version], secret.reveal().encode(), "sha256")


def _derive_hmac_key(pepper: bytes) -> bytes:
    return HKDF(SHA256(), length=32, salt=None, info=_HMAC_KEY_CONTEXT).derive(pepper)


def _encode(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")
