"""The settings of an account that its own administrators change."""

from sqlalchemy import select
from sqlalchemy.orm import Session

from .audit.actions import Action
from .audit.events import Author, record_event
from .database.models import Account


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
