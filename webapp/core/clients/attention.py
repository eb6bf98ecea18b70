"""Which enabled clients need attention, and why. A disabled one needs none: it was seen to."""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from ..database.models import ClientSecret, IdentityClient, SecretState, TokenRequestCount, utc_now
from ..database.outcomes import Outcome
from ..usage.writer import REFUSED_PERCENT

ENDING_WITHIN_DAYS = (30, 14, 7, 1)
UNUSED_DAYS = 7
IDLE_DAYS = 90
OLD_DAYS = 365
TWO_SECRETS_DAYS = 30
REFUSED_OF_AT_LEAST = 5
"""Fewer token requests than these say nothing about a client."""
_DAY = timedelta(days=1)


class AttentionReason(StrEnum):
    """Why a client needs attention; the value stands in the address of the list."""

    ENDING = "ending"
    """A secret that works ends within 30 days."""
    REFUSED = "refused"
    """Of its token requests today and yesterday (UTC, as they are counted), at least 5, more than 20 % were refused."""
    UNUSED = "unused"
    """It was made 7 days ago or earlier, and never got a token."""
    IDLE = "idle"
    """It got its last token 90 days ago or earlier."""
    OLD = "old"
    """A secret that has not ended was made a year ago or earlier."""
    TWO = "two"
    """Two secrets have not ended for 30 days: one was forgotten."""


ANY = "any"
FILTERS = (ANY, *AttentionReason)


@dataclass(frozen=True, slots=True)
class Attention:
    """One reason why a client needs attention.

    :param secret_label: the secret that it is about, with ENDING and OLD.
    :param at: when the secret ends (ENDING) or was made (OLD), when the client was made (UNUSED) or got its last token
        (IDLE), since when there have been two secrets (TWO); None with REFUSED.
    :param days: whole days until that moment or since, those to come rounded up.
    :param refused: how many of the token requests were refused, with REFUSED.
    :param requests: how many token requests there were.
    """

    reason: AttentionReason
    secret_label: str | None = None
    at: datetime | None = None
    days: int = 0
    refused: int = 0
    requests: int = 0

    @property
    def within_days(self) -> int:
        """The narrowest of 30, 14, 7 and 1 days within which a secret ends."""
        return min(limit for limit in ENDING_WITHIN_DAYS if limit >= self.days)

    @property
    def key(self) -> str:
        """What tells this reason from the others of its client: a secret that ends is news again as it comes nearer."""
        about = [self.secret_label or ""] if self.reason in (AttentionReason.ENDING, AttentionReason.OLD) else []
        near = [str(self.within_days)] if self.reason is AttentionReason.ENDING else []
        return " ".join([self.reason, *about, *near])


def reasons(session: Session, account_id: str, clients: Collection[IdentityClient]) -> dict[uuid.UUID, list[Attention]]:
    """Return why each of these clients of the account needs attention, by two statements; others are absent."""
    now = utc_now()
    enabled = {client.id: client for client in clients if client.enabled and client.account_id == account_id}
    secrets: dict[uuid.UUID, list[ClientSecret]] = {key: [] for key in enabled}
    for secret in session.scalars(
        select(ClientSecret)
        .where(ClientSecret.client_key.in_(enabled), or_(ClientSecret.ends_at.is_(None), ClientSecret.ends_at > now))
        .order_by(ClientSecret.ends_at.is_(None), ClientSecret.ends_at, ClientSecret.label)
    ):
        secrets[secret.client_key].append(secret)
    issued, refused = dict.fromkeys(enabled, 0), dict.fromkeys(enabled, 0)
    for key, outcome, count in session.execute(
        select(TokenRequestCount.client_key, TokenRequestCount.outcome, func.sum(TokenRequestCount.count))
        .where(TokenRequestCount.client_key.in_(enabled), TokenRequestCount.day.in_([now.date(), now.date() - _DAY]))
        .group_by(TokenRequestCount.client_key, TokenRequestCount.outcome)
    ):
        (issued if outcome == Outcome.ISSUED else refused)[key] += count
    found = {
        key: [*_of_secrets(secrets[key], now), *_of_use(client, issued[key], refused[key], now)]
        for key, client in enabled.items()
    }
    order = list(AttentionReason)
    return {key: sorted(those, key=lambda one: order.index(one.reason)) for key, those in found.items() if those}


def _of_secrets(secrets: Iterable[ClientSecret], now: datetime) -> Iterable[Attention]:
    kept = list(secrets)
    for secret in kept:
        if secret.state_at(now) is SecretState.ENDING and secret.ends_at is not None:
            days = -((now - secret.ends_at) // _DAY)
            if days <= max(ENDING_WITHIN_DAYS):
                yield Attention(AttentionReason.ENDING, secret.label, secret.ends_at, days)
        age = (now - secret.created_at) // _DAY
        if age >= OLD_DAYS:
            yield Attention(AttentionReason.OLD, secret.label, secret.created_at, age)
    if len(kept) > 1:
        since = max(secret.created_at for secret in kept)
        if now - since >= TWO_SECRETS_DAYS * _DAY:
            yield Attention(AttentionReason.TWO, at=since, days=(now - since) // _DAY)


def _of_use(client: IdentityClient, issued: int, refused: int, now: datetime) -> Iterable[Attention]:
    requests = issued + refused
    if requests >= REFUSED_OF_AT_LEAST and refused * 100 > requests * REFUSED_PERCENT:
        yield Attention(AttentionReason.REFUSED, refused=refused, requests=requests)
    if client.last_token_at is None:
        if now - client.created_at >= UNUSED_DAYS * _DAY:
            yield Attention(AttentionReason.UNUSED, at=client.created_at, days=(now - client.created_at) // _DAY)
    elif now - client.last_token_at >= IDLE_DAYS * _DAY:
        yield Attention(AttentionReason.IDLE, at=client.last_token_at, days=(now - client.last_token_at) // _DAY)
