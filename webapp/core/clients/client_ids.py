"""Look up client IDs, which are unique across the platform and stay taken."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..credentials import is_well_formed
from ..database.models import ClaimedClientId, IdentityClient

CLIENT_ID_CONSTRAINTS = {"uq_identity_clients_client_id", "pk_identity_client_claimed_ids"}


def is_client_id_taken(session: Session, *, client_id: str, account_id: str, key: uuid.UUID | None) -> bool:
    """Return whether a client ID is, or once was, another client's, in any letter case (T3, I6).

    The answer reveals something of other accounts, so the caller counts it against a quota before giving it (A6).

    :param key: the client of this account that is being edited; None for a new one.
    """
    if not is_well_formed(client_id):
        return False
    owner = session.execute(
        select(IdentityClient.id, IdentityClient.account_id)
        .select_from(ClaimedClientId)
        .outerjoin(IdentityClient, ClaimedClientId.client_key == IdentityClient.id)
        .where(ClaimedClientId.client_id_folded == client_id.casefold())
    ).one_or_none()
    return owner is not None and tuple(owner) != (key, account_id)


def has_claimed_client_id(session: Session, client: IdentityClient) -> bool:
    """Return whether a client has used its present client ID before."""
    return bool(
        session.scalar(
            select(ClaimedClientId.client_key).where(
                ClaimedClientId.client_id_folded == client.client_id_folded, ClaimedClientId.client_key == client.id
            )
        )
    )
