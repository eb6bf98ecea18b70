"""Find the clients of an account that need attention, by indexes whose cost does not grow with the account.

A reason depends on the time: what the database keeps are moments (`AttentionPeriod`, the columns of the client), which
are compared with the present. Only the share of refused token requests is noted by day (`RefusalDay`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, literal, literal_column, or_, select, text, true, union_all
from sqlalchemy.orm import Session, aliased

from ..database.models import (
    NO_END,
    AttentionPeriod,
    ClientKey,
    ClientRole,
    IdentityClient,
    RefusalDay,
    utc_now,
)
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
    Rules,
    rules_of,
)

COUNT_MAX = 100
"""How many clients are counted for one reason; beyond, there are "100+"."""
_DAY = timedelta(days=1)
_NEVER: ColumnElement[Any] = literal_column("0")
# As the partial indexes have it.
_IS_UNUSED = text("CASE WHEN identity_clients.enabled THEN identity_clients.last_token_at END = 0")


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
    """Return how many of the account's clients need attention, by two statements, or four where secrets or keys end."""
    now, rules = utc_now(), rules_of(session, account_id)
    by_reason, more = {}, set()
    counts = session.execute(union_all(*(_counted(reason, account_id, now, rules) for reason in AttentionReason)))
    for name, clients, rows in counts:
        reason = AttentionReason(name)
        if rows > COUNT_MAX:  # those beyond the limit may be of other clients
            more.add(reason)
        if rows:
            by_reason[reason] = COUNT_MAX if rows > COUNT_MAX else clients
    if AttentionReason.ENDING not in by_reason:
        return Summary(by_reason, more=frozenset(more))
    ending = session.execute(
        select(AttentionPeriod.until_at, AttentionPeriod.client_key)
        .where(*_is_listed(AttentionReason.ENDING, account_id), _is_ending(AttentionPeriod, now))
        .order_by(AttentionPeriod.until_at)
        .limit(COUNT_MAX)
    ).all()
    keys_end = session.scalar(
        select(ClientKey.id)
        .where(
            ClientKey.client_key.in_({client_key for _, client_key in ending}),
            ClientKey.ends_at.in_({until_at for until_at, _ in ending}),
        )
        .limit(1)
    )
    return Summary(by_reason, len(ending), keys_end is not None, ending[0].until_at, frozenset(more))


def _counted(reason: AttentionReason, account_id: str, now: datetime, rules: Rules) -> Select[*tuple[Any, ...]]:
    rows = clients_of(reason, account_id, now, rules).limit(COUNT_MAX + 1).subquery()
    return select(literal(reason.value), func.count(rows.c.client_key.distinct()), func.count()).select_from(rows)


def count_rows(session: Session, reason: str, account_id: str, limit: int) -> int:
    """Return how many rows `clients_of` has, at most one more than a limit; no fewer than there are clients."""
    count, now, rules = 0, utc_now(), rules_of(session, account_id)
    for one in AttentionReason if reason == ANY else [AttentionReason(reason)]:
        rows = clients_of(one, account_id, now, rules).limit(limit + 1 - count).subquery()
        count += session.scalar(select(func.count()).select_from(rows)) or 0
        if count > limit:
            break
    return count


def clients_of(reason: str, account_id: str, now: datetime, rules: Rules) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account that need attention: `client_key`, `client_id_folded`.

    A client may occur once for each of its secrets or roles, and with `ANY` for each reason.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return _merged([clients_of(one, account_id, now, rules) for one in AttentionReason])
    match AttentionReason(reason):
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            return _clients_by_period(AttentionReason(reason), account_id, now)
        case AttentionReason.SECRET:
            return select(ClientRole.client_key, ClientRole.client_id_folded).where(
                *_is_forbidden_secret(account_id, rules.keys_only_roles, now)
            )
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
            return select(RefusalDay.client_key, listed.label("client_id_folded")).where(
                RefusalDay.account_id == account_id,
                RefusalDay.day == now.date(),
                listed.is_not(None),
                _is_refused(RefusalDay),
            )
        case AttentionReason.UNUSED:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == account_id,
                IdentityClient.deleted_at.is_(None),
                _IS_UNUSED,
                IdentityClient.created_at <= now - UNUSED_DAYS * _DAY,
            )
        case AttentionReason.IDLE:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
                _is_without_use(AttentionReason.IDLE, now, IdentityClient),
            )
        case AttentionReason.OVERDUE:
            own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
            )
            # Each is one range of the index.
            return _merged(
                [own.where(condition) for condition in _are_overdue(now, rules.overdue_days, IdentityClient)]
            )


def _merged(parts: Sequence[Select[*tuple[Any, ...]]]) -> Select[*tuple[Any, ...]]:
    every = union_all(*parts).subquery()
    return select(every.c.client_key, every.c.client_id_folded)


