"""The forms of the screens: what is posted, where it is held, and what is said about it.

No rule of a field stands here: core judges the values, and its errors are put on the fields.
"""

import json
import secrets
import unicodedata
from collections.abc import Callable, Collection, Iterable
from typing import Any

from wtforms import BooleanField, Field, HiddenField, StringField

from ...core.clients.roles import ApiRole
from ...core.clients.validation import (
    ClientValues,
    check_client_id,
    check_description,
    check_name,
    check_roles,
    check_token_duration,
)
from ...core.database.models import IdentityClient
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from ...host import services
from ..http.forms import VersionField, VersionForm, normalise_line_breaks
from ..secrets.forms import SecretForm

# Short enough that a leaked token soon runs out, long enough that no system asks all the time.
TOKEN_DURATION_DEFAULT_MINUTES = 15


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


class RolesField(Field):
    """A set of API role keys; one value may hold several of them, separated by spaces, as a conflict's choices do."""

    takes_several_values = True
    data: frozenset[str]

    def process_data(self, value: Any) -> None:
        """Take any collection of keys, or None."""
        self.data = frozenset(value or ())

    def process_formdata(self, valuelist: list[Any]) -> None:
        """Read the keys of every value that was posted."""
        self.data = frozenset(key for value in valuelist for key in value.split())


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
        return len(unicodedata.normalize("NFC", normalise_line_breaks(self.description.data or "").strip()))

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
