"""Translation of every text that a person reads, in the language that the host chose for the request.

The message is the English text itself, as in GNU gettext. Variables are named: `gettext("Use %(least)d or more",
least=6)`. Texts defined at import time use `lazy_gettext`, which translates each time that the text is shown.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol


class Translations(Protocol):
    """The methods of the standard library's `gettext.NullTranslations`, and of Babel's, that are used here."""

    def gettext(self, message: str, /) -> str:
        """Return the translation of a message, or the message."""

    def ngettext(self, singular: str, plural: str, number: int, /) -> str:
        """Return the translation for this number, or the singular or plural."""


def format_english_number(number: int) -> str:
    """Return a number with separators of thousands: "1,234"."""
    return f"{number:,}"


_translations: ContextVar[Translations | None] = ContextVar("identity_clients_translations", default=None)
_number_format: ContextVar[Callable[[int], str]] = ContextVar(
    "identity_clients_number_format", default=format_english_number
)


def use_translations(
    translations: Translations | None, number_format: Callable[[int], str] = format_english_number
) -> None:
    """Set the translations and the number format of the current context; None selects English."""
    _translations.set(translations)
    _number_format.set(number_format)


def gettext(message: str, /, **variables: Any) -> str:
    """Return a message in the language of the request, with its variables filled in."""
    translations = _translations.get()
    text = translations.gettext(message) if translations else message
    return text % variables if variables else text


def ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> str:
    """Return the message for a number, with its variables and `%(number)s` filled in."""
    return ngettext_text(singular, plural, number) % {"number": format_number(number), **variables}


def ngettext_text(singular: str, plural: str, number: int, /) -> str:
    """Return the message for a number, without filling in its variables."""
    translations = _translations.get()
    if translations:
        return translations.ngettext(singular, plural, number)
    return singular if number == 1 else plural


def format_number(number: int) -> str:
    """Return a number in the format of the request's language."""
    return _number_format.get()(number)


class LazyText(str):
    """A message that `str()` translates each time; every other string operation sees the English text."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the message in the language of the request."""
        return gettext(str.__str__(self))


def lazy_gettext(message: str, /) -> str:
    """Return a message defined at import time, which `str()` or a template translates when it is shown."""
    return LazyText(message)
