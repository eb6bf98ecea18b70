"""What templates call for their words: `ic_gettext`, `ic_ngettext`. The messages are ours, so they may hold markup."""

from typing import Any

from flask import Blueprint
from markupsafe import Markup

from ..core import words


def init_blueprint(blueprint: Blueprint) -> None:
    """Give the two functions to every template, by names that no host has."""
    blueprint.add_app_template_global(_gettext, "ic_gettext")
    blueprint.add_app_template_global(_ngettext, "ic_ngettext")


def _gettext(message: str, /, **variables: Any) -> Markup:
    """Return a message of a template; its variables are escaped, the message is not."""
    return Markup(words.gettext(message)) % variables if variables else Markup(words.gettext(message))  # noqa: S704


def _ngettext(singular: str, plural: str, number: int, /, **variables: Any) -> Markup:
    """Return the message for a number, which fills in `%(number)s`."""
    return Markup(words.ngettext_text(singular, plural, number)) % {"number": number, **variables}  # noqa: S704
