"""The base classes of the forms: CSRF, versions, confirmations."""

import hmac
from collections.abc import Iterable
from typing import Any, ClassVar, cast

from flask import request, session
from flask_wtf import FlaskForm
from itsdangerous import SignatureExpired, URLSafeSerializer
from wtforms import Field, StringField, ValidationError
from wtforms.widgets import HiddenInput

from ...core.audit.actions import RefusalReason
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from .refusals import record_refused_attempt

# Longer than any session. None would mean the limit in the host's settings.
CSRF_LIMIT_SECONDS = 10 * 365 * 24 * 3600


class _AgelessTokenCSRF(FlaskForm.Meta.csrf_class):  # type: ignore[misc] # Flask-WTF has no types
    """Accepts a CSRF token of any age, also one from a host whose clock is ahead."""

    def validate_csrf_token(self, form: Any, field: Any) -> None:
        """Raise ValidationError unless the token is the session's."""
        try:
            super().validate_csrf_token(form, field)
        except ValidationError as error:
            # No token is older than the limit, so only one from the future has "expired". Its signature is valid.
            expired = error.__cause__
            if not isinstance(expired, SignatureExpired) or expired.payload is None:
                raise
            token = URLSafeSerializer("").load_payload(expired.payload)
            if not hmac.compare_digest(session[self.meta.csrf_field_name], token):
                raise


class VersionField(Field):
    """The version of a client that a form shows. A missing or malformed value is None, which equals no version (I7)."""

    widget = HiddenInput()
    data: int | None

    def _value(self) -> str:
        return "" if self.data is None else str(self.data)

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Parse the posted version."""
        text = valuelist[0] if valuelist else ""
        self.data = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


class SetField(Field):
    """A set of keys; one value may hold several of them, separated by spaces, as a conflict's choices do."""

    takes_several_values = True
    data: frozenset[str]

    def process_data(self, value: Any) -> None:
        """Take any collection of keys, or None."""
        self.data = frozenset(value or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the keys of every value that was posted."""
        self.data = frozenset(key for value in valuelist for key in value.split())


class TextsField(Field):
    """Texts of the same name, one for each row of a form."""

    takes_several_values = True
    data: list[str]

    def process_data(self, value: Any) -> None:
        """Take any sequence of texts, or None."""
        self.data = list(value or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read every value that was posted."""
        self.data = list(valuelist)


class ScreenForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """A form that checks its own CSRF token whatever the host's settings (E1), for as long as the session (W10).

    :ivar message: an error of the whole form.
    :ivar field_errors: the error of each field, by the field's name.
    :ivar notices: what the user should know about a field, by its name.
    :ivar warnings: what the user must have read about a field before anything is saved, by its name.
    """

    class Meta(FlaskForm.Meta):  # type: ignore[misc] # Flask-WTF has no types
        """Options that do not follow the host's settings."""

        csrf = True
        csrf_class = _AgelessTokenCSRF
        csrf_time_limit = CSRF_LIMIT_SECONDS

        def get_translations(self, form: Any) -> None:
            """Return None: the texts are translated by `core.i18n`."""

        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Return the fields of a POST, without the JSON and files that Flask-WTF reads as well (I5)."""
            return request.form if formdata is not None and request.method == "POST" else None

    # Translators: stands for the name of a button in "press %(button)s again".
    button: ClassVar[str] = lazy_gettext("the button")

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)
        self.message = ""
        self.field_errors: dict[str, FieldError] = {}
        self.notices: dict[str, str] = {}
        self.warnings: dict[str, str] = {}

    @property
    def csrf_field(self) -> Field:
        """The CSRF token's field; a host may have renamed it."""
        return cast(Field, self[self.meta.csrf_field_name])

    def validate(self, extra_validators: Any = None) -> bool:
        """Return whether the CSRF token is valid and every field was sent once; otherwise set the errors."""
        if not super().validate(extra_validators):
            record_refused_attempt(RefusalReason.FORM_EXPIRED)
            self.message = gettext(
                "Your session was renewed while this form was open. Please press %(button)s again.", button=self.button
            )
            return False
        for field in self:
            if len(field.raw_data or ()) > 1 and not getattr(field, "takes_several_values", False):
                # Translators: field is the name of a form field.
                message = gettext("%(field)s was sent twice. Send one value.", field=field.label.text)
                self.add_errors([FieldError(field.name, message)])
        return not (self.message or self.field_errors)

    def add_errors(self, errors: Iterable[FieldError]) -> None:
        """Set each error on its field, or as the message of the form where the field is hidden or of another form."""
        for error in errors:
            if error.field not in self or isinstance(self[error.field].widget, HiddenInput):
                self.message = error.message
            else:
                self.field_errors.setdefault(error.field, error)


class VersionForm(ScreenForm):
    """The confirmation of an action on one version of a client."""

    version = VersionField("Version")


class ConfirmedForm(VersionForm):
    """The confirmation of an action that has consequences which must be confirmed by name."""

    confirmed = StringField(lazy_gettext("Confirmation"), default="")
    """The consequence that the user confirmed, by the name that the screen gave it."""


def normalise_line_breaks(text: str) -> str:
    """Return the text with LF for every line break; browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
