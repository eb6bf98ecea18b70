"""Find the clients of an account that need attention, by indexes whose cost does not grow with the account.

A reason depends on the time: what the database keeps are moments (`AttentionPeriod`, the columns of the client), which
are compared with the present. Only the share of refused token requests is noted by day (`RefusalDay`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, literal_column, or_, select, true, union
from sqlalchemy.orm import Session, aliased

from ..database.models import (
    NO_END,
    AttentionPeriod,
    IdentityClient,
    RefusalDay,
    TokenRequestCount,
    utc_now,
)
from ..database.outcomes import Outcome
from ..usage.writer import REFUSED_PERCENT
from .attention import (
    ANY,
    ENDING_WITHIN_DAYS,
    IDLE_DAYS,
    OLD_DAYS,
    REFUSED_OF_AT_LEAST,
    TWO_SECRETS_DAYS,
    UNUSED_DAYS,
    AttentionReason,
)

COUNT_MAX = 1_000
"""How many clients are counted for one reason; beyond, there are "1,000+"."""
_DAY = timedelta(days=1)
_NEVER: ColumnElement[Any] = literal_column("0")  # a literal, since a partial index is for it


@dataclass(frozen=True, slots=True)
class Summary:
    """How many clients of an account need attention.

    :param by_reason: for each reason that there is, at most `COUNT_MAX`; one client may have several.
    :param first_end_at: when the first secret ends, with ENDING.
    :param more: the reasons for which there are more clients than were counted.
    """

    by_reason: Mapping[AttentionReason, int]
    first_end_at: datetime | None = None
    more: frozenset[AttentionReason] = field(default_factory=frozenset)


def summary(session: Session, account_id: str) -> Summary:
    """Return how many of the account's clients need attention, by one statement, or two where a secret ends."""
    now = utc_now()
    found = {reason: clients_of(reason, account_id, now, limit=COUNT_MAX + 1) for reason in AttentionReason}
    counts = session.execute(
        select(*(select(func.count()).select_from(keys.subquery()).scalar_subquery() for keys in found.values()))
    ).one()
    by_reason = {reason: min(count, COUNT_MAX) for reason, count in zip(found, counts, strict=True) if count}
    more = frozenset(reason for reason, count in zip(found, counts, strict=True) if count > COUNT_MAX)
    first_end_at = None
    if AttentionReason.ENDING in by_reason:
        first_end_at = session.scalar(
            select(AttentionPeriod.until_at)
            .where(*_is_listed(AttentionReason.ENDING, account_id), _is_ending(AttentionPeriod, now))
            .order_by(AttentionPeriod.until_at)
            .limit(1)
        )
    return Summary(by_reason, first_end_at, more)


