"""Define the forms of a client. The rules of their fields are in core, whose errors are put on the fields."""

import json
import secrets
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, ClassVar

from wtforms import BooleanField, HiddenField, StringField

from ...core.clients.roles import ApiRole
from ...core.clients.validation import (
    FIELDS,
    TOKEN_DURATION_DEFAULT_MINUTES,
    ClientValues,
    check_client_id,
    needs_form_encoding,
    split_tags,
)
from ...core.database.models import IdentityClient
from ...core.errors import FieldError
from ...core.i18n import gettext, lazy_gettext
from ...host import services
from ..http.access import actor
from ..http.forms import ScreenForm, SetField, TextsField, VersionField, VersionForm, normalise_line_breaks
from ..secrets.forms import SecretForm

# Label and roles of each preset, by its key.
PRESETS: dict[str, tuple[str, frozenset[str]]] = {
    "read": (
        lazy_gettext("Read only"),
        frozenset({"MerchantUser", "AccountViewer", "TransactionViewer", "ReportViewer"}),
    ),
    "pay": (lazy_gettext("Create payments"), frozenset({"MerchantUser", "CreatePayment"})),
    # Translators: a button that removes all chosen API roles.
    "none": (lazy_gettext("Clear"), frozenset()),
}


@dataclass(frozen=True, slots=True)
class NetworkRow:
    """A row of the allowed addresses.

    :param number: its number among all rows, from 1 on.
    """

    number: int
    network: str
    label: str
    is_removed: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing was typed in it."""
        return not (self.network or self.label)

    @property
    def counts(self) -> bool:
        """Whether Save takes it."""
        return not (self.is_removed or self.is_empty)


class NetworksForm(VersionForm):
    """The networks from which a client may call."""

    # Translators: the name of a button, also inside sentences.
    button = lazy_gettext("Save")
    allowed_networks = TextsField(lazy_gettext("Allowed addresses"))
    network_label = TextsField(lazy_gettext("Labels"))
    """The label of each row."""
    removed = SetField(lazy_gettext("Removed"))
    """The numbers of the rows that Save leaves out; until then Undo keeps them."""
    confirmed = StringField(lazy_gettext("Confirmation"), default="")
    """The consequences that were confirmed: `allowed_networks.Consequences.keys`, separated by spaces."""

    @property
    def rows(self) -> Sequence[NetworkRow]:
        """The rows as they were typed, the removed ones included, from 1 on."""
        pairs = zip_longest(self.allowed_networks.data, self.network_label.data, fillvalue="")
        return [
            NetworkRow(number, " ".join(network.split()), " ".join(label.split()), str(number) in self.removed.data)
            for number, (network, label) in enumerate(pairs, start=1)
        ]

    @property
    def text(self) -> str:
        """The list without the removed rows, as `check_networks` reads it."""
        return "\n".join(f"{row.network} {row.label}" for row in self.rows if row.counts)

    def apply(self, change: str) -> None:
        """Apply the button of a row, which saves nothing: `add`, `remove-3` or `undo-3`."""
        action, _, number = change.partition("-")
        if action == "add":
            self.allowed_networks.data.append("")
            self.network_label.data.extend([""] * (len(self.allowed_networks.data) - len(self.network_label.data)))
        elif action == "remove":
            self.removed.data |= {number}
        elif action == "undo":
            self.removed.data -= {number}


class DisableForm(VersionForm):
    """Disable."""

    revoke = BooleanField(lazy_gettext("Also revoke issued tokens"))


class ReviewForm(VersionForm):
    """The record of an access review."""

    found = StringField(lazy_gettext("What did you find?"), default="")
    done = StringField(lazy_gettext("What was done about it?"), default="")
    acknowledged = BooleanField(lazy_gettext("Acknowledgement"))


class DeleteForm(VersionForm):
    """Delete."""

    confirm = StringField(lazy_gettext("Client ID"), default="")


class BulkForm(ScreenForm):
    """A change of several clients."""

    action = HiddenField("Action", default="")
    clients = HiddenField("Clients", default="")
    """Key and version of each client."""
    tag = StringField(lazy_gettext("Tag"), default="")


class ClientForm(SecretForm):
    """The fields that New Client and Edit have in common. It can write no other column of a client (A5).

    :param stored_client_id: of the client that is edited; empty for a new one.
    """

    client_id = StringField(lazy_gettext("Client ID"), default="")
    name = StringField(lazy_gettext("Client name"), default="")
    description = StringField(lazy_gettext("Description"), default="")
    token_duration = StringField(lazy_gettext("Token duration"), default=str(TOKEN_DURATION_DEFAULT_MINUTES))
    roles = SetField(lazy_gettext("Roles"))
    # Translators: the person or team that answers for a client.
    owner = StringField(lazy_gettext("Owner"), default="")
    tags = StringField(lazy_gettext("Tags"), default="")
    client_id_warning = HiddenField("Warning", default="")
    """The warning about the client ID as the form showed it."""
    warning_fields: ClassVar[dict[str, str]] = {"client_id": "client_id_warning", **SecretForm.warning_fields}

    def __init__(self, stored_client_id: str = "", **data: Any) -> None:
        super().__init__(**data)
        self._stored_client_id = stored_client_id

    def values(self) -> ClientValues:
        """Return the values as they were typed, but for the secret."""
        return ClientValues(
            client_id=self.client_id.data or "",
            name=self.name.data or "",
            description=self.description.data or "",
            token_duration=self.token_duration.data or "",
            roles=self.roles.data,
            owner=self.owner.data or "",
            tags=split_tags(self.tags.data or ""),
        )

    @property
    def client_names(self) -> dict[str, str]:
        """Client ID and name as they were typed."""
        return {"client_id": self.client_id.data or "", "name": self.name.data or ""}

    @property
    def description_length(self) -> int:
        """The length of the description in characters, as its rule counts them (I1)."""
        return len(unicodedata.normalize("NFC", normalise_line_breaks(self.description.data or "").strip()))

    def check(self, *fields: str) -> None:
        """Check these fields by the rules of core, and put each error on its field."""
        self.add_errors(
            services().clients.check_fields(
                self.values(), self.secret, grantable_roles=actor().grantable_roles, fields=fields
            )
        )

    def check_all(self) -> None:
        """Check every field by the rules of core, and put each error on its field."""
        self.check(*FIELDS)

    def warn(self) -> None:
        """Put a warning on the client ID, and on the secret, where there is one."""
        self.warn_of_client_id()
        self.warn_of_secret()

    def warn_of_client_id(self) -> None:
        """Put a notice on a client ID that is changed, and a warning on a valid one that is hard to send."""
        stored, client_id = self._stored_client_id, self.client_id.data or ""
        if client_id in ("", stored):
            return
        if stored:
            self.notices["client_id"] = gettext(
                "When you save, callers that still use %(client_id)s are refused from their next request.",
                client_id=stored,
            )
        try:
            check_client_id(client_id)
        except FieldError:
            return
        if needs_form_encoding(client_id):
            self.warnings["client_id"] = gettext(
                "Many callers send :, + and % wrongly by HTTP Basic. You may use it, or choose another."
            )


class NewForm(ClientForm):
    """New Client."""

    button = lazy_gettext("Create")
    creation_key = HiddenField("Form", default=lambda: secrets.token_urlsafe(16))
    """A one-time key, so that a repeated POST of the same form creates no second client. It is not a secret."""
    public_key = StringField(lazy_gettext("Public key"), default="")
    """Takes the place of the secret; shown where the account forbids secrets to clients that move money."""

    @property
    def is_with_key(self) -> bool:
        """Whether the client gets a key in place of a secret."""
        return bool((self.public_key.data or "").strip())

    def warn(self) -> None:
        """Put a warning on the client ID, and on the secret, where the client gets one."""
        self.warn_of_client_id()
        if not self.is_with_key:
            self.warn_of_secret()


class EditForm(ClientForm):
    """Edit."""

    button = lazy_gettext("Save")
    enabled = BooleanField(lazy_gettext("Enabled"))
    version = VersionField("Version")
    confirmed = HiddenField("Confirmation", default="")
    """The warnings about the edit that were shown: their keys, separated by spaces."""
    base = HiddenField("Form", default="")
    """The values that the form was filled with, as JSON, which show what its user changed (I7)."""


def edit_data(client: IdentityClient, grantable_roles: Collection[str] | None) -> dict[str, Any]:
    """Return the values that fill the Edit form; a role that the account may no longer grant is left out."""
    values: dict[str, Any] = {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "token_duration": str(client.token_duration_minutes),
        "roles": sorted(client.roles if grantable_roles is None else client.roles & frozenset(grantable_roles)),
        "owner": client.owner,
        "tags": join_tags(client.tags),
        "enabled": client.enabled,
    }
    return {**values, "version": client.version, "base": json.dumps(values)}


def join_tags(tags: Collection[str]) -> str:
    """Return tags as one text, sorted and separated by commas."""
    return ", ".join(sorted(tags))


def role_groups(grantable_roles: Collection[str] | None) -> dict[str, list[ApiRole]]:
    """Return the API roles that the account may grant by the headings of the catalogue, in its order."""
    groups: dict[str, list[ApiRole]] = {}
    for role in services().catalogue.grantable(grantable_roles):
        groups.setdefault(role.group, []).append(role)
    return groups


def presets(grantable_roles: Collection[str] | None) -> dict[str, tuple[str, frozenset[str]]]:
    """Return label and roles of each preset, where the account may grant all its roles."""
    grantable = {role.key for role in services().catalogue.grantable(grantable_roles)}
    return {key: (label, roles) for key, (label, roles) in PRESETS.items() if roles <= grantable}
