"""The conditions under which a client needs attention, on the client and on the rows that are kept for a reason."""

from typing import Any

from sqlalchemy import ColumnElement, and_, case, func, literal_column, or_, select, text, true
from sqlalchemy.orm import aliased

from ...database.models import AttentionPeriod, ClientRole, IdentityClient, RefusalDay
from ...usage.refusal_days import REFUSED_PERCENT
from ..attention import ANY, ENDING_WITHIN_DAYS, REFUSED_OF_AT_LEAST, AttentionReason
from .terms import TERMS, within

_NEVER: ColumnElement[Any] = literal_column("0")
REASONS_WITH_LABEL = (AttentionReason.ENDING, AttentionReason.OLD)
# As the partial indexes have it.
IS_UNUSED = text("CASE WHEN identity_clients.enabled THEN identity_clients.last_token_at END = 0")


class Unindexed:
    """The columns of a table as expressions, for which no index is chosen."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> ColumnElement[Any]:
        column = getattr(self._table, name)
        return func.coalesce(column, column, type_=column.type)


def needs_attention(reason: str) -> ColumnElement[bool]:
    """Return the condition that a client of the account needs attention, for where most of a page's rows do.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return or_(*(_needs_attention(one) for one in AttentionReason))
    return _needs_attention(AttentionReason(reason))


def has_reason(key: Any) -> ColumnElement[bool]:
    """Return the condition that a client of the account needs attention for one reason.

    :param key: `Attention.key` of the reason, as an expression.
    """
    period = aliased(AttentionPeriod)
    with_label = (
        select(func.count())
        .where(
            period.client_key == IdentityClient.id,
            key_of_period(period) == key,
            or_(*(and_(period.reason == one.value, holds(one, period)) for one in REASONS_WITH_LABEL)),
        )
        .scalar_subquery()
    )
    others = [one for one in AttentionReason if one not in REASONS_WITH_LABEL]
    return or_(with_label > 0, *(and_(key == one.value, _needs_attention(one)) for one in others))


def _needs_attention(reason: AttentionReason) -> ColumnElement[bool]:
    match reason:
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            period = aliased(AttentionPeriod)
            # Counted: for EXISTS PostgreSQL may prefer to read the periods of all accounts.
            such = select(func.count()).where(
                period.client_key == IdentityClient.id,
                period.reason == reason,
                holds(reason, period),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.SECRET:
            roles = select(func.count()).where(
                *is_forbidden_secret(),
                ClientRole.client_key == IdentityClient.id,
            )
            needs = roles.correlate(IdentityClient).scalar_subquery() > 0
        case AttentionReason.REFUSED:
            day = aliased(RefusalDay)
            such = select(func.count()).where(
                day.account_id == TERMS.account_id,
                day.day == TERMS.today,
                day.client_key == IdentityClient.id,
                is_refused(day),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.OVERDUE:
            needs = or_(*are_overdue(Unindexed(IdentityClient)))
        case AttentionReason.UNUSED | AttentionReason.IDLE:
            # Else SQLite may sort all that an index for the reason finds.
            needs = is_without_use(reason, Unindexed(IdentityClient))
    return and_(IdentityClient.enabled == true(), needs)


def key_of_period(period: Any) -> ColumnElement[str]:
    """Return `Attention.key` of a period of one of `REASONS_WITH_LABEL`."""
    nearness = [(period.until_at <= within(days), f" {days}") for days in sorted(ENDING_WITHIN_DAYS)]
    suffix = case((period.reason != AttentionReason.ENDING.value, ""), *nearness, else_="")
    key: ColumnElement[str] = period.reason + " " + period.secret_label + suffix
    return key


def is_forbidden_secret() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for a role of a client with a secret whose account forbids secrets with its role."""
    return (
        ClientRole.account_id == TERMS.account_id,
        ClientRole.role.in_(TERMS.keys_only_roles),
        ClientRole.secret_until_at > TERMS.now,
    )


def is_listed(reason: AttentionReason) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions that a period is one of the account's for a reason, at whatever time."""
    return AttentionPeriod.account_id == TERMS.account_id, AttentionPeriod.reason == reason.value


def holds(reason: AttentionReason, period: Any) -> ColumnElement[bool]:
    """Return the condition that a period for a reason is one at present."""
    if reason is AttentionReason.ENDING:
        return is_ending(period)
    return and_(period.until_at > TERMS.now, period.since_at <= latest_start(reason))


def is_ending(period: Any) -> ColumnElement[bool]:
    """Return the condition that the secret or key of a period ends soon."""
    return and_(period.until_at > TERMS.now, period.until_at <= within(max(ENDING_WITHIN_DAYS)))


def latest_start(reason: AttentionReason) -> Any:
    """Return the time at which a period must have begun to be old enough for a reason."""
    return TERMS.old_since if reason is AttentionReason.OLD else TERMS.two_since


def is_without_use(reason: AttentionReason, client: Any) -> ColumnElement[bool]:
    """Return the condition that a client got no token at all (UNUSED), or none for long (IDLE)."""
    if reason is AttentionReason.UNUSED:
        return and_(client.last_token_at == _NEVER, client.created_at <= TERMS.unused_since)
    return and_(client.last_token_at > _NEVER, client.last_token_at <= TERMS.idle_since)


def are_overdue(client: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of which one holds for an overdue client: never reviewed, or not since."""
    return (
        and_(client.reviewed_at == _NEVER, client.created_at <= TERMS.unreviewed_since),
        and_(client.reviewed_at > _NEVER, client.reviewed_at <= TERMS.reviewed_until),
    )


def is_refused(day: Any) -> ColumnElement[bool]:
    """Return the condition that the share of refused token requests of a `RefusalDay` is too high."""
    return and_(day.requests >= REFUSED_OF_AT_LEAST, day.refused * 100 > day.requests * REFUSED_PERCENT)
