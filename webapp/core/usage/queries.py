"""Read the token requests of a client, for its own account only (L2, A3)."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from ..database.models import (
    CallerAddress,
    ClientKey,
    ClientSecret,
    IdentityClient,
    TokenRequest,
    TokenRequestCount,
    is_of_account,
    utc_now,
)

LATEST_MAX = 200
"""The number of a client's latest token requests that its page shows."""
CALLERS_MAX = 200
"""The number of addresses stored for a client; beyond, the least recent ones are deleted."""


class LastUse(NamedTuple):
    """When, from where and with which secret or key a client last authenticated, accurate to a minute."""

    at: datetime
    address: str | None
    secret_label: str


def recent_requests(session: Session, account_id: str, client_key: uuid.UUID) -> Sequence[TokenRequest]:
    """Return a client's latest token requests, at most `LATEST_MAX`, newest first."""
    return session.scalars(
        select(TokenRequest)
        .join(IdentityClient, IdentityClient.id == TokenRequest.client_key)
        .where(IdentityClient.account_id == account_id, TokenRequest.client_key == client_key)
        .order_by(TokenRequest.at.desc(), TokenRequest.number.desc())
        .limit(LATEST_MAX)
    ).all()


def daily_counts(
    session: Session, account_id: str, client_key: uuid.UUID, days: int = 30
) -> Sequence[TokenRequestCount]:
    """Return a client's counts by day (UTC), secret and outcome, for so many days up to and including today."""
    today = utc_now().date()
    return session.scalars(
        select(TokenRequestCount)
        .join(IdentityClient, IdentityClient.id == TokenRequestCount.client_key)
        .where(
            IdentityClient.account_id == account_id,
            TokenRequestCount.day.in_([today - timedelta(days=ago) for ago in range(days)]),
            TokenRequestCount.client_key == client_key,
        )
        .order_by(TokenRequestCount.day, TokenRequestCount.secret_label, TokenRequestCount.outcome)
    ).all()


def last_uses(session: Session, account_id: str, client_keys: Collection[uuid.UUID]) -> Mapping[uuid.UUID, LastUse]:
    """Return the last use of each client that ever authenticated."""
    uses = union_all(
        *(
            select(table.client_key, table.last_used_at, table.last_used_address, table.label)
            .join(IdentityClient, IdentityClient.id == table.client_key)
            .where(
                is_of_account(account_id),
                IdentityClient.id.in_(client_keys),
                table.last_used_at.is_not(None),
            )
            for table in (ClientSecret, ClientKey)
        )
    ).subquery()
    rows = session.execute(select(uses).order_by(uses.c.last_used_at))
    return {key: LastUse(at, address, label) for key, at, address, label in rows}


def caller_addresses(session: Session, account_id: str, client_key: uuid.UUID) -> Mapping[str, datetime]:
    """Return the addresses from which a client authenticated, with the last time of each, accurate to a minute.

    About `CALLERS_MAX` are stored.
    """
    rows = session.execute(
        select(CallerAddress.address, CallerAddress.last_at)
        .join(IdentityClient, IdentityClient.id == CallerAddress.client_key)
        .where(IdentityClient.account_id == account_id, CallerAddress.client_key == client_key)
    )
    return {row.address: row.last_at for row in rows}
