"""The forms of the screens: what is posted, where it is held, and what is said about it.

No rule of a field stands here: core judges the values, and its errors are put on the fields.
"""

import json
import secrets
import unicodedata
from collections.abc import Callable, Collection, Iterable
from typing import Any, ClassVar, cast

from flask import g, request
from flask_wtf import FlaskForm
from wtforms import BooleanField, Field, HiddenField, StringField
from wtforms.widgets import HiddenInput

from ..core.audit import Refusal
from ..core.clients import ClientValues
from ..core.errors import FieldError
from ..core.fields import check_client_id, check_description, check_name, check_roles, check_token_duration
from ..core.models import IdentityClient
from ..core.roles import ApiRole
from ..core.rotation import Overlap
from ..core.secrets import Secret, check_chosen_secret, needs_form_encoding, weaknesses
from ..core.words import gettext, lazy_gettext
from ..host import services
from .writing import note_refusal

# Short enough that a leaked token soon runs out, long enough that no system asks all the time.
TOKEN_DURATION_DEFAULT_MINUTES = 15

# The session ends first. None would stand for the host's setting.
CSRF_LIMIT_SECONDS = 10 * 365 * 24 * 3600

# Sets of roles to start from, by key: label and roles.
PRESETS: dict[str, tuple[str, frozenset[str]]] = {
    "read": (
        lazy_gettext("Read only"),
        frozenset({"MerchantUser", "AccountViewer", "TransactionViewer", "ReportViewer"}),
    ),
    "pay": (lazy_gettext("Create payments"), frozenset({"MerchantUser", "CreatePayment"})),
    "none": (lazy_gettext("Clear"), frozenset()),
}

CHECKED_FIELDS = ("client_id", "client_secret", "name", "description", "token_duration", "roles")


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


