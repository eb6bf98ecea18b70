"""What became of a client's token requests, read back for the account that it belongs to (L2, A3)."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from .models import ClientSecret, IdentityClient, TokenRequest, TokenRequestCount, utc_now

LATEST_MAX = 200
"""How many token requests of a client are kept one by one."""


class Outcome(StrEnum):
    """What became of a token request, where no `authentication.Reason` tells; the value is stored and never changes."""

    ISSUED = "issued"
    THROTTLED = "throttled"
    SCOPE_MALFORMED = "scope malformed"
    SCOPE_NOT_ALLOWED = "scope not allowed"
    NO_ROLES = "no roles left"


class LastUse(NamedTuple):
    """When and from where a client last authenticated, and with which secret; true to the minute."""

    at: datetime
    address: str | None
    secret_label: str


def recent(session: Session, account_id: str, client_key: uuid.UUID) -> Sequence[TokenRequest]:
    """Return a client's latest token requests, at most 200, the newest first."""
    return session.scalars(
        select(TokenRequest)
        .join(IdentityClient, IdentityClient.id == TokenRequest.client_key)
        .where(IdentityClient.account_id == account_id, TokenRequest.client_key == client_key)
        .order_by(TokenRequest.at.desc(), TokenRequest.id.desc())
        .limit(LATEST_MAX)
    ).all()


def per_day(session: Session, account_id: str, client_key: uuid.UUID, days: int = 30) -> Sequence[TokenRequestCount]:
    """Return a client's counts by day (UTC), secret and outcome, for as many days up to and including today."""
    return session.scalars(
        select(TokenRequestCount)
        .join(IdentityClient, IdentityClient.id == TokenRequestCount.client_key)
        .where(
            IdentityClient.account_id == account_id,
            TokenRequestCount.client_key == client_key,
            TokenRequestCount.day > utc_now().date() - timedelta(days=days),
        )
        .order_by(TokenRequestCount.day, TokenRequestCount.secret_label, TokenRequestCount.outcome)
    ).all()


def last_used(session: Session, account_id: str, client_keys: Collection[uuid.UUID]) -> Mapping[uuid.UUID, LastUse]:
    """Return the last use of each of these clients, the latest of its secrets'; one never used is not in it."""
    rows = session.execute(
        select(ClientSecret.client_key, ClientSecret.last_used_at, ClientSecret.last_used_address, ClientSecret.label)
        .join(IdentityClient, IdentityClient.id == ClientSecret.client_key)
        .where(
            IdentityClient.account_id == account_id,
            IdentityClient.id.in_(client_keys),
            ClientSecret.last_used_at.is_not(None),
        )
        .order_by(ClientSecret.last_used_at)
    )
    return {key: LastUse(at, address, label) for key, at, address, label in rows if at is not None}
