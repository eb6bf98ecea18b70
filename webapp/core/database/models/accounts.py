"""The host's accounts, and what their administrators switch on."""

from sqlalchemy import ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from ..types import StringSet
from .base import Base

ACCOUNT_ID_MAX = 200


class Account(Base):
    """A host's account as the identity endpoint needs to know it, since no person is signed in there."""

    __tablename__ = "identity_client_accounts"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX), primary_key=True)
    feature_enabled: Mapped[bool]
    grantable_roles: Mapped[frozenset[str] | None] = mapped_column(StringSet)
    """The API roles that the account may grant; None means every role of the catalogue."""
    management_api_enabled: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether clients of the account may use the management API; administrators set it on a screen."""
    strict_assertions: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether assertions must follow the strict profile (S11); administrators set it on a screen."""


class KeysOnlyRole(Base):
    """An API role whose clients may have no secret in an account; an account without such rows has no such rule.

    Administrators switch the rule on, for all roles of the catalogue that move money.
    """

    __tablename__ = "identity_client_keys_only_roles"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id), primary_key=True)
    role: Mapped[str] = mapped_column(String(60), primary_key=True)
