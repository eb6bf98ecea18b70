"""The forms in which a secret is set or changed."""

from collections.abc import Callable
from typing import Any

from wtforms import BooleanField, HiddenField, StringField

from ...core.database.models import IdentityClient
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from ...core.secrets.generation import Secret
from ...core.secrets.policy import check_chosen_secret, needs_form_encoding, weaknesses
from ...core.secrets.rotation import Overlap
from ...host import services
from ..http.forms import ConfirmedForm, ScreenForm, VersionField


class EndDateForm(ConfirmedForm):
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
