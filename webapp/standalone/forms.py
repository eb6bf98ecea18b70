"""The forms of the stand-alone application."""

from flask_wtf import FlaskForm
from wtforms import PasswordField, StringField
from wtforms.validators import DataRequired


class SignInForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """E-mail address and password."""

    email = StringField("E-mail address", [DataRequired("Enter your e-mail address.")])
    password = PasswordField("Password", [DataRequired("Enter your password.")])


class SignOutForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """A CSRF token without further fields (W7)."""
