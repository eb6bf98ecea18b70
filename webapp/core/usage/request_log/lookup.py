"""Look up one token request, and the clients and secrets that the request log names."""

import uuid
from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session, load_only

from ...database.models import ClaimedClientId, ClientKey, ClientSecret, IdentityClient, TokenRequest, is_of_account
from ...errors import NotFound
from .positions import parse_key

_CLIENTS = select(IdentityClient).options(
    load_only(IdentityClient.client_id, IdentityClient.deleted_at, raiseload=True)
)


def get_request(session: Session, *, account_id: str, client_key: uuid.UUID, key: str) -> TokenRequest:
    """Return one token request of a client.

    :param key: what `key_of` returned for it.
    :raises NotFound: the account has no such request (A3), or no longer.
    """
    position = parse_key(key)
    if position is None:
        raise NotFound
    found = session.scalar(
        select(TokenRequest)
        .join(IdentityClient, IdentityClient.id == TokenRequest.client_key)
        .where(
            IdentityClient.account_id == account_id,
            TokenRequest.client_key == client_key,
            TokenRequest.at == position.at,
            TokenRequest.number == position.number,
        )
    )
    if found is None:
        raise NotFound
    return found


def find_client(session: Session, *, account_id: str, client_id: str) -> IdentityClient | None:
    """Return the client of the account that has or had an ID, in any letter case, deleted or not; None if none."""
    return session.scalar(
        select(IdentityClient)
        .join(ClaimedClientId, ClaimedClientId.client_key == IdentityClient.id)
        .where(IdentityClient.account_id == account_id, ClaimedClientId.client_id_folded == client_id.casefold())
    )


def clients_of(session: Session, account_id: str, requests: Sequence[TokenRequest]) -> dict[uuid.UUID, IdentityClient]:
    """Return the clients of these requests by their keys, deleted ones too, without their other columns."""
    keys = {request.client_key for request in requests}
    own = (is_of_account(account_id), IdentityClient.id.in_(keys))
    return {client.id: client for client in session.scalars(_CLIENTS.where(*own))} if keys else {}


def labels_of(session: Session, client: IdentityClient) -> Sequence[str]:
    """Return the labels of the secrets and of the keys that a client has or had, the newest first."""
    tables = (ClientSecret, ClientKey)
    return [
        label
        for table in tables
        for label in session.scalars(select(table.label).where(table.client_key == client.id).order_by(table.id.desc()))
    ]
