"""Find the language of a request, and give templates `ic_gettext`, `ic_ngettext`, `ic_number` and `ic_language`.

A message that contains a `<` is markup, in our template and in its translation; any other message is text and is
escaped, so that it can be used in an attribute. Variables are escaped in both.
"""

from functools import cache, lru_cache
from gettext import NullTranslations
from io import BytesIO
from pathlib import Path
from typing import Any

from babel import Locale
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import Translations
from flask import Blueprint, Flask, current_app, g
from markupsafe import Markup, escape

from ...core import i18n
from ...core.i18n import ENGLISH, Language

DOMAIN = "identity_clients"
OWN_TRANSLATIONS = Path(__file__).parents[2] / "translations"


def init_blueprint(blueprint: Blueprint) -> None:
    """Set the language of each request to the blueprint, and add the template functions."""
    follow_requests(blueprint)
    blueprint.add_app_template_global(_gettext, "ic_gettext")
    blueprint.add_app_template_global(_ngettext, "ic_ngettext")
    blueprint.add_app_template_global(i18n.format_number, "ic_number")
    blueprint.add_app_template_global(lambda: current_language().tag, "ic_language")


def follow_requests(scaffold: Blueprint | Flask) -> None:
    """Set the language of each request to a blueprint, or to an application."""
    scaffold.url_value_preprocessor(_begin)
    scaffold.teardown_request(lambda _error: i18n.use_language(lambda: ENGLISH))


def current_language() -> Language:
    """Return the language of the current request: the host's if it has Flask-Babel, else English."""
    if not g:
        return ENGLISH
    if "identity_clients_language" not in g:
        g.identity_clients_language = ENGLISH  # of the error page, if the host's locale selector raises
        if "babel" in current_app.extensions:
            g.identity_clients_language = _language_of_host()
    found: Language = g.identity_clients_language
    return found


def _begin(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    g.pop("identity_clients_language", None)
    i18n.use_language(_find_language)


def _find_language() -> Language:
    """Return the language at the first text of a request, and the same one at every other without a search."""
    found = current_language()
    i18n.use_language(lambda: found)
    return found


def _language_of_host() -> Language:
    """Return the language that the host's Flask-Babel selects.

    A text is the one of `identity_clients.mo` in one of the host's directories, else the one of our own catalogue, else
    English.
    """
    try:
        import flask_babel
    except ImportError:  # the extension called "babel" is another library
        return ENGLISH
    if not isinstance(current_app.extensions["babel"], flask_babel.BabelConfiguration):
        return ENGLISH
    locale: Locale = flask_babel.get_locale()
    translations = _load_translations(tuple(flask_babel.get_babel().translation_directories), locale)
    if translations is None and locale.language != "en":
        return Language(locale, NullTranslations(), ENGLISH.tag)
    return Language(locale, translations or NullTranslations(), str(locale).replace("_", "-"))


@cache
def _load_translations(directories: tuple[str, ...], locale: Locale) -> Translations | None:
    own = _load_own_translations(locale.language)
    for directory in directories:
        found = Translations.load(directory, [str(locale)], DOMAIN)
        if isinstance(found, Translations):
            if own is not None:
                found.add_fallback(own)
            return found
    return own


@cache
def _load_own_translations(language: str) -> Translations | None:
    """Return the catalogue of the package, or None; it is compiled in memory, which takes about 50 ms."""
    path = OWN_TRANSLATIONS / language / "LC_MESSAGES" / f"{DOMAIN}.po"
    if not path.is_file():
        return None
    compiled = BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return Translations(compiled, DOMAIN)


def _gettext(message: str, /, **variables: Any) -> Markup:
    """Return a message of a template."""
    text = _markup(message, i18n.gettext(message))
    return _fill_in(text, variables) if variables else text


def _ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> Markup:
    """Return the message for a number, which fills in `%(number)s`."""
    text = _markup(singular, i18n.ngettext_text(singular, plural, number))
    return _fill_in(text, {"number": i18n.format_number(number), **variables})


def _fill_in(text: Markup, variables: dict[str, Any]) -> Markup:
    # Half the time of `Markup.__mod__`, which wraps each variable in an object that escapes it when it is formatted.
    return Markup(str.__mod__(text, {name: escape(value) for name, value in variables.items()}))  # noqa: S704


@lru_cache(maxsize=4096)
def _markup(message: str, translation: str) -> Markup:
    return Markup(translation) if "<" in message else escape(translation)  # noqa: S704
