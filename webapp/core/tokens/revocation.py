"""Revoke one token (RFC 7009), and look up the status of a token."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..database.errors import violated_constraint
from ..database.models import TOKEN_DURATION_MAX_MINUTES, Account, ClaimedClientId, IdentityClient, RevokedToken
from .access_tokens import token_generation
from .signing import CLOCK_SKEW


class TokenStatus(NamedTuple):
    """What the database says about a verified token.

    :param client_key: the client that it was issued to, whatever that client's ID is now (T3).
    :param is_active: whether the token is not revoked, and its client is enabled and not deleted (T11).
    """

    client_key: uuid.UUID
    is_active: bool


_SELECT_TOKEN_STATUS = (
    select(
        IdentityClient.id,
        IdentityClient.token_generation,
        IdentityClient.enabled & IdentityClient.deleted_at.is_(None) & Account.feature_enabled,
        exists().where(RevokedToken.jti == bindparam("jti")),
    )
    .join(ClaimedClientId, ClaimedClientId.client_key == IdentityClient.id)
    .join(Account, Account.id == IdentityClient.account_id)
    .where(ClaimedClientId.client_id_folded == bindparam("client_id_folded"))
)


def get_token_status(session: Session, claims: Mapping[str, Any]) -> TokenStatus | None:
    """Return the status of a verified token, None if no client ever had its client ID.

    :param claims: what `AccessTokens.verify` returned.
    """
    row = session.execute(
        _SELECT_TOKEN_STATUS, {"client_id_folded": claims["client_id"].casefold(), "jti": claims["jti"]}
    ).one_or_none()
    if row is None:
        return None
    client_key, generation, is_enabled, is_revoked = row
    return TokenStatus(client_key, is_enabled and not is_revoked and token_generation(claims) == generation)


def revoke_token(session: Session, claims: Mapping[str, Any]) -> None:
    """Revoke a verified token. Revoking it again changes nothing (T12)."""
    jti = claims["jti"]
    if session.get(RevokedToken, jti) is not None:
        return
    try:
        with session.begin_nested():
            session.add(RevokedToken(jti=jti, expires_at=datetime.fromtimestamp(claims["exp"], UTC)))
    except IntegrityError as error:
        if violated_constraint(error) != "pk_identity_client_revoked_tokens":
            raise  # otherwise another request has just revoked it


def last_token_ends_at(client: IdentityClient, now: datetime) -> datetime | None:
    """Return when the last token of a client expires at the latest, None if all have expired.

    The time of the last token is recorded once a minute. A client that was changed within the longest life of a token
    may have had a longer token duration before.
    """
    if client.last_token_at is None:
        return None
    longest, minute = timedelta(minutes=TOKEN_DURATION_MAX_MINUTES), timedelta(minutes=1)
    life = longest if now - client.updated_at < longest else timedelta(minutes=client.token_duration_minutes)
    ends_at = min(now, client.last_token_at.replace(second=0, microsecond=0) + minute) + life
    return ends_at if ends_at > now else None


def purge_revoked_tokens(session: Session, now: datetime) -> int:
    """Delete the revocations of tokens that have expired on every host's clock; return how many (T13)."""
    return (
        session.connection().execute(delete(RevokedToken).where(RevokedToken.expires_at <= now - CLOCK_SKEW)).rowcount
    )
