"""Judge secrets: which are valid, and which valid ones are weak."""

from functools import cache
from pathlib import Path

from ..credentials import SECRET_MAX, SECRET_MIN, is_well_formed
from ..errors import FieldError
from ..i18n import gettext, ngettext
from .generation import Secret

SHORT_SECRET = 16


def check_secret(value: str) -> Secret:
    """Return the secret as it was typed, without trimming it.

    :raises FieldError: it is not 6-100 characters of printable ASCII.
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


def check_not_weak(secret: Secret, client_id: str, name: str) -> None:
    """Refuse a weak secret, where a setting asks for that (S4).

    :raises FieldError: the secret is weak; the message names each reason.
    """
    reasons = weaknesses(secret, client_id, name)
    if reasons:
        easy, advice = gettext("This secret is easy to guess."), gettext("Choose another, or press Generate new.")
        raise FieldError(
            "client_secret",
            " ".join([easy, *reasons, advice]),
            gettext("Client secret is easy to guess: choose another, or press Generate new"),
        )


def weaknesses(secret: Secret, client_id: str, name: str) -> list[str]:
    """Return a sentence for each reason why a secret is weak (S4).

    A weak secret is valid by default, since the product allows every secret of 6-100 characters.
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


def needs_form_encoding(secret: Secret) -> bool:
    """Return whether many callers would send this secret wrongly by HTTP Basic (S4, RFC 6749 section 2.3.1)."""
    return any(character in secret.reveal() for character in "+%")


def has_outer_space(secret: Secret) -> bool:
    """Return whether a secret starts or ends with a space, as one that was pasted may (S10)."""
    value = secret.reveal()
    return value != value.strip()


@cache
def common_secrets() -> frozenset[str]:
    """Return the bundled list of common passwords, in lower case."""
    return frozenset((Path(__file__).parent / "common_secrets.txt").read_text("utf-8").split("\n")) - {""}
