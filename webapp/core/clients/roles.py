"""The catalogue of API roles: what a client may do at the API."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ...settings import SettingsError
from ..i18n import lazy_gettext as _

GRANTS_CACHED_MAX = 1024
_KEY = re.compile(r"[A-Za-z0-9_.-]{1,60}\Z")
# RFC 6749 appendix A.4: a scope token is made of %x21, %x23-5B, %x5D-7E
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,60}\Z")
READ_CLIENTS, WRITE_CLIENTS = "identity-clients:read", "identity-clients:write"
"""The scopes of the management API."""
MANAGEMENT_SCOPES = frozenset({READ_CLIENTS, WRITE_CLIENTS})


@dataclass(frozen=True, slots=True)
class ApiRole:
    """One API role.

    :param key: what the token's `roles` claim carries.
    :param name: what people read.
    :param description: one sentence that says what it allows.
    :param group: the heading under which the form lists it.
    :param scopes: its scopes, in the order in which a token lists them.
    :param moves_money: whether it can send money or release a payment.
    :param creates_payments: whether it can create a payment that waits for its release.
    :param releases_payments: whether it can release a payment that was created.
    """

    key: str
    name: str
    description: str
    group: str
    scopes: tuple[str, ...]
    moves_money: bool = False
    creates_payments: bool = False
    releases_payments: bool = False

    @property
    def manages_clients(self) -> bool:
        """Whether it opens the management API."""
        return not MANAGEMENT_SCOPES.isdisjoint(self.scopes)


@dataclass(frozen=True, slots=True)
class RolesDifference:
    """The API roles that an edit adds and removes; one that left the catalogue has its key as its name."""

    added: tuple[ApiRole, ...]
    removed: tuple[ApiRole, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed)

    @property
    def adds_money(self) -> bool:
        """Whether an added role can move money."""
        return any(role.moves_money for role in self.added)

    @property
    def adds_management(self) -> bool:
        """Whether an added role opens the management API."""
        return any(role.manages_clients for role in self.added)


class Grant(NamedTuple):
    """What a client may have in a token.

    :param roles: the keys of its effective roles, in catalogue order.
    :param scopes: every scope of these roles, without repeats, in their order.
    """

    roles: tuple[str, ...]
    scopes: tuple[str, ...]


class RoleCatalogue(Mapping[str, ApiRole]):
    """All API roles by key, in the order in which they are shown.

    :raises SettingsError: a key occurs twice, or a key or scope has a character that a token cannot carry.
    """

    def __init__(self, roles: Iterable[ApiRole]) -> None:
        self._roles: dict[str, ApiRole] = {}
        for role in roles:
            if not isinstance(role, ApiRole):
                raise SettingsError("IDENTITY_CLIENTS_API_ROLES must be a sequence of ApiRole.")
            if not _KEY.match(role.key) or role.key in self._roles:
                raise SettingsError(f"IDENTITY_CLIENTS_API_ROLES: {role.key!r} is not a role key, or occurs twice.")
            if not role.name or not role.group or not role.scopes or isinstance(role.scopes, str):
                raise SettingsError(
                    f"IDENTITY_CLIENTS_API_ROLES: {role.key!r} needs a name, a group and a tuple of scopes."
                )
            for scope in role.scopes:
                if not _SCOPE.match(scope):
                    raise SettingsError(f"IDENTITY_CLIENTS_API_ROLES: {role.key!r} has a scope that is not one.")
            self._roles[role.key] = role
        if not self._roles:
            raise SettingsError("IDENTITY_CLIENTS_API_ROLES must name at least one role.")
        self.all_scopes = self.scopes(self._roles.values())
        self.money_roles = frozenset(role.key for role in self._roles.values() if role.moves_money)
        """The keys of the roles that move money."""
        self._cached_grant = lru_cache(GRANTS_CACHED_MAX)(self._grant)

    def __getitem__(self, key: str) -> ApiRole:
        return self._roles[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)

    def grantable(self, grantable_roles: Collection[str] | None) -> list[ApiRole]:
        """Return the roles that an account may grant, in catalogue order.

        :param grantable_roles: the keys that the account may grant; None means all.
        """
        return [role for role in self._roles.values() if grantable_roles is None or role.key in grantable_roles]

    def effective(
        self, keys: Collection[str], grantable_roles: Collection[str] | None, *, management_api: bool = True
    ) -> list[ApiRole]:
        """Return the roles of a client that are in the catalogue and that its account may still grant (A4).

        :param management_api: whether the account allows the management API; if not, roles that open it are left out.
        """
        return [
            role
            for role in self.grantable(grantable_roles)
            if role.key in keys and (management_api or not role.manages_clients)
        ]

    def grant(self, keys: frozenset[str], grantable_roles: frozenset[str] | None, *, management_api: bool) -> Grant:
        """Return the effective roles of a client and their scopes, for a token.

        Results are cached: clients have few different sets of roles, and no other input changes in a process.

        :param management_api: whether the account allows the management API.
        """
        return self._cached_grant(keys, grantable_roles, management_api)

    def _grant(self, keys: frozenset[str], grantable_roles: frozenset[str] | None, management_api: bool) -> Grant:
        roles = self.effective(keys, grantable_roles, management_api=management_api)
        return Grant(tuple(role.key for role in roles), self.scopes(roles))

    def names(self, keys: Collection[str]) -> list[str]:
        """Return the names of these roles in catalogue order; one that left the catalogue has its key as its name."""
        return [role.name for role in self._roles.values() if role.key in keys] + sorted(set(keys) - self._roles.keys())

    def difference(self, before: Collection[str], after: Collection[str]) -> RolesDifference:
        """Return which API roles were added and which removed, in catalogue order."""
        return RolesDifference(self._as_roles(set(after) - set(before)), self._as_roles(set(before) - set(after)))

    def _as_roles(self, keys: set[str]) -> tuple[ApiRole, ...]:
        gone = sorted(keys - self._roles.keys())
        return (*self.effective(keys, None), *(ApiRole(key, key, "", "", ()) for key in gone))

    def create_and_release(self, keys: Collection[str]) -> bool:
        """Return whether a client with these roles could release a payment that it created itself."""
        roles = self.effective(keys, None)
        return any(role.creates_payments for role in roles) and any(role.releases_payments for role in roles)

    def scopes(self, roles: Iterable[ApiRole]) -> tuple[str, ...]:
        """Return every scope of these roles, without repeats, in their order."""
        return tuple(dict.fromkeys(scope for role in roles for scope in role.scopes))


DEFAULT_ROLES = (
    # Translators: a group of API roles, as a heading.
    ApiRole("MerchantUser", _("API access"), _("Sign in to the API and see who you are."), _("Read"), ("API",)),
    ApiRole(
        "AccountViewer", _("Read accounts"), _("Read accounts and their balances."), _("Read"), ("API", "accounts:read")
    ),
    ApiRole(
        "TransactionViewer",
        _("Read transactions"),
        _("Read payments, receipts and their status."),
        _("Read"),
        ("API", "transactions:read"),
    ),
    ApiRole(
        "ReportViewer",
        _("Read reports"),
        _("Download statements and bordereaux reports."),
        _("Read"),
        ("API", "reports:read"),
    ),
    ApiRole(
        "CreatePayment",
        _("Create single payments"),
        _("Create one payment at a time, not card payments."),
        # Translators: a group of API roles, as a heading.
        _("Payments"),
        ("payment-requests", "stored-recipients"),
        moves_money=True,
        creates_payments=True,
    ),
    ApiRole(
        "CreateUrgentPayments",
        _("Create urgent payments"),
        _("Send a payment by the fastest route."),
        _("Payments"),
        ("payment-requests", "stored-recipients"),
        moves_money=True,
        creates_payments=True,
    ),
    ApiRole(
        "UploadBatches",
        _("Upload batches"),
        _("Upload a file of many payments."),
        _("Payments"),
        ("payment-requests", "payment-batches"),
        moves_money=True,
        creates_payments=True,
    ),
    ApiRole(
        "MerchantCreateVoidRequest",
        _("Create void requests"),
        _("Ask for a cheque already sent to be cancelled."),
        _("Payments"),
        ("void-requests",),
    ),
    ApiRole(
        "StoredRecipientEditor",
        _("Edit stored recipients"),
        _("Add and change the recipients that payments go to."),
        _("Payments"),
        ("stored-recipients",),
    ),
    ApiRole(
        "AccountMovementEditor",
        _("Move money between accounts"),
        _("Move funds between accounts that you own."),
        _("Accounts"),
        ("account-movements",),
        moves_money=True,
    ),
)
MANAGEMENT_ROLE = ApiRole(
    "ManageIdentityClients",
    _("Manage identity clients"),
    _("Create, change and delete identity clients by the management API, where the account allows it."),
    # Translators: a group of API roles, as a heading.
    _("Administration"),
    (READ_CLIENTS, WRITE_CLIENTS),
)
"""The role for callers of the management API, part of the built-in catalogue where the API is enabled."""
