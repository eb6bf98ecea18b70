"""Define the form of the account's settings."""

from wtforms import BooleanField

from ...core.i18n import lazy_gettext
from ..http.forms import ScreenForm


class SettingsForm(ScreenForm):
    """The settings of the account."""

    button = lazy_gettext("Save")
    management_api = BooleanField(lazy_gettext("Allow the management API"))
    keys_only = BooleanField(lazy_gettext("No secrets for clients that move money"))
    strict_assertions = BooleanField(lazy_gettext("Accept only strict assertions"))
