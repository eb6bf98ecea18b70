"""Find the clients of an account that need attention, by indexes whose cost does not grow with the account.

A reason depends on the time: what the database keeps are moments (`AttentionPeriod`, the columns of the client), which
are compared with the present. Only the share of refused token requests is noted by day (`RefusalDay`).

All statements have parameters in place of values, which `values_of` returns, so that they can be built once: building
them takes several times as long as running them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    and_,
    bindparam,
    case,
    func,
    literal,
    literal_column,
    or_,
    select,
    text,
    true,
    union_all,
)
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
from ..usage.refusal_days import REFUSED_PERCENT
from .attention import (
    ANY,
    ENDING_WITHIN_DAYS,
    IDLE_DAYS,
    OLD_DAYS,
    REFUSED_OF_AT_LEAST,
    TWO_SECRETS_DAYS,
    UNUSED_DAYS,
    AttentionReason,
    rules_of,
)

COUNT_MAX = 100
"""How many clients are counted for one reason; beyond, there are "100+"."""
REPEATING = frozenset({ANY, AttentionReason.ENDING, AttentionReason.SECRET, AttentionReason.OLD, AttentionReason.TWO})
"""The reasons for which `clients_of` may have a client several times."""
ORDERED = frozenset({AttentionReason.ENDING, AttentionReason.OLD, AttentionReason.TWO, AttentionReason.UNUSED})
"""The reasons that `ordered_clients_of` takes."""
_DAY = timedelta(days=1)
_NEVER: ColumnElement[Any] = literal_column("0")
_REASONS_WITH_LABEL = (AttentionReason.ENDING, AttentionReason.OLD)
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


class _Terms(NamedTuple):
    """What rows are compared with to find the clients of one reason: values, or the parameters that stand for them.

    :param keys_only_roles: a collection of API roles.
    :param unreviewed_since: the last creation of clients that are overdue without any review.
    :param reviewed_until: the last review of clients that are overdue since.
    """

    account_id: Any
    keys_only_roles: Any
    now: Any
    today: Any
    old_since: Any
    two_since: Any
    unused_since: Any
    idle_since: Any
    unreviewed_since: Any
    reviewed_until: Any


_TERMS = _Terms(*(bindparam(name, expanding=name == "keys_only_roles") for name in _Terms._fields))


def values_of(session: Session, account_id: str) -> dict[str, Any]:
    """Return the present values of the parameters in all statements and conditions of this module."""
    now, rules = utc_now(), rules_of(session, account_id)
    overdue_since = now - rules.overdue_days * _DAY
    terms = _Terms(
        account_id=account_id,
        # The roles themselves and not a SELECT of them, for which SQLite may read the roles of every client.
        keys_only_roles=sorted(rules.keys_only_roles) or [""],  # no role has an empty key
        now=now,
        today=now.date(),
        old_since=now - OLD_DAYS * _DAY,
        two_since=now - TWO_SECRETS_DAYS * _DAY,
        unused_since=now - UNUSED_DAYS * _DAY,
        idle_since=now - IDLE_DAYS * _DAY,
        unreviewed_since=overdue_since,
        reviewed_until=overdue_since,
    )
    return terms._asdict() | {_within(days).key: now + days * _DAY for days in ENDING_WITHIN_DAYS}


def _within(days: int) -> BindParameter[Any]:
    """Return the parameter for the time in so many days."""
    return bindparam(f"within_{days}_days")


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


def clients_of(reason: str) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account that need attention: `client_key`, `client_id_folded`.

    A client occurs once, except for one of `REPEATING`: then it may occur for each of its secrets, roles or reasons.

    :param reason: an `AttentionReason`, or `ANY`.
    """
    if reason == ANY:
        return _merged([_clients_of(one) for one in AttentionReason])
    return _clients_of(AttentionReason(reason))


