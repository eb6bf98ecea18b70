"""The signed-in person, as the host describes them."""

from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime

MANAGER_ROLES = frozenset({"MerchantAdmin", "ManageIdentityClients"})


@dataclass(frozen=True, slots=True)
class Actor:
    """The signed-in person, as the host describes them.

    :param id: the host's ID of the person, recorded in the audit log.
    :param label: the name or e-mail address that the audit log shows.
    :param account_id: the account whose clients the person may see and change, and no others.
    :param account_name: the account's name.
    :param roles: host role keys; `MerchantAdmin` and `ManageIdentityClients` may manage clients.
    :param feature_enabled: whether Identity Clients is enabled for the account.
    :param grantable_roles: the API roles that the account may grant; None means every role of the catalogue.
    :param signed_in_at: when the person signed in (aware); None if the host does not know (W5).
    """

    id: str
    label: str
    account_id: str
    account_name: str
    roles: frozenset[str]
    feature_enabled: bool
    grantable_roles: frozenset[str] | None = None
    signed_in_at: datetime | None = None

    def __post_init__(self) -> None:
        """Check the types of the values, so that a mistake of the host is reported here and not by a later statement.

        :raises TypeError: an ID is not a `str`, `roles` is not a set, or `signed_in_at` has no time zone.
        """
        for name in ("id", "account_id"):
            if not isinstance(getattr(self, name) or "", str):
                raise TypeError(f"Actor.{name} must be a str: give str(...) of a number or a UUID.")
        if not isinstance(self.roles, Set):
            raise TypeError("Actor.roles must be a set of role keys, such as frozenset({'MerchantAdmin'}).")
        if self.signed_in_at is not None and self.signed_in_at.utcoffset() is None:
            raise TypeError("Actor.signed_in_at must have a time zone, such as datetime.now(UTC) has.")

    @property
    def may_manage(self) -> bool:
        """Whether one of the actor's roles allows changing clients."""
        return not MANAGER_ROLES.isdisjoint(self.roles)

    def may_grant(self, role_key: str) -> bool:
        """Return whether the actor's account may grant this API role to a client (A4)."""
        return self.grantable_roles is None or role_key in self.grantable_roles
