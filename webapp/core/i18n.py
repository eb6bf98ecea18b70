"""Every word that a person reads goes through here, so that a host can have it in another language.

The message is the English text itself, as with GNU gettext. Variables are named: `gettext("Use %(least)d or more",
least=6)`. What is defined at import time is `lazy_gettext`: it is translated each time it is shown.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol


class Translations(Protocol):
    """What `gettext.NullTranslations` of the standard library offers, and Babel's as well."""

    def gettext(self, message: str, /) -> str:
        """Return the translation of a message, or the message."""

    def ngettext(self, singular: str, plural: str, number: int, /) -> str:
        """Return the translation for this number, or the singular or plural."""


def format_english_number(number: int) -> str:
    """Return a number with its thousands set apart: "1,234"."""
    return f"{number:,}"


_translations: ContextVar[Translations | None] = ContextVar("identity_clients_translations", default=None)
_number_format: ContextVar[Callable[[int], str]] = ContextVar(
    "identity_clients_number_format", default=format_english_number
)


def use_translations(
    translations: Translations | None, number_format: Callable[[int], str] = format_english_number
) -> None:
    """Translate with these from now on, and write numbers so, in this context; None: English."""
    _translations.set(translations)
    _number_format.set(number_format)


def gettext(message: str, /, **variables: Any) -> str:
    """Return a message in the language of the request, its variables filled in."""
    translations = _translations.get()
    text = translations.gettext(message) if translations else message
    return text % variables if variables else text


def ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> str:
    """Return the message for a number, which fills in `%(number)s`."""
    return ngettext_text(singular, plural, number) % {"number": format_number(number), **variables}


def ngettext_text(singular: str, plural: str, number: int, /) -> str:
    """Return the message for a number with its variables still to be filled in."""
    translations = _translations.get()
    if translations:
        return translations.ngettext(singular, plural, number)
    return singular if number == 1 else plural


def format_number(number: int) -> str:
    """Return a number as the language of the request writes it."""
    return _number_format.get()(number)


class LazyText(str):
    """A message that is translated each time it is shown; a string of its English text everywhere else."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the message in the language of the request."""
        return gettext(str.__str__(self))


def lazy_gettext(message: str, /) -> str:
    """Mark a message that is defined before there is a request; `str()` of it, or a template, translates it."""
    return LazyText(message)