def ordered_clients_of(reason: str, account_id: str, now: datetime) -> Select[*tuple[Any, ...]] | None:
    """Return a SELECT of the same clients which an index returns in the order of their client IDs, or None.

    It is faster for a reason that applies to many of the clients in the index.
    """
    match reason:
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            return (
                select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded)
                .where(
                    *_is_listed(AttentionReason(reason), account_id),
                    _holds(AttentionReason(reason), _Unindexed(AttentionPeriod), now),
                )
                .distinct()
            )
        case AttentionReason.UNUSED:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == account_id,
                IdentityClient.deleted_at.is_(None),
                _IS_UNUSED,
                _Unindexed(IdentityClient).created_at <= now - UNUSED_DAYS * _DAY,
            )
    return None


class _Unindexed:
    """The columns of a table as expressions, for which no index is chosen."""

    def __init__(self, table: Any) -> None:
        self._table = table

    def __getattr__(self, name: str) -> ColumnElement[Any]:
        column = getattr(self._table, name)
        return func.coalesce(column, column, type_=column.type)


def needs_attention(reason: str, account_id: str, now: datetime, rules: Rules) -> ColumnElement[bool]:
    """Return the condition that a client of the account needs attention, for where most of a page's rows do.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return or_(*(needs_attention(one, account_id, now, rules) for one in AttentionReason))
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
        case AttentionReason.SECRET:
            roles = select(func.count()).where(
                *_is_forbidden_secret(account_id, rules.keys_only_roles, now),
                ClientRole.client_key == IdentityClient.id,
            )
            needs = roles.correlate(IdentityClient).scalar_subquery() > 0
        case AttentionReason.REFUSED:
            day = aliased(RefusalDay)
            such = select(func.count()).where(
                day.account_id == account_id,
                day.day == now.date(),
                day.client_key == IdentityClient.id,
                _is_refused(day),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.OVERDUE:
            needs = or_(*_are_overdue(now, rules.overdue_days, _Unindexed(IdentityClient)))
        case _:
            # Else SQLite may sort all that an index for the reason finds.
            needs = _is_without_use(AttentionReason(reason), now, _Unindexed(IdentityClient))
    return and_(IdentityClient.enabled == true(), needs)


def _is_forbidden_secret(account_id: str, roles: Collection[str], now: datetime) -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for a role of a client with a secret whose account forbids secrets with these roles."""
    return (
        ClientRole.account_id == account_id,
        # The roles themselves and not a SELECT of them, for which SQLite may read the roles of every client.
        ClientRole.role.in_(sorted(roles) or [""]),  # no role has an empty key
        ClientRole.secret_until_at > now,
    )


def _clients_by_period(reason: AttentionReason, account_id: str, now: datetime) -> Select[*tuple[Any, ...]]:
    listed = select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded).where(*_is_listed(reason, account_id))
    if reason is AttentionReason.ENDING:
        return listed.where(_is_ending(AttentionPeriod, now))
    # Each is one range of the index. Periods that have an end ahead are few.
    since = AttentionPeriod.since_at <= _latest_start(reason, now)
    without_end = listed.where(AttentionPeriod.until_at == NO_END, since)
    with_end = listed.where(AttentionPeriod.until_at > now, AttentionPeriod.until_at < NO_END, since)
    return _merged([without_end, with_end])


def _is_listed(reason: AttentionReason, account_id: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return AttentionPeriod.account_id == account_id, AttentionPeriod.reason == reason.value


def _holds(reason: AttentionReason, period: Any, now: datetime) -> ColumnElement[bool]:
    if reason is AttentionReason.ENDING:
        return _is_ending(period, now)
    return and_(period.until_at > now, period.since_at <= _latest_start(reason, now))


def _is_ending(period: Any, now: datetime) -> ColumnElement[bool]:
    return and_(period.until_at > now, period.until_at <= now + max(ENDING_WITHIN_DAYS) * _DAY)


def _latest_start(reason: AttentionReason, now: datetime) -> datetime:
    """Return the time at which a period must have begun to be old enough for a reason."""
    return now - (OLD_DAYS if reason is AttentionReason.OLD else TWO_SECRETS_DAYS) * _DAY


def _is_without_use(reason: AttentionReason, now: datetime, client: Any) -> ColumnElement[bool]:
    if reason is AttentionReason.UNUSED:
        return and_(client.last_token_at == _NEVER, client.created_at <= now - UNUSED_DAYS * _DAY)
    idle_since = literal(now - IDLE_DAYS * _DAY, IdentityClient.last_token_at.type)
    return and_(client.last_token_at > _NEVER, client.last_token_at <= idle_since)


def _are_overdue(now: datetime, days: int, client: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of which one holds for an overdue client: never reviewed, or not since."""
    since = now - days * _DAY
    reviewed_since = literal(since, IdentityClient.reviewed_at.type)
    return (
        and_(client.reviewed_at == _NEVER, client.created_at <= since),
        and_(client.reviewed_at > _NEVER, client.reviewed_at <= reviewed_since),
    )


def _is_refused(day: Any) -> ColumnElement[bool]:
    return and_(day.requests >= REFUSED_OF_AT_LEAST, day.refused * 100 > day.requests * REFUSED_PERCENT)
