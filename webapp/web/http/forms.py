"""The base classes of the forms: CSRF, versions, confirmations."""

from collections.abc import Iterable
from typing import Any, ClassVar, cast

from flask import g, request
from flask_wtf import FlaskForm
from wtforms import Field, StringField
from wtforms.widgets import HiddenInput

from ...core.audit.actions import RefusalReason
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from .transactions import record_refused_attempt

# The session ends first. None would stand for the host's setting.
CSRF_LIMIT_SECONDS = 10 * 365 * 24 * 3600


class VersionField(Field):
    """The version that a form was filled from; what is missing or no number is None, which no client has (I7)."""

    widget = HiddenInput()
    data: int | None

    def _value(self) -> str:
        return "" if self.data is None else str(self.data)

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the version as it was posted."""
        text = valuelist[0] if valuelist else ""
        self.data = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


class ScreenForm(FlaskForm):  # type: ignore[misc] # Flask-WTF has no types
    """A form with a CSRF token of its own, whatever the host's settings (E1), valid as long as the session (W10).

    `validate` tells whether the form came from the session's own page, and each value once. What is wrong stands in
    `message`, or by the field's name in `field_errors`; `notices` are what its user should know of a field.
    """

    class Meta(FlaskForm.Meta):  # type: ignore[misc] # Flask-WTF has no types
        """What does not follow the host's settings."""

        csrf = True
        csrf_time_limit = CSRF_LIMIT_SECONDS

        def get_translations(self, form: Any) -> None:
            """Leave the texts as they are."""

        def wrap_formdata(self, form: Any, formdata: Any) -> Any:
            """Read the fields of a POST, never JSON or files, which the form library would read as well (I5)."""
            return request.form if formdata is not None and request.method == "POST" else None

    button: ClassVar[str] = lazy_gettext("the button")

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)
        self.message = ""
        self.field_errors: dict[str, FieldError] = {}
        self.notices: dict[str, str] = {}

    @property
    def csrf_field(self) -> Field:
        """The CSRF token's field; a host may have renamed it."""
        return cast(Field, self[self.meta.csrf_field_name])

    def validate(self, extra_validators: Any = None) -> bool:
        """Tell whether the form may be acted upon."""
        if g.get("identity_clients_csrf_refused") or not super().validate(extra_validators):
            record_refused_attempt(RefusalReason.FORM_EXPIRED)
            self.message = gettext(
                "Your session was renewed while this form was open. Please press %(button)s again.", button=self.button
            )
            return False
        for field in self:
            if len(field.raw_data or ()) > 1 and not getattr(field, "takes_several_values", False):
                message = gettext("%(field)s was sent twice. Send one value.", field=field.label.text)
                self.add_errors([FieldError(field.name, message)])
        return not (self.message or self.field_errors)

    def add_errors(self, errors: Iterable[FieldError]) -> None:
        """Put each error on its field; for a hidden field the form itself speaks."""
        for error in errors:
            if isinstance(self[error.field].widget, HiddenInput):
                self.message = error.message
            else:
                self.field_errors.setdefault(error.field, error)


class VersionForm(ScreenForm):
    """The confirmation of an action on a client as it was when the page was made."""

    version = VersionField("Version")


class ConfirmedForm(VersionForm):
    """A question whose consequences may have to be read first."""

    confirmed = StringField(lazy_gettext("Confirmation"), default="")
    """What its user has read, as the screen named it."""


def normalise_line_breaks(text: str) -> str:
    """Return the text with LF for every line break; browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")
