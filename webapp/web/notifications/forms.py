"""Define the forms of the targets of notifications. The rules of their fields are in core."""

from wtforms import StringField

from ...core.i18n import lazy_gettext
from ..http.forms import SetField, VersionForm


class TargetForm(VersionForm):
    """Add or edit a target."""

    button = lazy_gettext("Save")
    address = StringField(lazy_gettext("Address"), default="")
    # Translators: the kinds of notifications that an address gets.
    kinds = SetField(lazy_gettext("Messages"))


class TargetActionForm(VersionForm):
    """The confirmation of an action on a target or a message."""
