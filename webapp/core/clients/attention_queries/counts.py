"""How many clients of an account need attention, for one reason or for all at once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Integer, Select, Subquery, bindparam, func, literal, select, union_all
from sqlalchemy.orm import Session

from ...database.models import AttentionPeriod, ClientKey
from ..attention import ANY, AttentionReason
from .conditions import is_ending, is_listed
from .selects import clients_of
from .terms import values_of

COUNT_MAX = 100
"""How many clients are counted for one reason; beyond, there are "100+"."""


@dataclass(frozen=True, slots=True)
class Summary:
    """How many clients of an account need attention.

    :param by_reason: for each reason that there is, at most `COUNT_MAX`; one client may have several.
    :param ending: how many secrets and keys end, with ENDING, at most `COUNT_MAX`.
    :param keys_end: whether there are keys among them.
    :param first_end_at: when the first of them ends.
    :param more: the reasons for which there are more clients than were counted.
    """

    by_reason: Mapping[AttentionReason, int]
    ending: int = 0
    keys_end: bool = False
    first_end_at: datetime | None = None
    more: frozenset[AttentionReason] = field(default_factory=frozenset)


def summary(session: Session, account_id: str) -> Summary:
    """Return how many of the account's clients need attention, by two statements, or three where credentials end."""
    values = values_of(session, account_id)
    by_reason, more = {}, set()
    for name, clients, rows in session.execute(_COUNT_OF_ALL, {**values, "limit": COUNT_MAX + 1}):
        reason = AttentionReason(name)
        if rows > COUNT_MAX:  # those beyond the limit may be of other clients
            more.add(reason)
        if rows:
            by_reason[reason] = COUNT_MAX if rows > COUNT_MAX else clients
    if AttentionReason.ENDING not in by_reason:
        return Summary(by_reason, more=frozenset(more))
    count, keys, first_end_at = session.execute(_COUNT_OF_ENDING, {**values, "limit": COUNT_MAX}).one()
    return Summary(by_reason, count, bool(keys), first_end_at, frozenset(more))


def count_rows(session: Session, reason: str, values: Mapping[str, Any], limit: int) -> int:
    """Return how many rows `clients_of` has, at most one more than a limit; no fewer than there are clients."""
    count = 0
    for one in AttentionReason if reason == ANY else [AttentionReason(reason)]:
        count += session.scalar(_COUNT_OF_ROWS[one], {**values, "limit": limit + 1 - count}) or 0
        if count > limit:
            break
    return count


def _rows(reason: AttentionReason) -> Subquery:
    return clients_of(reason).limit(_LIMIT).subquery()


def _count_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    rows = _rows(reason)
    clients = func.count(rows.c.client_key.distinct())
    return select(literal(reason.value), clients, func.count()).select_from(rows)


_LIMIT = bindparam("limit", type_=Integer)
_COUNT_OF_ROWS = {reason: select(func.count()).select_from(_rows(reason)) for reason in AttentionReason}
_COUNT_OF_ALL = union_all(*map(_count_of, AttentionReason))
_ENDING = (
    select(
        AttentionPeriod.until_at,
        select(func.count())
        .where(ClientKey.client_key == AttentionPeriod.client_key, ClientKey.ends_at == AttentionPeriod.until_at)
        .correlate(AttentionPeriod)
        .scalar_subquery()
        .label("ending_keys"),
    )
    .where(*is_listed(AttentionReason.ENDING), is_ending(AttentionPeriod))
    .order_by(AttentionPeriod.until_at)
    .limit(_LIMIT)
    .subquery()
)
"""When secrets and keys end soon, and how many keys of the same client end at that moment."""
_COUNT_OF_ENDING = select(func.count(), func.sum(_ENDING.c.ending_keys), func.min(_ENDING.c.until_at))
