"""Find the enabled clients that need attention, and the reasons. Disabled clients never need it."""

import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Engine, Select, bindparam, func, or_, select
from sqlalchemy.orm import Session

from ..account_settings import keys_only_roles
from ..database.models import (
    ClientKey,
    ClientSecret,
    IdentityClient,
    SecretState,
    TokenRequestCount,
    secret_state,
    utc_now,
)
from ..database.outcomes import Outcome
from ..usage.refusal_days import REFUSED_PERCENT

ENDING_WITHIN_DAYS = (30, 14, 7, 1)
UNUSED_DAYS = 7
IDLE_DAYS = 90
OLD_DAYS = 365
TWO_SECRETS_DAYS = 30
REVIEW_DAYS = 180
"""After how many days without a review a client is overdue, where no setting says otherwise."""
REFUSED_OF_AT_LEAST = 5
"""With fewer token requests the share of refused ones is not significant."""
_DAY = timedelta(days=1)
_REVIEW_DAYS_OPTION = "identity_clients_review_days"


class AttentionReason(StrEnum):
    """A reason why a client needs attention; the value is a query parameter of the list."""

    ENDING = "ending"
    """A live secret or key ends within 30 days."""
    SECRET = "secret"  # noqa: S105 - the name of a reason
    """It has a secret and a role whose clients may have none in this account."""
    REFUSED = "refused"
    """Of its token requests of today and yesterday (UTC), at least 5, more than 20 % were refused."""
    UNUSED = "unused"
    """It was created 7 or more days ago, and has never got a token."""
    IDLE = "idle"
    """It got its last token 90 or more days ago."""
    OLD = "old"
    """A secret or key that has not ended was created a year ago or earlier."""
    TWO = "two"
    """Two secrets have not ended for 30 days, so one is probably forgotten."""
    OVERDUE = "overdue"
    """Its last access review, or its creation, is as many days ago as the setting allows, or more."""


ANY = "any"
FILTERS = (ANY, *AttentionReason)


