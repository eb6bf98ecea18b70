"""Taking tokens back before they end: one of them (RFC 7009), or all of a client's."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import bindparam, delete, exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..database.errors import violated_constraint
from ..database.models import TOKEN_DURATION_MAX_MINUTES, Account, IdentityClient, RevokedToken, UsedClientId
from .access_tokens import token_generation
from .signing_keys import CLOCK_SKEW


class TokenStatus(NamedTuple):
    """What the database says of a verified token.

    :param client_key: the client that it was issued to, whatever its ID is by now (T3).
    :param counts: whether the token counts (T11): neither it nor its client was stopped.
    """

    client_key: uuid.UUID
    counts: bool


_SELECT_TOKEN_STATUS = (
    select(
        IdentityClient.id,
        IdentityClient.token_generation,
        IdentityClient.enabled & IdentityClient.deleted_at.is_(None) & Account.feature_enabled,
        exists().where(RevokedToken.jti == bindparam("jti")),
    )
    .join(UsedClientId, UsedClientId.client_key == IdentityClient.id)
    .join(Account, Account.id == IdentityClient.account_id)
    .where(UsedClientId.client_id_folded == bindparam("client_id_folded"))
)


def get_token_status(session: Session, claims: Mapping[str, Any]) -> TokenStatus | None:
    """Return how a verified token stands at this moment; None if its client was never one of ours.

    :param claims: what `Tokens.verify` returned.
    """
    row = session.execute(
        _SELECT_TOKEN_STATUS, {"client_id_folded": claims["client_id"].casefold(), "jti": claims["jti"]}
    ).one_or_none()
    if row is None:
        return None
    client_key, generation, may_use, revoked = row
    return TokenStatus(client_key, may_use and not revoked and token_generation(claims) == generation)


def revoke_token(session: Session, claims: Mapping[str, Any]) -> None:
    """Revoke one verified token; doing it again changes nothing (T12)."""
    jti = claims["jti"]
    if session.get(RevokedToken, jti) is not None:
        return
    try:
        with session.begin_nested():
            session.add(RevokedToken(jti=jti, expires_at=datetime.fromtimestamp(claims["exp"], UTC)))
    except IntegrityError as error:
        if violated_constraint(error) != "pk_identity_client_revoked_tokens":
            raise  # else another request was quicker


def last_token_ends_at(client: IdentityClient, now: datetime) -> datetime | None:
    """Return when the last of a client's tokens will have run out; None where that is past, as far as we know.

    Its last token is known true to the minute, a second after it was issued. One that was changed within the longest
    life of a token may have had a longer duration before.
    """
    if client.last_token_at is None:
        return None
    longest, minute = timedelta(minutes=TOKEN_DURATION_MAX_MINUTES), timedelta(minutes=1)
    life = longest if now - client.updated_at < longest else timedelta(minutes=client.token_duration_minutes)
    ends_at = min(now, client.last_token_at.replace(second=0, microsecond=0) + minute) + life
    return ends_at if ends_at > now else None


def purge_revoked_tokens(session: Session, now: datetime) -> int:
    """Delete the records of revoked tokens that have ended on every host's clock; return how many (T13)."""
    return (
        session.connection().execute(delete(RevokedToken).where(RevokedToken.expires_at <= now - CLOCK_SKEW)).rowcount
    )
