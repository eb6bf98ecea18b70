"""Generate secrets."""

import hmac
import secrets
import zlib
from typing import NoReturn

_RANDOM_BYTES = 33
_CHECKSUM_CHARACTERS = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"


class Secret:
    """A secret in the clear. It prints as `***`, and refuses to be copied, pickled or turned into JSON (L4)."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret itself: for the hasher, and for the one response that hands it over."""
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


def has_valid_checksum(value: str) -> bool:
    """Tell whether a value is one that `generate_secret` made, as a leak scanner would."""
    return value[-_CHECKSUM_CHARACTERS:] == _checksum(value[:-_CHECKSUM_CHARACTERS])


def _checksum(body: str) -> str:
    rest, characters = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_CHARACTERS):
        rest, index = divmod(rest, len(_ALPHABET))
        characters = _ALPHABET[index] + characters
    return characters