class RolesField(Field):
    """A set of API role keys; one value may hold several of them, separated by spaces, as a conflict's choices do."""

    data: frozenset[str]

    def process_data(self, value: Any) -> None:
        """Take any collection of keys, or None."""
        self.data = frozenset(value or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the keys of every value that was posted."""
        self.data = frozenset(key for value in valuelist for key in value.split())


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
            note_refusal(Refusal.FORM_EXPIRED)
            self.message = gettext(
                "Your session was renewed while this form was open. Please press %(button)s again.", button=self.button
            )
            return False
        for field in self:
            if len(field.raw_data or ()) > 1 and not isinstance(field, RolesField):
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


class NetworksForm(VersionForm):
    """From where a client may call."""

    button = lazy_gettext("Save")
    allowed_networks = StringField(lazy_gettext("Allowed addresses"), default="")
    confirmed = StringField(lazy_gettext("Confirmation"), default="")
    """What follows and was read: `allowed_networks.Consequences.keys`, separated by spaces."""

    @property
    def text(self) -> str:
        """The list as it was typed."""
        return self.allowed_networks.data or ""


class DisableForm(VersionForm):
    """Disable."""

    revoke = BooleanField(lazy_gettext("Also revoke issued tokens"))


class DeleteForm(VersionForm):
    """Delete."""

    confirm = StringField(lazy_gettext("Client ID"), default="")


class ReadForm(VersionForm):
    """A question whose consequences may have to be read first."""

    confirmed = StringField(lazy_gettext("Confirmation"), default="")
    """What its user has read, as the screen named it."""


class EndDateForm(ReadForm):
    """The end date of a secret."""

    ends_at = StringField(lazy_gettext("End date"), default="")
    clear = BooleanField(lazy_gettext("Remove end date"))


class SecretForm(ScreenForm):
    """A form in which a client's secret is set."""

    client_secret = StringField(lazy_gettext("Client secret"), default="")
    secret_warning = HiddenField("Warning", default="")
    """The warning about the secret as the screen showed it: whoever saves after that has read it."""

    @property
    def secret(self) -> str:
        """The secret that was typed, never trimmed."""
        return self.client_secret.data or ""

    def holder(self) -> tuple[str, str]:
        """Return client ID and name of the secret's client, since a secret like them is easy to guess (S4)."""
        raise NotImplementedError

    def check_secret(self) -> Secret:
        """Return the secret.

        :raises FieldError: it is malformed, or weak where a setting refuses that.
        """
        return check_chosen_secret(self.secret, *self.holder(), refuse_weak=services().settings.refuse_weak_secrets)

    def has_been_read(self, check: Callable[[], object]) -> bool:
        """Tell whether the form may go to core: it is ours, and its user has read what speaks against the secret.

        :param check: puts on the fields what is wrong, where the form comes back for the secret alone.
        """
        unread = self.warn_of_secret()
        if not self.validate():
            return False
        if not unread:
            return True
        check()
        self.message = gettext(
            "Nothing is saved yet. Read the note at the client secret, then press %(button)s again.", button=self.button
        )
        return False

    def warn_of_secret(self) -> bool:
        """Put on the secret what speaks against it although it may be used (S4); tell whether that is news."""
        try:
            chosen = self.check_secret()
        except FieldError:
            return False
        reasons = weaknesses(chosen, *self.holder())
        if reasons:
            reasons.insert(0, gettext("This secret is easy to guess."))
        if needs_form_encoding(chosen):
            reasons.append(gettext("Many callers send + and % wrongly by HTTP Basic."))
        if reasons:
            self.notices["client_secret"] = " ".join([*reasons, gettext("You may use it, or press Generate new.")])
        return self.notices.get("client_secret", "") not in ("", self.secret_warning.data)


class ClientForm(SecretForm):
    """What New Client and Edit have in common. It can write nothing else of a client (A5)."""

    client_id = StringField(lazy_gettext("Client ID"), default="")
    name = StringField(lazy_gettext("Client name"), default="")
    description = StringField(lazy_gettext("Description"), default="")
    token_duration = StringField(lazy_gettext("Token duration"), default=str(TOKEN_DURATION_DEFAULT_MINUTES))
    roles = RolesField(lazy_gettext("Roles"))

    def values(self) -> ClientValues:
        """Return what was typed, as it was typed."""
        return ClientValues(
            client_id=self.client_id.data or "",
            name=self.name.data or "",
            description=self.description.data or "",
            token_duration=self.token_duration.data or "",
            roles=self.roles.data,
        )

    def holder(self) -> tuple[str, str]:
        """Return client ID and name as they were typed."""
        return self.client_id.data or "", self.name.data or ""

    @property
    def description_length(self) -> int:
        """How many characters the description has, as its rule counts them (I1)."""
        return len(unicodedata.normalize("NFC", one_line_break(self.description.data or "").strip()))

    def check(self, names: Iterable[str], *, granted: Collection[str] | None) -> None:
        """Check these fields by the rules of core, and put what is wrong on them.

        :param granted: the API roles that the account may grant; None means all.
        """
        values = self.values()
        checks: dict[str, Callable[[], object]] = {
            "client_id": lambda: check_client_id(values.client_id),
            "client_secret": self.check_secret,
            "name": lambda: check_name(values.name),
            "description": lambda: check_description(values.description),
            "token_duration": lambda: check_token_duration(values.token_duration),
            "roles": lambda: check_roles(values.roles, catalogue=services().catalogue, granted=granted),
        }
        for name in names:
            try:
                checks[name]()
            except FieldError as error:
                self.add_errors([error])

    def tell_of_changed_id(self, client: IdentityClient | None) -> None:
        """Say on the client ID what follows where it differs from the client's."""
        if client and self.client_id.data not in (None, "", client.client_id):
            self.notices["client_id"] = gettext(
                "When you save, callers that still use %(client_id)s are refused from their next request.",
                client_id=client.client_id,
            )

    def may_be_saved(self, *, granted: Collection[str] | None) -> bool:
        """Tell whether the form may go to core, as `has_been_read` does."""
        return self.has_been_read(lambda: self.check(CHECKED_FIELDS, granted=granted))


class ChangeForm(SecretForm):
    """Change secret.

    :param client: whose secret it is.
    """

    button = lazy_gettext("Change secret")
    version = VersionField("Version")
    overlap = StringField(lazy_gettext("When the old secret ends"), default=Overlap.DAY)
    end_older = StringField(lazy_gettext("End the older secret"), default="")
    """The label of the secret that its user agrees to end now, where two have not ended."""
    revoke = BooleanField(lazy_gettext("Also revoke issued tokens"))

    def __init__(self, client: IdentityClient, **data: Any) -> None:
        super().__init__(version=client.version, **data)
        self.client_secret.label.text = gettext("New secret")
        self._holder = client.client_id, client.name

    def holder(self) -> tuple[str, str]:
        """Return client ID and name as they are stored."""
        return self._holder

    def chosen_overlap(self) -> Overlap:
        """Return when the old secret is to end.

        :raises FieldError: something else was posted than the form offers.
        """
        try:
            return Overlap(self.overlap.data or "")
        except ValueError:
            raise FieldError("overlap", gettext("Choose when the old secret ends.")) from None


class NewForm(ClientForm):
    """New Client."""

    button = lazy_gettext("Create")
    creation_key = HiddenField("Form", default=lambda: secrets.token_urlsafe(16))
    """Of one time, so that the same form makes one client however often it is sent. No secret."""


class EditForm(ClientForm):
    """Edit."""

    button = lazy_gettext("Save")
    enabled = BooleanField(lazy_gettext("Enabled"))
    version = VersionField("Version")
    base = HiddenField("Form", default="")
    """The values that the form was filled with, as JSON: they tell what its user changed (I7)."""


def edit_data(client: IdentityClient, granted: Collection[str] | None) -> dict[str, Any]:
    """Return what the Edit form of a client is filled with; a role that its account no longer holds is left out."""
    values: dict[str, Any] = {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "token_duration": str(client.token_duration_minutes),
        "roles": sorted(client.roles if granted is None else client.roles & frozenset(granted)),
        "enabled": client.enabled,
    }
    return {**values, "version": client.version, "base": json.dumps(values)}


def one_line_break(text: str) -> str:
    """Return the text with LF for every line break; browsers send CRLF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def role_groups(granted: Collection[str] | None) -> dict[str, list[ApiRole]]:
    """Return the API roles that the account may grant under the headings of the catalogue, in its order."""
    groups: dict[str, list[ApiRole]] = {}
    for role in services().catalogue.grantable(granted):
        groups.setdefault(role.group, []).append(role)
    return groups


def presets(granted: Collection[str] | None) -> dict[str, tuple[str, frozenset[str]]]:
    """Return label and roles of each preset whose roles the account all holds."""
    held = {role.key for role in services().catalogue.grantable(granted)}
    return {key: (label, roles) for key, (label, roles) in PRESETS.items() if roles <= held}
