"""The host's accounts, as far as the identity endpoint needs to know them."""

from collections.abc import Collection

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .database.errors import violated_constraint
from .database.models import Account


def set_account(
    session: Session, account_id: str, *, feature_enabled: bool, grantable_roles: Collection[str] | None
) -> None:
    """Store what the host says of an account; the next token request applies it (A4, A7).

    :param grantable_roles: the API roles that the account may grant; None means all of the catalogue.
    """
    granted = None if grantable_roles is None else frozenset(grantable_roles)
    account = session.get(Account, account_id)
    if account is None:
        try:
            with session.begin_nested():
                session.add(Account(id=account_id, feature_enabled=feature_enabled, grantable_roles=granted))
        except IntegrityError as error:
            if violated_constraint(error) != "pk_identity_client_accounts":
                raise
            account = session.get_one(Account, account_id)  # another process has just inserted it
        else:
            return
    if (account.feature_enabled, account.grantable_roles) != (feature_enabled, granted):
        account.feature_enabled, account.grantable_roles = feature_enabled, granted
        session.flush()
