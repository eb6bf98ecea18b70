"""SELECTs of the clients of an account that need attention, each by an index."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Select, literal, select, true, union_all

from ...database.models import NO_END, AttentionPeriod, ClientRole, IdentityClient, RefusalDay
from ..attention import ANY, AttentionReason
from .conditions import (
    IS_UNUSED,
    REASONS_WITH_LABEL,
    Unindexed,
    are_overdue,
    holds,
    is_ending,
    is_forbidden_secret,
    is_listed,
    is_refused,
    is_without_use,
    key_of_period,
    latest_start,
)
from .terms import TERMS

REPEATING = frozenset({ANY, AttentionReason.ENDING, AttentionReason.SECRET, AttentionReason.OLD, AttentionReason.TWO})
"""The reasons for which `clients_of` may have a client several times."""
ORDERED = frozenset({AttentionReason.ENDING, AttentionReason.OLD, AttentionReason.TWO, AttentionReason.UNUSED})
"""The reasons that `ordered_clients_of` takes."""


def clients_of(reason: str) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account that need attention: `client_key`, `client_id_folded`.

    A client occurs once, except for one of `REPEATING`: then it may occur for each of its secrets, roles or reasons.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return _merged([_clients_of(one) for one in AttentionReason])
    return _clients_of(AttentionReason(reason))


def ordered_clients_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the same clients, each once, which an index returns in the order of their client IDs.

    It is faster for a reason that applies to many of the clients in the index.

    :param reason: one of `ORDERED`.
    """
    if reason is AttentionReason.UNUSED:
        return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
            IdentityClient.account_id == TERMS.account_id,
            IdentityClient.deleted_at.is_(None),
            IS_UNUSED,
            Unindexed(IdentityClient).created_at <= TERMS.unused_since,
        )
    return (
        select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded)
        .where(*is_listed(reason), holds(reason, Unindexed(AttentionPeriod)))
        .distinct()
    )


def keys_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account with a reason, and `Attention.key` of it: `client_key`, `key`.

    A pair may occur several times.
    """
    if reason not in REASONS_WITH_LABEL:
        rows = _clients_of(reason).subquery()
        return select(rows.c.client_key, literal(reason.value).label("key"))
    return select(AttentionPeriod.client_key, key_of_period(AttentionPeriod).label("key")).where(
        *is_listed(reason), holds(reason, AttentionPeriod)
    )


def _clients_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    match reason:
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            return _clients_by_period(reason)
        case AttentionReason.SECRET:
            return select(ClientRole.client_key, ClientRole.client_id_folded).where(*is_forbidden_secret())
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
            refused = select(RefusalDay.client_key, listed.label("client_id_folded")).where(
                RefusalDay.account_id == TERMS.account_id, RefusalDay.day == TERMS.today, is_refused(RefusalDay)
            )
            # Without an offset the engines merge both SELECTs, and then look for each client twice.
            rows = refused.offset(0).subquery()
            return select(rows.c.client_key, rows.c.client_id_folded).where(rows.c.client_id_folded.is_not(None))
        case AttentionReason.UNUSED:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                IS_UNUSED,
                IdentityClient.created_at <= TERMS.unused_since,
            )
        case AttentionReason.IDLE:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
                is_without_use(AttentionReason.IDLE, IdentityClient),
            )
        case AttentionReason.OVERDUE:
            own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
            )
            # Each is one range of the index.
            return _merged([own.where(condition) for condition in are_overdue(IdentityClient)])


def _clients_by_period(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    listed = select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded).where(*is_listed(reason))
    if reason is AttentionReason.ENDING:
        return listed.where(is_ending(AttentionPeriod))
    # Each is one range of the index. Periods that have an end ahead are few.
    since = AttentionPeriod.since_at <= latest_start(reason)
    without_end = listed.where(AttentionPeriod.until_at == NO_END, since)
    with_end = listed.where(AttentionPeriod.until_at > TERMS.now, AttentionPeriod.until_at < NO_END, since)
    return _merged([without_end, with_end])


def _merged(parts: Sequence[Select[*tuple[Any, ...]]]) -> Select[*tuple[Any, ...]]:
    every = union_all(*parts).subquery()
    return select(every.c.client_key, every.c.client_id_folded)