@dataclass(frozen=True, slots=True)
class Attention:
    """One reason why a client needs attention.

    :param secret_label: the label of the secret or key, with ENDING and OLD.
    :param at: when it ends (ENDING) or was created (OLD), when the client was created (UNUSED) or got its last
        token (IDLE), since when there have been two secrets (TWO), when the client was last reviewed, or created
        (OVERDUE); None with REFUSED and SECRET.
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


def with_review_days(engine: Engine, days: int) -> Engine:
    """Return a copy of an engine, on the same pool, whose sessions find a client overdue after so many days."""
    return engine.execution_options(**{_REVIEW_DAYS_OPTION: days})


class Rules(NamedTuple):
    """What the reasons of an account depend on, besides its clients and the time.

    :param overdue_days: after how many days without a review a client is overdue.
    :param keys_only_roles: the API roles whose clients may have no secret.
    """

    overdue_days: int
    keys_only_roles: frozenset[str]


def rules_of(session: Session, account_id: str) -> Rules:
    """Return the rules of an account, by one statement."""
    days: int = session.get_bind().get_execution_options().get(_REVIEW_DAYS_OPTION, REVIEW_DAYS)
    return Rules(days, keys_only_roles(session, account_id))


class _Credential(NamedTuple):
    """What the reasons depend on of a secret or a key that has not ended."""

    client_key: uuid.UUID
    label: str
    created_at: datetime
    ends_at: datetime | None
    paused_at: datetime | None


class _Credentials(NamedTuple):
    """The secrets and keys of one client that have not ended, those that end first before the others."""

    secrets: list[_Credential]
    keys: list[_Credential]


def reasons(session: Session, account_id: str, clients: Collection[IdentityClient]) -> dict[uuid.UUID, list[Attention]]:
    """Return the reasons of each of these clients that needs attention, by client key, with four statements."""
    now = utc_now()
    enabled = {client.id: client for client in clients if client.enabled and client.account_id == account_id}
    credentials = {key: _Credentials([], []) for key in enabled}
    of_page = {"client_keys": list(enabled), "now": now}
    for row in session.execute(_SECRETS, of_page):
        credentials[row.client_key].secrets.append(_Credential(*row))
    for row in session.execute(_KEYS, of_page):
        credentials[row.client_key].keys.append(_Credential(*row))
    issued, refused = dict.fromkeys(enabled, 0), dict.fromkeys(enabled, 0)
    days = {"client_keys": list(enabled), "days": [now.date(), now.date() - _DAY]}
    for key, outcome, count in session.execute(_REQUESTS, days):
        (issued if outcome == Outcome.ISSUED else refused)[key] += count
    rules = rules_of(session, account_id)
    found = {
        key: [
            *_credential_reasons(credentials[key], now),
            *_keys_only_reasons(client, rules.keys_only_roles, credentials[key]),
            *_usage_reasons(client, issued[key], refused[key], now),
            *_review_reasons(client, rules.overdue_days, now),
        ]
        for key, client in enabled.items()
    }
    order = list(AttentionReason)
    return {key: sorted(those, key=lambda one: order.index(one.reason)) for key, those in found.items() if those}


_CLIENT_KEYS: BindParameter[Any] = bindparam("client_keys", expanding=True)


def _not_ended(table: type[ClientSecret] | type[ClientKey]) -> Select[*tuple[Any, ...]]:
    return (
        select(table.client_key, table.label, table.created_at, table.ends_at, table.paused_at)
        .where(table.client_key.in_(_CLIENT_KEYS), or_(table.ends_at.is_(None), table.ends_at > bindparam("now")))
        .order_by(table.ends_at.is_(None), table.ends_at, table.label)
    )


# Built once: that takes several times as long as running them.
_SECRETS, _KEYS = _not_ended(ClientSecret), _not_ended(ClientKey)
_REQUESTS = (
    select(TokenRequestCount.client_key, TokenRequestCount.outcome, func.sum(TokenRequestCount.count))
    .where(
        TokenRequestCount.client_key.in_(_CLIENT_KEYS),
        TokenRequestCount.day.in_(bindparam("days", expanding=True)),
    )
    .group_by(TokenRequestCount.client_key, TokenRequestCount.outcome)
)


def _credential_reasons(credentials: _Credentials, now: datetime) -> Iterable[Attention]:
    for each in (*credentials.secrets, *credentials.keys):
        if each.ends_at is not None and secret_state(each.ends_at, each.paused_at, now) is SecretState.ENDING:
            days = -((now - each.ends_at) // _DAY)
            if days <= max(ENDING_WITHIN_DAYS):
                yield Attention(AttentionReason.ENDING, each.label, each.ends_at, days)
        age = (now - each.created_at) // _DAY
        if age >= OLD_DAYS:
            yield Attention(AttentionReason.OLD, each.label, each.created_at, age)
    if len(credentials.secrets) > 1:
        since = max(secret.created_at for secret in credentials.secrets)
        if now - since >= TWO_SECRETS_DAYS * _DAY:
            yield Attention(AttentionReason.TWO, at=since, days=(now - since) // _DAY)


def _keys_only_reasons(
    client: IdentityClient, keys_only: Collection[str], credentials: _Credentials
) -> Iterable[Attention]:
    if credentials.secrets and not client.roles.isdisjoint(keys_only):
        yield Attention(AttentionReason.SECRET)


def _usage_reasons(client: IdentityClient, issued: int, refused: int, now: datetime) -> Iterable[Attention]:
    requests = issued + refused
    if requests >= REFUSED_OF_AT_LEAST and refused * 100 > requests * REFUSED_PERCENT:
        yield Attention(AttentionReason.REFUSED, refused=refused, requests=requests)
    if client.last_token_at is None:
        if now - client.created_at >= UNUSED_DAYS * _DAY:
            yield Attention(AttentionReason.UNUSED, at=client.created_at, days=(now - client.created_at) // _DAY)
    elif now - client.last_token_at >= IDLE_DAYS * _DAY:
        yield Attention(AttentionReason.IDLE, at=client.last_token_at, days=(now - client.last_token_at) // _DAY)


def _review_reasons(client: IdentityClient, overdue_days: int, now: datetime) -> Iterable[Attention]:
    since = client.reviewed_at or client.created_at
    if now - since >= overdue_days * _DAY:
        yield Attention(AttentionReason.OVERDUE, at=since, days=(now - since) // _DAY)
