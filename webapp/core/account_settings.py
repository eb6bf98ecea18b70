"""The settings of an account that its own administrators change."""

from collections.abc import Collection

from sqlalchemy import bindparam, delete, select
from sqlalchemy.orm import Session

from .audit.actions import Action
from .audit.events import Author, record_event
from .database.models import Account, KeysOnlyRole

_KEYS_ONLY_ROLES = select(KeysOnlyRole.role).where(KeysOnlyRole.account_id == bindparam("account_id"))


def is_management_api_enabled(session: Session, account_id: str) -> bool:
    """Return whether clients of an account may use the management API; False for an account that is not stored yet."""
    return bool(session.scalar(select(Account.management_api_enabled).where(Account.id == account_id)))


def set_management_api(session: Session, *, author: Author, enabled: bool) -> None:
    """Allow the management API to clients of the author's account, or forbid it, from the next request on.

    Where it is so already nothing is written. The account must be stored, as `accounts.set_account` does.
    """
    account = session.get_one(Account, author.account_id)
    if account.management_api_enabled != enabled:
        account.management_api_enabled = enabled
        record_event(session, author, Action.SETTINGS_CHANGED, None, {"management_api": [not enabled, enabled]})


def are_assertions_strict(session: Session, account_id: str) -> bool:
    """Return whether assertions must follow the strict profile (S11); False for an account that is not stored yet."""
    return bool(session.scalar(select(Account.strict_assertions).where(Account.id == account_id)))


def set_strict_assertions(session: Session, *, author: Author, enabled: bool) -> None:
    """Demand assertions of the strict profile of the account's clients, or no longer, from the next request on (S11).

    Where it is so already nothing is written. The account must be stored, as `accounts.set_account` does.
    """
    account = session.get_one(Account, author.account_id)
    if account.strict_assertions != enabled:
        account.strict_assertions = enabled
        record_event(session, author, Action.SETTINGS_CHANGED, None, {"strict_assertions": [not enabled, enabled]})


def keys_only_roles(session: Session, account_id: str) -> frozenset[str]:
    """Return the API roles whose clients may have no secret in an account; empty where it has no such rule."""
    return frozenset(session.scalars(_KEYS_ONLY_ROLES, {"account_id": account_id}))


def set_keys_only(session: Session, *, author: Author, money_roles: Collection[str], enabled: bool) -> None:
    """Forbid secrets to clients with roles that move money in the author's account, or allow them again.

    Existing secrets keep working. Nothing is written where the setting has that value already. The account must be
    stored, as by `accounts.set_account`.

    :param money_roles: the API roles of the catalogue that move money.
    """
    if bool(keys_only_roles(session, author.account_id)) != enabled:
        _store_keys_only_roles(session, author.account_id, money_roles if enabled else ())
        record_event(session, author, Action.SETTINGS_CHANGED, None, {"keys_only": [not enabled, enabled]})


def renew_keys_only_roles(session: Session, account_id: str, money_roles: Collection[str]) -> None:
    """Apply the rule of an account, where it has it, to the roles that move money in the catalogue of today."""
    stored = keys_only_roles(session, account_id)
    if stored and money_roles and stored != frozenset(money_roles):
        _store_keys_only_roles(session, account_id, money_roles)


def _store_keys_only_roles(session: Session, account_id: str, roles: Collection[str]) -> None:
    session.execute(delete(KeysOnlyRole).where(KeysOnlyRole.account_id == account_id))
    session.add_all(KeysOnlyRole(account_id=account_id, role=role) for role in roles)
    session.flush()
