"""The rule of each field of the form (I1, I2, A4): the value as it is kept, or what is wrong and how to mend it."""

import re
import unicodedata
from collections.abc import Collection

from .errors import FieldError
from .models import (
    CLIENT_ID_MAX,
    CLIENT_ID_MIN,
    DESCRIPTION_MAX,
    NAME_MAX,
    NAME_MIN,
    TOKEN_DURATION_MAX_MINUTES,
    TOKEN_DURATION_MIN_MINUTES,
)
from .roles import Catalogue

_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]*\Z")
# Controls, marks that turn the direction of the text around them, and halves of a surrogate pair.
_UNUSABLE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNUSABLE_IN_LINE = re.compile(f"[{_UNUSABLE}]")
_UNUSABLE_IN_TEXT = re.compile(f"(?!\n)[{_UNUSABLE}]")
_TOKEN_DURATION = re.compile(r"[1-9][0-9]", re.ASCII)


def check_client_id(value: str) -> str:
    """Return the client ID as it was typed.

    :raises FieldError: it is not 6-100 characters of printable ASCII, or has a space at an end.
    """
    field, use = "client_id", f"Use {CLIENT_ID_MIN} to {CLIENT_ID_MAX}"
    if not value.strip():
        raise FieldError(
            field,
            f"Enter a client ID of {CLIENT_ID_MIN} to {CLIENT_ID_MAX} characters.",
            "Client ID is missing: enter one",
        )
    if value != value.strip():
        raise FieldError(
            field,
            "This client ID starts or ends with a space. Remove it.",
            "Client ID starts or ends with a space: remove it",
        )
    if not _PRINTABLE_ASCII.match(value):
        raise FieldError(
            field,
            "Use only letters A to Z, digits, spaces and the signs on an English keyboard.",
            "Client ID has a character that cannot be used: remove it",
        )
    if len(value) < CLIENT_ID_MIN:
        raise FieldError(
            field,
            f"This client ID has {_characters(value)}. {use}.",
            f"Client ID is too short: use at least {CLIENT_ID_MIN} characters",
        )
    if len(value) > CLIENT_ID_MAX:
        raise FieldError(
            field,
            f"This client ID has {_characters(value)}. {use}.",
            f"Client ID is too long: use at most {CLIENT_ID_MAX} characters",
        )
    return value


def check_name(value: str) -> str:
    """Return the name in Unicode NFC without outer white space; empty is allowed.

    :raises FieldError: it is not 3-100 code points, or has a control character.
    """
    name = _text("name", "Client name", _UNUSABLE_IN_LINE, value)
    if name and len(name) < NAME_MIN:
        raise FieldError(
            "name",
            f"This name has {_characters(name)}. Use {NAME_MIN} to {NAME_MAX}, or leave it empty.",
            f"Client name is too short: use at least {NAME_MIN} characters, or none",
        )
    if len(name) > NAME_MAX:
        raise FieldError(
            "name",
            f"This name has {_characters(name)}. Use {NAME_MIN} to {NAME_MAX}, or leave it empty.",
            f"Client name is too long: use at most {NAME_MAX} characters",
        )
    return name


def check_description(value: str) -> str:
    """Return the description in Unicode NFC without outer white space, its line breaks as LF; empty is allowed.

    :raises FieldError: it has more than 1,000 code points, or a control character other than a line break.
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    description = _text("description", "Description", _UNUSABLE_IN_TEXT, lines)
    if len(description) > DESCRIPTION_MAX:
        raise FieldError(
            "description",
            f"This description has {_characters(description)}. Use at most {DESCRIPTION_MAX:,}.",
            f"Description is too long: use at most {DESCRIPTION_MAX:,} characters",
        )
    return description


def check_token_duration(value: str) -> int:
    """Return the token duration in minutes.

    :raises FieldError: it is not a whole number from 10 to 60 in plain digits (I2).
    """
    if _TOKEN_DURATION.fullmatch(value):
        minutes = int(value)
        if TOKEN_DURATION_MIN_MINUTES <= minutes <= TOKEN_DURATION_MAX_MINUTES:
            return minutes
    raise FieldError(
        "token_duration",
        f"Enter a whole number from {TOKEN_DURATION_MIN_MINUTES} to {TOKEN_DURATION_MAX_MINUTES}.",
        f"Token duration must be from {TOKEN_DURATION_MIN_MINUTES} to {TOKEN_DURATION_MAX_MINUTES} whole minutes",
    )


def check_roles(roles: Collection[str], *, catalogue: Catalogue, granted: Collection[str] | None) -> frozenset[str]:
    """Return the API roles as a set.

    :param granted: the keys that the account may grant at this moment; None means all (A4).
    :raises FieldError: there is none, or one that the catalogue lacks or the account may not grant.
    """
    chosen = frozenset(roles)
    if not chosen:
        raise FieldError("roles", "Choose at least one role.", "Roles: choose at least one")
    if not chosen <= catalogue.keys():
        # The value is a forged one or comes from a form older than the catalogue: not fit to be repeated.
        raise FieldError(
            "roles", "One of these roles does not exist any more. Choose from the list.", "Roles: choose from the list"
        )
    withheld = [
        role.name for key, role in catalogue.items() if key in chosen and not (granted is None or key in granted)
    ]
    if withheld:
        names = ", ".join(f"“{name}”" for name in withheld)
        raise FieldError(
            "roles",
            f"Your account does not hold {names}. Choose other roles.",
            f"Roles: your account does not hold {names}",
        )
    return chosen


def _text(field: str, label: str, unusable: re.Pattern[str], value: str) -> str:
    text = value.strip(" \t\n\r")
    found = unusable.search(text)
    if found:
        raise FieldError(
            field,
            f"Character {found.start() + 1} cannot be used: it is an invisible control character"
            f" (U+{ord(found[0]):04X}). Delete it, or type the text again.",
            f"{label} has an invisible control character: delete it, or type the text again",
        )
    return unicodedata.normalize("NFC", text).strip()


def _characters(value: str) -> str:
    return f"{len(value):,} {'character' if len(value) == 1 else 'characters'}"
