"""Define the form that tries a token request."""

from wtforms import StringField

from ...core.i18n import lazy_gettext
from ..http.forms import ScreenForm


class TokenTrialForm(ScreenForm):
    """Test now."""

    button = lazy_gettext("Test now")
    client_secret = StringField(lazy_gettext("Client secret"), default="")
    scope = StringField(lazy_gettext("Scope"), default="")