def clients_of(reason: str, account_id: str, now: datetime, *, limit: int | None = None) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account that need attention: `client_key`, `client_id_folded`, each once.

    :param reason: an `AttentionReason`, or `ANY`.
    :param limit: how many to return at most, of each reason.
    """
    if reason == ANY:
        parts = [clients_of(one, account_id, now, limit=limit).subquery() for one in AttentionReason]
        every = union(*(select(part.c.client_key, part.c.client_id_folded) for part in parts)).subquery()
        return select(every.c.client_key, every.c.client_id_folded)
    match AttentionReason(reason):
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            found = _by_period(AttentionReason(reason), account_id, now, limit)
        case AttentionReason.REFUSED:
            # Not a join, for which PostgreSQL may prefer to read the clients of all accounts.
            listed = (
                select(IdentityClient.client_id_folded)
                .where(
                    IdentityClient.id == RefusalDay.client_key,
                    IdentityClient.deleted_at.is_(None),
                    IdentityClient.enabled == true(),
                )
                .scalar_subquery()
            )
            found = select(RefusalDay.client_key, listed.label("client_id_folded")).where(
                RefusalDay.account_id == account_id,
                RefusalDay.day == now.date(),
                listed.is_not(None),
                _is_refused(RefusalDay.client_key, now),
            )
        case _:
            found = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
                _is_without_use(AttentionReason(reason), now),
            )
    return found if limit is None else found.limit(limit)


def needs_attention(reason: str, account_id: str, now: datetime) -> ColumnElement[bool]:
    """Return the condition that a client of the account needs attention, for where most of a page's rows do.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return or_(*(needs_attention(one, account_id, now) for one in AttentionReason))
    match AttentionReason(reason):
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            period = aliased(AttentionPeriod)
            # Counted: for EXISTS PostgreSQL may prefer to read the periods of all accounts.
            such = select(func.count()).where(
                period.client_key == IdentityClient.id,
                period.reason == reason,
                _holds(AttentionReason(reason), period, now),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.REFUSED:
            day = aliased(RefusalDay)
            noted = select(func.count()).where(
                day.account_id == account_id, day.day == now.date(), day.client_key == IdentityClient.id
            )
            needs = and_(noted.scalar_subquery() > 0, _is_refused(IdentityClient.id, now))
        case _:
            needs = _is_without_use(AttentionReason(reason), now)
    return and_(IdentityClient.enabled == true(), needs)


def days_counted(now: datetime) -> list[date]:
    """Return the days (UTC) whose token requests decide whether many are refused: today and yesterday."""
    return [now.date(), now.date() - _DAY]


def _by_period(reason: AttentionReason, account_id: str, now: datetime, limit: int | None) -> Select[*tuple[Any, ...]]:
    listed = select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded).where(*_is_listed(reason, account_id))
    if reason is AttentionReason.ENDING:
        return listed.where(_is_ending(AttentionPeriod, now)).distinct()
    # Each is one range of the index. Periods that have an end ahead are few.
    since = AttentionPeriod.since_at <= _begun(reason, now)
    parts = [
        listed.where(AttentionPeriod.until_at == NO_END, since).limit(limit).subquery(),
        listed.where(AttentionPeriod.until_at > now, AttentionPeriod.until_at < NO_END, since).limit(limit).subquery(),
    ]
    found = union(*(select(part.c.client_key, part.c.client_id_folded) for part in parts)).subquery()
    return select(found.c.client_key, found.c.client_id_folded)


def _is_listed(reason: AttentionReason, account_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return AttentionPeriod.account_id == account_id, AttentionPeriod.reason == reason.value


def _holds(reason: AttentionReason, period: Any, now: datetime) -> ColumnElement[bool]:
    if reason is AttentionReason.ENDING:
        return _is_ending(period, now)
    return and_(period.until_at > now, period.since_at <= _begun(reason, now))


def _is_ending(period: Any, now: datetime) -> ColumnElement[bool]:
    return and_(period.until_at > now, period.until_at <= now + max(ENDING_WITHIN_DAYS) * _DAY)


def _begun(reason: AttentionReason, now: datetime) -> datetime:
    return now - (OLD_DAYS if reason is AttentionReason.OLD else TWO_SECRETS_DAYS) * _DAY


def _is_without_use(reason: AttentionReason, now: datetime) -> ColumnElement[bool]:
    if reason is AttentionReason.UNUSED:
        return and_(IdentityClient.last_token_at == _NEVER, IdentityClient.created_at <= now - UNUSED_DAYS * _DAY)
    idle_since = literal(now - IDLE_DAYS * _DAY, IdentityClient.last_token_at.type)
    return and_(IdentityClient.last_token_at > _NEVER, IdentityClient.last_token_at <= idle_since)


def _is_refused(client_key: Any, now: datetime) -> ColumnElement[bool]:
    """Return the condition that many of a client's token requests of today and yesterday were refused."""
    refused = func.sum(case((TokenRequestCount.outcome != Outcome.ISSUED, TokenRequestCount.count), else_=0))
    requests = func.sum(TokenRequestCount.count)
    share = case((requests >= REFUSED_OF_AT_LEAST, refused * 100 - requests * REFUSED_PERCENT), else_=0)
    counted = select(share).where(
        TokenRequestCount.client_key == client_key, TokenRequestCount.day.in_(days_counted(now))
    )
    return counted.scalar_subquery() > 0