def keys_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the clients of an account with a reason, and `Attention.key` of it: `client_key`, `key`.

    A pair may occur several times.
    """
    if reason not in _REASONS_WITH_LABEL:
        rows = _clients_of(reason).subquery()
        return select(rows.c.client_key, literal(reason.value).label("key"))
    return select(AttentionPeriod.client_key, _key_of_period(AttentionPeriod).label("key")).where(
        *_is_listed(reason), _holds(reason, AttentionPeriod)
    )


def has_reason(key: Any) -> ColumnElement[bool]:
    """Return the condition that a client of the account needs attention for one reason.

    :param key: `Attention.key` of the reason, as an expression.
    """
    period = aliased(AttentionPeriod)
    with_label = (
        select(func.count())
        .where(
            period.client_key == IdentityClient.id,
            _key_of_period(period) == key,
            or_(*(and_(period.reason == one.value, _holds(one, period)) for one in _REASONS_WITH_LABEL)),
        )
        .scalar_subquery()
    )
    others = [one for one in AttentionReason if one not in _REASONS_WITH_LABEL]
    return or_(with_label > 0, *(and_(key == one.value, _needs_attention(one)) for one in others))


def _key_of_period(period: Any) -> ColumnElement[str]:
    """Return `Attention.key` of a period of one of `_REASONS_WITH_LABEL`."""
    nearness = [(period.until_at <= _within(days), f" {days}") for days in sorted(ENDING_WITHIN_DAYS)]
    suffix = case((period.reason != AttentionReason.ENDING.value, ""), *nearness, else_="")
    key: ColumnElement[str] = period.reason + " " + period.secret_label + suffix
    return key


def _clients_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    match reason:
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            return _clients_by_period(reason)
        case AttentionReason.SECRET:
            return select(ClientRole.client_key, ClientRole.client_id_folded).where(*_is_forbidden_secret())
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
                RefusalDay.account_id == _TERMS.account_id, RefusalDay.day == _TERMS.today, _is_refused(RefusalDay)
            )
            # Without an offset the engines merge both SELECTs, and then look for each client twice.
            rows = refused.offset(0).subquery()
            return select(rows.c.client_key, rows.c.client_id_folded).where(rows.c.client_id_folded.is_not(None))
        case AttentionReason.UNUSED:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == _TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                _IS_UNUSED,
                IdentityClient.created_at <= _TERMS.unused_since,
            )
        case AttentionReason.IDLE:
            return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == _TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
                _is_without_use(AttentionReason.IDLE, IdentityClient),
            )
        case AttentionReason.OVERDUE:
            own = select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
                IdentityClient.account_id == _TERMS.account_id,
                IdentityClient.deleted_at.is_(None),
                IdentityClient.enabled == true(),
            )
            # Each is one range of the index.
            return _merged([own.where(condition) for condition in _are_overdue(IdentityClient)])


def _merged(parts: Sequence[Select[*tuple[Any, ...]]]) -> Select[*tuple[Any, ...]]:
    every = union_all(*parts).subquery()
    return select(every.c.client_key, every.c.client_id_folded)


def ordered_clients_of(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    """Return a SELECT of the same clients, each once, which an index returns in the order of their client IDs.

    It is faster for a reason that applies to many of the clients in the index.

    :param reason: one of `ORDERED`.
    """
    if reason is AttentionReason.UNUSED:
        return select(IdentityClient.id.label("client_key"), IdentityClient.client_id_folded).where(
            IdentityClient.account_id == _TERMS.account_id,
            IdentityClient.deleted_at.is_(None),
            _IS_UNUSED,
            _Unindexed(IdentityClient).created_at <= _TERMS.unused_since,
        )
    return (
        select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded)
        .where(*_is_listed(reason), _holds(reason, _Unindexed(AttentionPeriod)))
        .distinct()
    )


class _Unindexed:
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


def _needs_attention(reason: AttentionReason) -> ColumnElement[bool]:
    match reason:
        case AttentionReason.ENDING | AttentionReason.OLD | AttentionReason.TWO:
            period = aliased(AttentionPeriod)
            # Counted: for EXISTS PostgreSQL may prefer to read the periods of all accounts.
            such = select(func.count()).where(
                period.client_key == IdentityClient.id,
                period.reason == reason,
                _holds(reason, period),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.SECRET:
            roles = select(func.count()).where(
                *_is_forbidden_secret(),
                ClientRole.client_key == IdentityClient.id,
            )
            needs = roles.correlate(IdentityClient).scalar_subquery() > 0
        case AttentionReason.REFUSED:
            day = aliased(RefusalDay)
            such = select(func.count()).where(
                day.account_id == _TERMS.account_id,
                day.day == _TERMS.today,
                day.client_key == IdentityClient.id,
                _is_refused(day),
            )
            needs = such.scalar_subquery() > 0
        case AttentionReason.OVERDUE:
            needs = or_(*_are_overdue(_Unindexed(IdentityClient)))
        case AttentionReason.UNUSED | AttentionReason.IDLE:
            # Else SQLite may sort all that an index for the reason finds.
            needs = _is_without_use(reason, _Unindexed(IdentityClient))
    return and_(IdentityClient.enabled == true(), needs)


def _is_forbidden_secret() -> tuple[ColumnElement[bool], ...]:
    """Return the conditions for a role of a client with a secret whose account forbids secrets with its role."""
    return (
        ClientRole.account_id == _TERMS.account_id,
        ClientRole.role.in_(_TERMS.keys_only_roles),
        ClientRole.secret_until_at > _TERMS.now,
    )


def _clients_by_period(reason: AttentionReason) -> Select[*tuple[Any, ...]]:
    listed = select(AttentionPeriod.client_key, AttentionPeriod.client_id_folded).where(*_is_listed(reason))
    if reason is AttentionReason.ENDING:
        return listed.where(_is_ending(AttentionPeriod))
    # Each is one range of the index. Periods that have an end ahead are few.
    since = AttentionPeriod.since_at <= _latest_start(reason)
    without_end = listed.where(AttentionPeriod.until_at == NO_END, since)
    with_end = listed.where(AttentionPeriod.until_at > _TERMS.now, AttentionPeriod.until_at < NO_END, since)
    return _merged([without_end, with_end])


def _is_listed(reason: AttentionReason) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return AttentionPeriod.account_id == _TERMS.account_id, AttentionPeriod.reason == reason.value


def _holds(reason: AttentionReason, period: Any) -> ColumnElement[bool]:
    if reason is AttentionReason.ENDING:
        return _is_ending(period)
    return and_(period.until_at > _TERMS.now, period.since_at <= _latest_start(reason))


def _is_ending(period: Any) -> ColumnElement[bool]:
    return and_(period.until_at > _TERMS.now, period.until_at <= _within(max(ENDING_WITHIN_DAYS)))


def _latest_start(reason: AttentionReason) -> Any:
    """Return the time at which a period must have begun to be old enough for a reason."""
    return _TERMS.old_since if reason is AttentionReason.OLD else _TERMS.two_since


def _is_without_use(reason: AttentionReason, client: Any) -> ColumnElement[bool]:
    if reason is AttentionReason.UNUSED:
        return and_(client.last_token_at == _NEVER, client.created_at <= _TERMS.unused_since)
    return and_(client.last_token_at > _NEVER, client.last_token_at <= _TERMS.idle_since)


def _are_overdue(client: Any) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    """Return the conditions of which one holds for an overdue client: never reviewed, or not since."""
    return (
        and_(client.reviewed_at == _NEVER, client.created_at <= _TERMS.unreviewed_since),
        and_(client.reviewed_at > _NEVER, client.reviewed_at <= _TERMS.reviewed_until),
    )


def _is_refused(day: Any) -> ColumnElement[bool]:
    return and_(day.requests >= REFUSED_OF_AT_LEAST, day.refused * 100 > day.requests * REFUSED_PERCENT)


# The statements that are built once, each with a limit


def _rows(reason: AttentionReason) -> Subquery:
    return _clients_of(reason).limit(_LIMIT).subquery()


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
    .where(*_is_listed(AttentionReason.ENDING), _is_ending(AttentionPeriod))
    .order_by(AttentionPeriod.until_at)
    .limit(_LIMIT)
    .subquery()
)
"""When secrets and keys end soon, and how many keys of the same client end at that moment."""
_COUNT_OF_ENDING = select(func.count(), func.sum(_ENDING.c.ending_keys), func.min(_ENDING.c.until_at))
