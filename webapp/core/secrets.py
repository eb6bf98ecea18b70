"""Secrets: making, hashing and checking them. Nothing else sees one in the clear."""

import hashlib
import hmac
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NoReturn

import argon2
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from .errors import FieldError
from .hash_gate import in_a_place
from .models import SECRET_MAX, SECRET_MIN
from .words import gettext, ngettext

# The least that OWASP's Password Storage Cheat Sheet allows (S1). One set for new, dummy and renewed hashes.
_HASHER = argon2.PasswordHasher(
    time_cost=2, memory_cost=19456, parallelism=1, hash_len=32, salt_len=16, type=Type.ID, encoding="ascii"
)
_RANDOM_BYTES = 33
_CHECKSUM_CHARACTERS = 6
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
SHORT_SECRET = 16


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


def is_well_formed(value: str, least: int = SECRET_MIN, most: int = SECRET_MAX) -> bool:
    """Tell whether a value has 6-100 characters from U+0020 to U+007E (P6, RFC 6749 appendix A.2)."""
    return least <= len(value) <= most and value.isascii() and value.isprintable()


def check_secret(value: str) -> Secret:
    """Return the secret if it may be one; nothing is trimmed.

    :raises FieldError: it is not 6-100 characters, or not printable ASCII.
    """
    limits = {"least": SECRET_MIN, "most": SECRET_MAX}
    if not value:
        raise FieldError(
            "client_secret",
            gettext("Enter a secret of %(least)s to %(most)s characters, or press Generate new.", **limits),
            gettext("Client secret is missing: enter one, or press Generate new"),
        )
    length = ngettext(
        "This secret has %(number)s character. Use %(least)s to %(most)s, or press Generate new.",
        "This secret has %(number)s characters. Use %(least)s to %(most)s, or press Generate new.",
        len(value),
        **limits,
    )
    if len(value) < SECRET_MIN:
        raise FieldError(
            "client_secret",
            length,
            gettext("Client secret is too short: use at least %(least)s characters", **limits),
        )
    if len(value) > SECRET_MAX:
        raise FieldError(
            "client_secret",
            length,
            gettext("Client secret is too long: use at most %(most)s characters", **limits),
        )
    if not is_well_formed(value):
        raise FieldError(
            "client_secret",
            gettext("Use only letters A to Z, digits, spaces and the signs on an English keyboard."),
            gettext("Client secret has a character that cannot be used"),
        )
    return Secret(value)


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


def weaknesses(secret: Secret, client_id: str, name: str) -> list[str]:
    """Return a sentence for each reason why a secret is a poor choice (S4).

    None of them makes it invalid: the product allows every secret of 6-100 characters.
    """
    value = secret.reveal()
    found = []
    if len(value) < SHORT_SECRET:
        found.append(gettext("It has fewer than %(least)s characters.", least=SHORT_SECRET))
    if len(set(value)) == 1:
        found.append(gettext("It repeats one character."))
    if value.casefold() in {client_id.casefold(), name.casefold()} - {""}:
        found.append(gettext("It equals the client ID or the name."))
    if value.casefold() in common_secrets():
        found.append(gettext("It is on the list of common passwords."))
    return found


def check_chosen_secret(secret: str, client_id: str, name: str, *, refuse_weak: bool) -> Secret:
    """Return the secret that was chosen for a client of this ID and name.

    :param refuse_weak: refuse a weak one (S4).
    :raises FieldError: it is not 6-100 characters of printable ASCII, or weak where that is refused.
    """
    chosen = check_secret(secret)
    reasons = weaknesses(chosen, client_id, name) if refuse_weak else []
    if reasons:
        raise FieldError(
            "client_secret",
            " ".join(
                [
                    gettext("This secret is easy to guess."),
                    *reasons,
                    gettext("Choose another, or press Generate new."),
                ]
            ),
            gettext("Client secret is easy to guess: choose another, or press Generate new"),
        )
    return chosen


def needs_form_encoding(secret: Secret) -> bool:
    """Tell whether many callers would send this secret wrongly by HTTP Basic (S4, RFC 6749 section 2.3.1)."""
    return any(character in secret.reveal() for character in "+%")


@cache
def common_secrets() -> frozenset[str]:
    """Return the bundled list of common passwords, in lower case."""
    return frozenset((Path(__file__).parent / "common_secrets.txt").read_text("utf-8").split("\n")) - {""}


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

    Every computation waits for a place, and raises `Busy` where none becomes free (D7).

    :param peppers: each pepper by its version, the newest first.
    """

    def __init__(self, peppers: Mapping[int, bytes]) -> None:
        self._peppers = dict(peppers)
        self._newest = next(iter(self._peppers))

    def hash(self, secret: Secret) -> StoredHash:
        """Return the hash to store."""
        return StoredHash(in_a_place(lambda: _HASHER.hash(self._peppered(secret, self._newest))), self._newest)

    def verify(self, secret: Secret, stored: StoredHash) -> bool:
        """Tell whether the secret is the one that was hashed; one argon2id computation.

        A hash made under a pepper that is no longer configured verifies nothing.
        """
        if stored.pepper_version not in self._peppers:
            self.waste(secret)
            return False
        try:
            return in_a_place(lambda: _HASHER.verify(stored.value, self._peppered(secret, stored.pepper_version)))
        except (VerificationError, InvalidHashError):
            return False

    def waste(self, secret: Secret) -> None:
        """Do the work of one verification without an outcome, so that refusals cost the same (P8)."""
        in_a_place(lambda: _HASHER.hash(self._peppered(secret, self._newest)))

    def needs_renewal(self, stored: StoredHash) -> bool:
        """Tell whether a hash was made at other parameters or under an older pepper."""
        return stored.pepper_version != self._newest or _HASHER.check_needs_rehash(stored.value)

    def _peppered(self, secret: Secret, version: int) -> bytes:
        return hmac.digest(self._peppers[version], secret.reveal().encode(), hashlib.sha256)
