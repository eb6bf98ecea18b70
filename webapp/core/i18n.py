"""Translate the texts of the screens, and format numbers, in the language of the request.

The message is the English text itself, as with GNU gettext. Variables are named: `gettext("Use %(least)d or more",
least=6)`. Messages defined at import time use `lazy_gettext`, which is translated each time it is shown.
"""

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from gettext import NullTranslations
from typing import Any

from babel import Locale
from babel.numbers import format_decimal


@dataclass(frozen=True, slots=True)
class Language:
    """The language of a request.

    :param locale: how dates, times and numbers are formatted.
    :param translations: the catalogue of the texts; `NullTranslations` leaves them in English.
    :param tag: language of the texts for the attribute `lang` (BCP 47).
    """

    locale: Locale
    translations: NullTranslations
    tag: str


ENGLISH = Language(Locale("en", "GB"), NullTranslations(), "en-GB")
_language: ContextVar[Callable[[], Language]] = ContextVar("identity_clients_language", default=lambda: ENGLISH)


def use_language(get_language: Callable[[], Language]) -> None:
    """Set the function that returns the language in this context; it is called for each text."""
    _language.set(get_language)


def gettext(message: str, /, **variables: Any) -> str:
    """Return a message in the language of the request, its variables filled in."""
    text = _language.get()().translations.gettext(message)
    return text % variables if variables else text


def ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> str:
    """Return the message for a number, which fills in `%(number)s`."""
    return ngettext_text(singular, plural, number) % {"number": format_number(number), **variables}


def ngettext_text(singular: str, plural: str, number: int, /) -> str:
    """Return the message for a number, its variables not yet filled in."""
    return _language.get()().translations.ngettext(singular, plural, number)


def format_number(number: int) -> str:
    """Return a number in the format of the request's locale: "1,234"."""
    return _format_number(number, _language.get()().locale)


@lru_cache(maxsize=1024)
def _format_number(number: int, locale: Locale) -> str:
    return format_decimal(number, locale=locale)


class LazyText(str):
    """A message that is translated each time it is shown; a string of its English text everywhere else."""

    __slots__ = ()

    def __str__(self) -> str:
        """Return the message in the language of the request."""
        return gettext(str.__str__(self))


def lazy_gettext(message: str, /) -> str:
    """Mark a message that is defined before there is a request; `str()` of it, or a template, translates it."""
    return LazyText(message)
