"""Find the enabled clients that need attention, and the reasons. Disabled clients never need it."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, case, exists, func, literal, or_, select
from sqlalchemy.orm import Session

from ..database.models import ClientSecret, IdentityClient, SecretState, TokenRequestCount, utc_now
from ..database.outcomes import Outcome

ENDING_WITHIN_DAYS = (30, 14, 7, 1)
UNUSED_DAYS = 7
IDLE_DAYS = 90
OLD_DAYS = 365
TWO_SECRETS_DAYS = 30
REFUSED_PERCENT = 20
REFUSED_OF_AT_LEAST = 5
"""With fewer token requests the share of refused ones is not significant."""
_DAY = timedelta(days=1)


class AttentionReason(StrEnum):
    """A reason why a client needs attention; the value is a query parameter of the list."""

    ENDING = "ending"
    """A live secret ends within 30 days."""
    REFUSED = "refused"
    """Of its token requests of today and yesterday (UTC), at least 5, more than 20 % were refused."""
    UNUSED = "unused"
    """It was created 7 or more days ago, and has never got a token."""
    IDLE = "idle"
    """It got its last token 90 or more days ago."""
    OLD = "old"
    """A secret that has not ended was created a year ago or earlier."""
    TWO = "two"
    """Two secrets have not ended for 30 days, so one is probably forgotten."""


ANY = "any"
FILTERS = (ANY, *AttentionReason)


@dataclass(frozen=True, slots=True)
class Attention:
    """One reason why a client needs attention.

    :param secret_label: the label of the secret, with ENDING and OLD.
    :param at: when the secret ends (ENDING) or was created (OLD), when the client was created (UNUSED) or got its last
        token (IDLE), since when there have been two secrets (TWO); None with REFUSED.
    :param days: whole days until that moment, rounded up, or since then, rounded down.
    :param refused: the number of refused token requests, with REFUSED.
    :param requests: the number of all token requests, with REFUSED.
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
        """The identity of this reason within its client; that of an ending secret changes as its end comes nearer."""
        secret = [self.secret_label or ""] if self.reason in (AttentionReason.ENDING, AttentionReason.OLD) else []
        near = [str(self.within_days)] if self.reason is AttentionReason.ENDING else []
        return " ".join([self.reason, *secret, *near])


@dataclass(frozen=True, slots=True)
class Summary:
    """The number of clients of an account that need attention.

    :param clients: the number for any reason.
    :param by_reason: the number for each reason, without zeros; one client may have several reasons.
    :param first_end_at: when the first secret ends; None without ENDING.
    """

    clients: int
    by_reason: Mapping[AttentionReason, int]
    first_end_at: datetime | None


def needs_attention(reason: str, now: datetime) -> ColumnElement[bool]:
    """Return the SQL condition that a client needs attention.

    :param reason: one of `FILTERS`.
    """
    conditions = _conditions(now)
    wanted = conditions.values() if reason == ANY else [conditions[AttentionReason(reason)]]
    return and_(IdentityClient.enabled, or_(*wanted))


def summary(session: Session, account_id: str) -> Summary:
    """Count the clients of an account that need attention, by one statement, or two where a secret ends."""
    now = utc_now()
    own = (IdentityClient.account_id == account_id, IdentityClient.deleted_at.is_(None), IdentityClient.enabled)
    conditions = (condition.label(reason) for reason, condition in _conditions(now).items())
    # Materialized, since each condition would be evaluated twice otherwise.
    judged = select(*conditions).where(*own).cte("judged").prefix_with("MATERIALIZED")
    any_count, *counts = session.execute(
        select(
            func.count().filter(or_(*(judged.c[reason] for reason in AttentionReason))),
            *(func.count().filter(judged.c[reason]) for reason in AttentionReason),
        )
    ).one()
    by_reason = {reason: count for reason, count in zip(AttentionReason, counts, strict=True) if count}
    first_end_at = None
    if AttentionReason.ENDING in by_reason:
        first_end_at = session.scalar(
            select(func.min(ClientSecret.ends_at))
            .join(IdentityClient, IdentityClient.id == ClientSecret.client_key)
            .where(*own, _is_ending(now))
        )
    return Summary(any_count, by_reason, first_end_at)


