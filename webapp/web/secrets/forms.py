"""Define the forms in which a secret is set or changed."""

from typing import Any, ClassVar

from wtforms import BooleanField, HiddenField, StringField

from ...core.database.models import IdentityClient
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from ...core.secrets.policy import has_outer_space, needs_form_encoding, weaknesses
from ...core.secrets.service import Overlap
from ...host import services
from ..http.forms import ConfirmedForm, ScreenForm, VersionField


class EndDateForm(ConfirmedForm):
    """The end date of a secret or key."""

    ends_at = StringField(lazy_gettext("End date"), default="")
    clear = BooleanField(lazy_gettext("Remove end date"))


class AddKeyForm(ScreenForm):
    """Add key."""

    button = lazy_gettext("Add key")
    version = VersionField("Version")
    public_key = StringField(lazy_gettext("Public key"), default="")


class SecretForm(ScreenForm):
    """A form in which a client's secret is set.

    Of the forms for a new secret, its end date is shown; Edit has none.
    """

    client_secret = StringField(lazy_gettext("Client secret"), default="")
    ends_at = StringField(lazy_gettext("End date of the secret"), default="")
    secret_warning = HiddenField("Warning", default="")
    """The warning about the secret as the form showed it: a POST that repeats it has been warned."""
    warning_fields: ClassVar[dict[str, str]] = {"client_secret": "secret_warning"}
    """The hidden fields with the warnings that were shown, by the field that they are about."""

    @property
    def secret(self) -> str:
        """The secret as it was typed, never trimmed."""
        return self.client_secret.data or ""

    @property
    def client_names(self) -> dict[str, str]:
        """Client ID and name of the secret's client, since a secret that equals one of them is weak (S4)."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Return whether the form may go to core: it is valid, and each warning was shown before (S4)."""
        self.warn()
        if not self.validate():
            return False
        unread = [
            self[name].label.text
            for name, text in self.warnings.items()
            if self[self.warning_fields[name]].data != text
        ]
        if not unread:
            return True
        self.check_all()
        self.message = gettext(
            # Translators: fields is a list of the names of form fields.
            "Nothing is saved yet. Read the note at %(fields)s, then press %(button)s again.",
            fields=", ".join(f"“{label}”" for label in unread),
            button=self.button,
        )
        return False

    def warn(self) -> None:
        """Put a warning on each valid field that has one."""
        self.warn_of_secret()

    def check_all(self) -> None:
        """Put the errors of every field on it, where the form is shown again for the warnings."""

    def warn_of_secret(self) -> None:
        """Put a warning on a valid secret that is weak or hard to send (S4), or has a space at an end (S10)."""
        try:
            secret = services().secrets.check(self.secret, **self.client_names)
        except FieldError:
            return
        reasons = weaknesses(secret, **self.client_names)
        if reasons:
            reasons.insert(0, gettext("This secret is easy to guess."))
        if needs_form_encoding(secret):
            reasons.append(gettext("Many callers send + and % wrongly by HTTP Basic."))
        if has_outer_space(secret):
            reasons.append(gettext("It starts or ends with a space."))
        if reasons:
            self.warnings["client_secret"] = " ".join([*reasons, gettext("You may use it, or press Generate new.")])


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
        self._client_names = {"client_id": client.client_id, "name": client.name}

    @property
    def client_names(self) -> dict[str, str]:
        """Client ID and name as they are stored."""
        return self._client_names

    def chosen_overlap(self) -> Overlap:
        """Return when the old secret is to end.

        :raises FieldError: the posted value is none of those that the form offers.
        """
        try:
            return Overlap(self.overlap.data or "")
        except ValueError:
            raise FieldError("overlap", gettext("Choose when the old secret ends.")) from None
