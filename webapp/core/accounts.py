"""What the token endpoint knows of a host's accounts."""

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from .models import Account


def set_account(
    session: Session, account_id: str, *, feature_enabled: bool, grantable_roles: Collection[str] | None
) -> None:
    """Keep what the host says of an account; the next token request goes by it (A4, A7).

    :param grantable_roles: the API roles that the account may grant; None means all of the catalogue.
    """
    granted = None if grantable_roles is None else frozenset(grantable_roles)
    account = session.scalar(select(Account).where(Account.id == account_id))
    if account is None:
        session.merge(Account(id=account_id, feature_enabled=feature_enabled, grantable_roles=granted))
    elif (account.feature_enabled, account.grantable_roles) != (feature_enabled, granted):
        account.feature_enabled, account.grantable_roles = feature_enabled, granted
    session.flush()
