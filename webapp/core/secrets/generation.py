"""Generate secrets, and recognise the form of a generated one (S3)."""

import hmac
import re
import secrets
import zlib
from typing import NoReturn

_RANDOM_BYTES = 33
_CHECKSUM_CHARACTERS = 6
_CHECKSUM_SHIFTS = range(30, -1, -6)
"""The 32 bits of the checksum are written six at a time, the highest first."""
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
# A prefix of 1 to 40 characters, which is a setting that may have changed, 44 of random bits, and 6 of the checksum.
_GENERATED_FORM = re.compile(r"[A-Za-z0-9_-]{51,90}")


class Secret:
    """A secret in clear text. It prints as `***`, and refuses to be copied, pickled or turned into JSON (L4)."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself, for hashing and for the one response that shows it."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    def __format__(self, _spec: str) -> str:
        return "***"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a secret cannot be serialised")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]


def generate_secret(prefix: str) -> Secret:
    """Return a new secret: prefix, 264 random bits and a checksum, in `A-Za-z0-9_-` only (S3)."""
    body = prefix + secrets.token_urlsafe(_RANDOM_BYTES)
    return Secret(body + _checksum(body))


def is_generated(secret: Secret) -> bool:
    """Return whether a secret has the form of a generated one: alphabet, length and checksum, with any prefix."""
    value = secret.reveal()
    return (
        _GENERATED_FORM.fullmatch(value) is not None
        and _checksum(value[:-_CHECKSUM_CHARACTERS]) == value[-_CHECKSUM_CHARACTERS:]
    )


def _checksum(body: str) -> str:
    crc = zlib.crc32(body.encode())
    return "".join([_ALPHABET[(crc >> shift) % len(_ALPHABET)] for shift in _CHECKSUM_SHIFTS])
