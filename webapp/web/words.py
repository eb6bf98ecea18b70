"""What templates call for their words: `ic_gettext`, `ic_ngettext`, `ic_number`.

A message that holds a `<` is markup, as it stands in our template and in its translation; any other is text, and is
escaped, so that it can stand in an attribute. Variables are escaped in both.
"""

from typing import Any

from flask import Blueprint
from markupsafe import Markup, escape

from ..core import words


def init_blueprint(blueprint: Blueprint) -> None:
    """Give the functions to every template, by names that no host has."""
    blueprint.add_app_template_global(_gettext, "ic_gettext")
    blueprint.add_app_template_global(_ngettext, "ic_ngettext")
    blueprint.add_app_template_global(words.format_number, "ic_number")


def _gettext(message: str, /, **variables: Any) -> Markup:
    """Return a message of a template."""
    text = _markup(message, words.gettext(message))
    return text % variables if variables else text


def _ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> Markup:
    """Return the message for a number, which fills in `%(number)s`."""
    text = _markup(singular, words.ngettext_text(singular, plural, number))
    return text % {"number": words.format_number(number), **variables}


def _markup(message: str, translation: str) -> Markup:
    return Markup(translation) if "<" in message else escape(translation)  # noqa: S704
