"""The forms of the stand-alone application."""

from flask_wtf import FlaskForm
from wtforms import HiddenField, PasswordField, StringField
from wtforms.validators import AnyOf, DataRequired

from ..core.i18n import lazy_gettext as _
from .language import LANGUAGE_NAMES


class SignInForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """E-mail address and password."""

    email = StringField(_("E-mail address"), [DataRequired(_("Enter your e-mail address."))])
    password = PasswordField(_("Password"), [DataRequired(_("Enter your password."))])


class SignOutForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """A CSRF token without further fields (W7)."""


class LanguageForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """The language of the pages, and the page to return to."""

    language = StringField(validators=[AnyOf(LANGUAGE_NAMES)])
    next = HiddenField()
