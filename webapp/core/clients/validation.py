"""Check each field of a client form: return the value to store, or raise an error that says how to correct it."""

import re
import unicodedata
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol

from ..credentials import CLIENT_ID_MAX, CLIENT_ID_MIN
from ..database.models import (
    DESCRIPTION_MAX,
    NAME_MAX,
    NAME_MIN,
    OWNER_MAX,
    OWNER_MIN,
    TAG_MAX,
    TAGS_MAX,
    TOKEN_DURATION_MAX_MINUTES,
    TOKEN_DURATION_MIN_MINUTES,
)
from ..errors import FieldError
from ..i18n import format_number, gettext, lazy_gettext, ngettext
from ..secrets.generation import Secret
from .roles import RoleCatalogue

FIELDS = ("client_id", "client_secret", "name", "description", "token_duration", "roles", "owner", "tags")
"""The form fields that have a rule, in the order of the form."""

TOKEN_DURATION_DEFAULT_MINUTES = 15
"""Short enough to limit the use of a leaked token, long enough that callers rarely request a new one."""


@dataclass(frozen=True, slots=True)
class ClientValues:
    """The values of a form as they were typed, but for the secret. A form can write no other column (A5)."""

    client_id: str
    name: str
    description: str
    token_duration: str
    roles: frozenset[str]
    owner: str = ""
    tags: tuple[str, ...] = ()


class SecretCheck(Protocol):
    """The rule of the secret, which belongs to `core.secrets`."""

    def __call__(self, secret: str, *, client_id: str, name: str) -> Secret:
        """Return the secret, or raise FieldError."""


