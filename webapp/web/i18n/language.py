"""The language of a request, and what templates call for their words: `ic_gettext`, `ic_ngettext`, `ic_number`.

A message that holds a `<` is markup, as it stands in our template and in its translation; any other is text, and is
escaped, so that it can stand in an attribute. Variables are escaped in both.
"""

from dataclasses import dataclass
from gettext import NullTranslations
from typing import Any

from flask import Blueprint, current_app, g
from markupsafe import Markup, escape

from ...core import i18n
from ...core.i18n import Translations
from .formats import Formats


@dataclass(frozen=True, slots=True)
class Language:
    """In what a page is written.

    :param tag: for the attribute `lang` (BCP 47); it tells of the words.
    :param translations: None: the words are English.
    :param formats: of dates, times and numbers.
    """

    tag: str
    translations: Translations | None
    formats: Formats


ENGLISH = Language("en-GB", None, Formats())


def init_blueprint(blueprint: Blueprint) -> None:
    """Let the words of every request follow its language, and give every template what it calls for them."""
    blueprint.url_value_preprocessor(_start)
    blueprint.teardown_request(lambda _error: i18n.use_translations(None))
    blueprint.add_app_template_global(_gettext, "ic_gettext")
    blueprint.add_app_template_global(_ngettext, "ic_ngettext")
    blueprint.add_app_template_global(i18n.format_number, "ic_number")
    blueprint.add_app_template_global(lambda: language().tag, "ic_language")


def language() -> Language:
    """Return the language of the request at work: the host's where it has Flask-Babel, else English."""
    if not g:
        return ENGLISH
    if "identity_clients_language" not in g:
        g.identity_clients_language = ENGLISH  # of the page that says so, should the host's selector fail
        if "babel" in current_app.extensions:
            g.identity_clients_language = _language_of_host()
    found: Language = g.identity_clients_language
    return found


def _language_of_host() -> Language:
    try:
        from . import host_babel
    except ImportError:  # it is another library by that name
        return ENGLISH
    return host_babel.language()


class _Words:
    """Translations that are asked for at the first word, since not every answer has one."""

    def gettext(self, message: str, /) -> str:
        translations = language().translations
        return translations.gettext(message) if translations else message

    def ngettext(self, singular: str, plural: str, number: int, /) -> str:
        translations = language().translations or NullTranslations()
        return translations.ngettext(singular, plural, number)


def _start(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    g.pop("identity_clients_language", None)
    i18n.use_translations(_Words(), lambda number: language().formats.number(number))


def _gettext(message: str, /, **variables: Any) -> Markup:
    """Return a message of a template."""
    text = _markup(message, i18n.gettext(message))
    return text % variables if variables else text


def _ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> Markup:
    """Return the message for a number, which fills in `%(number)s`."""
    text = _markup(singular, i18n.ngettext_text(singular, plural, number))
    return text % {"number": i18n.format_number(number), **variables}


def _markup(message: str, translation: str) -> Markup:
    return Markup(translation) if "<" in message else escape(translation)  # noqa: S704