def _conditions(now: datetime) -> dict[AttentionReason, ColumnElement[bool]]:
    """Return the SQL condition of each reason."""

    def count_secrets(*conditions: ColumnElement[bool]) -> ColumnElement[int]:
        # A count, since for EXISTS PostgreSQL may choose to read the secrets of all accounts.
        ours = ClientSecret.client_key == IdentityClient.id
        return select(func.count()).where(ours, *conditions).scalar_subquery()

    not_ended = or_(ClientSecret.ends_at.is_(None), ClientSecret.ends_at > now)
    never = literal(None, IdentityClient.last_token_at.type)
    refused = func.sum(case((TokenRequestCount.outcome != Outcome.ISSUED, TokenRequestCount.count), else_=0))
    requests = func.sum(TokenRequestCount.count)
    return {
        AttentionReason.ENDING: count_secrets(_is_ending(now)) > 0,
        AttentionReason.REFUSED: exists(
            select(TokenRequestCount.client_key)
            .where(TokenRequestCount.client_key == IdentityClient.id, TokenRequestCount.day.in_(_days_counted(now)))
            .group_by(TokenRequestCount.client_key)
            .having(requests >= REFUSED_OF_AT_LEAST, refused * 100 > requests * REFUSED_PERCENT)
        ),
        AttentionReason.UNUSED: and_(
            IdentityClient.last_token_at == never, IdentityClient.created_at <= now - UNUSED_DAYS * _DAY
        ),
        AttentionReason.IDLE: and_(
            IdentityClient.last_token_at > never, IdentityClient.last_token_at <= now - IDLE_DAYS * _DAY
        ),
        AttentionReason.OLD: count_secrets(not_ended, ClientSecret.created_at <= now - OLD_DAYS * _DAY) > 0,
        AttentionReason.TWO: count_secrets(not_ended, ClientSecret.created_at <= now - TWO_SECRETS_DAYS * _DAY) >= 2,
    }


def _is_ending(now: datetime) -> ColumnElement[bool]:
    return and_(
        ClientSecret.ends_at > now,
        ClientSecret.ends_at <= now + max(ENDING_WITHIN_DAYS) * _DAY,
        ClientSecret.paused_at.is_(None),
    )


def _days_counted(now: datetime) -> list[date]:
    """Return the days (UTC) whose token requests REFUSED counts."""
    return [now.date(), now.date() - _DAY]


def reasons(session: Session, account_id: str, clients: Collection[IdentityClient]) -> dict[uuid.UUID, list[Attention]]:
    """Return the reasons of each of these clients that needs attention, by client key, with two statements."""
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
        .where(TokenRequestCount.client_key.in_(enabled), TokenRequestCount.day.in_(_days_counted(now)))
        .group_by(TokenRequestCount.client_key, TokenRequestCount.outcome)
    ):
        (issued if outcome == Outcome.ISSUED else refused)[key] += count
    found = {
        key: [*_secret_reasons(secrets[key], now), *_usage_reasons(client, issued[key], refused[key], now)]
        for key, client in enabled.items()
    }
    order = list(AttentionReason)
    return {key: sorted(those, key=lambda one: order.index(one.reason)) for key, those in found.items() if those}


def _secret_reasons(secrets: Iterable[ClientSecret], now: datetime) -> Iterable[Attention]:
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


def _usage_reasons(client: IdentityClient, issued: int, refused: int, now: datetime) -> Iterable[Attention]:
    requests = issued + refused
    if requests >= REFUSED_OF_AT_LEAST and refused * 100 > requests * REFUSED_PERCENT:
        yield Attention(AttentionReason.REFUSED, refused=refused, requests=requests)
    if client.last_token_at is None:
        if now - client.created_at >= UNUSED_DAYS * _DAY:
            yield Attention(AttentionReason.UNUSED, at=client.created_at, days=(now - client.created_at) // _DAY)
    elif now - client.last_token_at >= IDLE_DAYS * _DAY:
        yield Attention(AttentionReason.IDLE, at=client.last_token_at, days=(now - client.last_token_at) // _DAY)