def check_fields(
    values: ClientValues,
    secret: str | None,
    fields: Collection[str],
    *,
    catalogue: RoleCatalogue,
    grantable_roles: Collection[str] | None,
    check_secret: SecretCheck,
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the valid values of these form fields by field name, and the errors of the others in the form's order.

    :param secret: as it was typed; None where none is set, which is valid.
    :param grantable_roles: the API roles that the account may grant at this moment; None means all (A4).
    """
    rules: dict[str, Callable[[], Any]] = {
        "client_id": lambda: check_client_id(values.client_id),
        "client_secret": lambda: (
            None if secret is None else check_secret(secret, client_id=values.client_id, name=values.name)
        ),
        "name": lambda: check_name(values.name),
        "description": lambda: check_description(values.description),
        "token_duration": lambda: check_token_duration(values.token_duration),
        "roles": lambda: check_roles(values.roles, catalogue=catalogue, grantable_roles=grantable_roles),
        "owner": lambda: check_owner(values.owner),
        "tags": lambda: check_tags(values.tags),
    }
    valid: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field in FIELDS:
        if field in fields:
            try:
                valid[field] = rules[field]()
            except FieldError as error:
                errors.append(error)
    return valid, errors


_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]*\Z")
# Control characters, bidirectional controls and lone surrogates.
_UNUSABLE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_UNUSABLE_IN_LINE = re.compile(f"[{_UNUSABLE}]")
UNUSABLE_IN_TEXT = re.compile(f"(?!\n)[{_UNUSABLE}]")
_UNUSABLE_SUMMARIES = {
    "name": lazy_gettext("Client name has an invisible control character: delete it, or type the text again"),
    "description": lazy_gettext("Description has an invisible control character: delete it, or type the text again"),
    "owner": lazy_gettext("Owner has an invisible control character: delete it, or type the text again"),
    "tags": lazy_gettext("Tags have an invisible control character: delete it, or type the text again"),
}
_TOKEN_DURATION = re.compile(r"[1-9][0-9]", re.ASCII)


def check_client_id(value: str) -> str:
    """Return the client ID as it was typed.

    :raises FieldError: it is not 6-100 characters of printable ASCII, or has a space at an end.
    """
    field, limits = "client_id", {"least": CLIENT_ID_MIN, "most": CLIENT_ID_MAX}
    if not value.strip():
        raise FieldError(
            field,
            gettext("Enter a client ID of %(least)s to %(most)s characters.", **limits),
            gettext("Client ID is missing: enter one"),
        )
    if value != value.strip():
        raise FieldError(
            field,
            gettext("This client ID starts or ends with a space. Remove it."),
            gettext("Client ID starts or ends with a space: remove it"),
        )
    if not _PRINTABLE_ASCII.match(value):
        raise FieldError(
            field,
            gettext("Use only letters A to Z, digits, spaces and the signs on an English keyboard."),
            gettext("Client ID has a character that cannot be used: remove it"),
        )
    length = ngettext(
        "This client ID has %(number)s character. Use %(least)s to %(most)s.",
        "This client ID has %(number)s characters. Use %(least)s to %(most)s.",
        len(value),
        **limits,
    )
    if len(value) < CLIENT_ID_MIN:
        raise FieldError(
            field,
            length,
            gettext("Client ID is too short: use at least %(least)s characters", **limits),
        )
    if len(value) > CLIENT_ID_MAX:
        raise FieldError(
            field,
            length,
            gettext("Client ID is too long: use at most %(most)s characters", **limits),
        )
    return value


def needs_form_encoding(client_id: str) -> bool:
    """Return whether many callers would send this client ID wrongly by HTTP Basic (RFC 6749 section 2.3.1).

    A colon separates the client ID from the secret there.
    """
    return any(character in client_id for character in ":+%")


def check_name(value: str) -> str:
    """Return the name in Unicode NFC without outer white space; empty is allowed.

    :raises FieldError: it is not 3-100 code points, or has a control character.
    """
    name = _text("name", _UNUSABLE_IN_LINE, value)
    limits = {"least": NAME_MIN, "most": NAME_MAX}
    length = ngettext(
        "This name has %(number)s character. Use %(least)s to %(most)s, or leave it empty.",
        "This name has %(number)s characters. Use %(least)s to %(most)s, or leave it empty.",
        len(name),
        **limits,
    )
    if name and len(name) < NAME_MIN:
        raise FieldError(
            "name", length, gettext("Client name is too short: use at least %(least)s characters, or none", **limits)
        )
    if len(name) > NAME_MAX:
        raise FieldError("name", length, gettext("Client name is too long: use at most %(most)s characters", **limits))
    return name


def check_description(value: str) -> str:
    """Return the description in Unicode NFC without outer white space, its line breaks as LF; empty is allowed.

    :raises FieldError: it has more than 1,000 code points, or a control character other than a line break.
    """
    lines = value.replace("\r\n", "\n").replace("\r", "\n")
    description = _text("description", UNUSABLE_IN_TEXT, lines)
    if len(description) > DESCRIPTION_MAX:
        most = format_number(DESCRIPTION_MAX)
        raise FieldError(
            "description",
            gettext(
                "This description has %(number)s characters. Use at most %(most)s.",
                number=format_number(len(description)),
                most=most,
            ),
            gettext("Description is too long: use at most %(most)s characters", most=most),
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
    limits = {"least": TOKEN_DURATION_MIN_MINUTES, "most": TOKEN_DURATION_MAX_MINUTES}
    raise FieldError(
        "token_duration",
        gettext("Enter a whole number from %(least)s to %(most)s.", **limits),
        gettext("Token duration must be from %(least)s to %(most)s whole minutes", **limits),
    )


def check_roles(
    roles: Collection[str], *, catalogue: RoleCatalogue, grantable_roles: Collection[str] | None
) -> frozenset[str]:
    """Return the API roles as a set.

    :param grantable_roles: the keys that the account may grant at this moment; None means all (A4).
    :raises FieldError: there is none, or one that the catalogue lacks or the account may not grant.
    """
    chosen = frozenset(roles)
    if not chosen:
        raise FieldError("roles", gettext("Choose at least one role."), gettext("Roles: choose at least one"))
    if not chosen <= catalogue.keys():
        # The value is forged, or posted by a form older than the catalogue, so the message does not repeat it.
        raise FieldError(
            "roles",
            gettext("One of these roles does not exist any more. Choose from the list."),
            gettext("Roles: choose from the list"),
        )
    grantable = {role.key for role in catalogue.grantable(grantable_roles)}
    withheld = [role.name for key, role in catalogue.items() if key in chosen - grantable]
    if withheld:
        names = ", ".join(f"“{name}”" for name in withheld)
        raise FieldError(
            "roles",
            # Translators: names is a list of API roles.
            gettext("Your account does not hold %(names)s. Choose other roles.", names=names),
            gettext("Roles: your account does not hold %(names)s", names=names),
        )
    return chosen


def check_owner(value: str) -> str:
    """Return the owner, a name or an e-mail address, in Unicode NFC without outer white space; empty is allowed.

    :raises FieldError: it is not 3-100 code points, or has a control character.
    """
    owner = _text("owner", _UNUSABLE_IN_LINE, value)
    limits = {"least": OWNER_MIN, "most": OWNER_MAX}
    length = ngettext(
        "This owner has %(number)s character. Use %(least)s to %(most)s, or leave it empty.",
        "This owner has %(number)s characters. Use %(least)s to %(most)s, or leave it empty.",
        len(owner),
        **limits,
    )
    if owner and len(owner) < OWNER_MIN:
        raise FieldError(
            "owner", length, gettext("Owner is too short: use at least %(least)s characters, or none", **limits)
        )
    if len(owner) > OWNER_MAX:
        raise FieldError("owner", length, gettext("Owner is too long: use at most %(most)s characters", **limits))
    return owner


def check_tags(values: Collection[str]) -> frozenset[str]:
    """Return the tags in small letters, without empty ones and repeats.

    :param values: the tags as they were typed, one each.
    :raises FieldError: there are more than 10, or one has more than 30 code points, a comma or a control character.
    """
    tags = [tag for value in values if (tag := _text("tags", _UNUSABLE_IN_LINE, value).lower())]
    for tag in tags:
        if "," in tag:
            raise FieldError(
                "tags",
                gettext("The tag “%(tag)s” has a comma. Commas separate tags.", tag=tag),
                gettext("Tags: a tag cannot have a comma"),
            )
        if len(tag) > TAG_MAX:
            raise FieldError(
                "tags",
                gettext(
                    "The tag “%(tag)s” has %(number)s characters. Use at most %(most)s.",
                    tag=tag,
                    number=format_number(len(tag)),
                    most=TAG_MAX,
                ),
                gettext("Tags: a tag is too long, use at most %(most)s characters", most=TAG_MAX),
            )
    found = frozenset(tags)
    if len(found) > TAGS_MAX:
        raise FieldError(
            "tags",
            gettext(
                "There are %(number)s tags. Use at most %(most)s.", number=format_number(len(found)), most=TAGS_MAX
            ),
            gettext("Tags: there are too many, use at most %(most)s", most=TAGS_MAX),
        )
    return found


def split_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a text in which commas separate them."""
    return tuple(text.split(","))


def _text(field: str, unusable: re.Pattern[str], value: str) -> str:
    """Return the text in Unicode NFC without outer white space.

    :raises FieldError: it has an unusable character.
    """
    text = value.strip(" \t\n\r")
    found = unusable.search(text)
    if found:
        raise FieldError(
            field,
            gettext(
                "Character %(place)s cannot be used: it is an invisible control character (%(code)s)."
                " Delete it, or type the text again.",
                place=found.start() + 1,
                code=f"U+{ord(found[0]):04X}",
            ),
            str(_UNUSABLE_SUMMARIES[field]),
        )
    return unicodedata.normalize("NFC", text).strip()
