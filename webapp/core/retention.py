"""Delete rows whose retention period is over (L1, T13). Triggers reject the deletion of younger audit events."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from itertools import dropwhile, takewhile
from typing import Any, NamedTuple, ParamSpec, TypeVar

from sqlalchemy import ColumnElement, Engine, Executable, and_, bindparam, delete, func, select, tuple_, update

from .audit.actions import Action
from .audit.chain import chain_all_waiting
from .audit.events import record_platform_event
from .checkpoints.signing import CheckpointSigner, InvalidCheckpoint, read_checkpoint
from .database.engine import restart_wal
from .database.models import (
    AuditChain,
    AuditEvent,
    AuditEventHash,
    CallerAddress,
    Notification,
    RefusalDay,
    TokenRequest,
    TokenRequestCount,
    UsedAssertion,
)
from .database.unit_of_work import read_session, unit_of_work
from .errors import Unavailable
from .idempotency import purge_responses
from .tokens import revocation
from .tokens.signing import CLOCK_SKEW

ROWS_AT_ONCE = 1_000
"""The number of rows per transaction, so that no request waits long for the database."""

PAUSE_MAX_SECONDS = 1
ATTEMPTS = 10
RETRY_AFTER_SECONDS = 1
NOTIFICATION_DAYS = 30
"""How long messages stay in the log of notifications; an undelivered one is given up long before."""

P = ParamSpec("P")
R = TypeVar("R")


class Purged(NamedTuple):
    """The number of deleted rows of each kind."""

    events: int
    token_requests: int
    token_request_counts: int
    caller_addresses: int
    revoked_tokens: int
    notifications: int


def purge(
    engine: Engine,
    *,
    actor: str,
    event_days: int,
    token_request_days: int,
    request_log_days: int,
    signer: CheckpointSigner,
    now: datetime,
) -> Purged:
    """Record a platform event, then delete everything that is older than its retention period.

    :param event_days: how long events are kept; at least 400.
    :param token_request_days: how long counts of token requests and callers' addresses are kept.
    :param request_log_days: how long token requests are stored individually.
    :param signer: signs the checkpoints from which the chains of audit events continue.
    :raises Unavailable: the database stays locked or unreachable; rows deleted until then stay deleted.
    """
    # The triggers use the database's clock, which may be behind.
    events_before = now - timedelta(days=event_days) - CLOCK_SKEW
    requests_before = now - timedelta(days=token_request_days)
    log_before = now - timedelta(days=request_log_days)
    events = _read(engine, select(func.count()).where(AuditEvent.at < events_before))[0][0]
    changes = {
        "events": [events, 0],
        "events_since": [None, events_before.isoformat()],
        "token_requests_since": [None, log_before.isoformat()],
        "token_request_counts_since": [None, requests_before.isoformat()],
    }
    _record(engine, actor, changes)
    revoked_tokens = _delete_expired(engine, now)
    counts = TokenRequestCount
    return Purged(
        _purge_events(engine, events_before, signer),
        _delete(engine, [TokenRequest.client_key, TokenRequest.at, TokenRequest.number], TokenRequest.at < log_before),
        _delete(
            engine,
            [counts.day, counts.client_key, counts.secret_label, counts.outcome],
            counts.day < requests_before.date(),
        ),
        _delete(engine, [CallerAddress.client_key, CallerAddress.address], CallerAddress.last_at < requests_before),
        revoked_tokens,
        _delete(engine, [Notification.id], Notification.created_at < now - timedelta(days=NOTIFICATION_DAYS)),
    )


def _repeat_while_unavailable(function: Callable[P, R]) -> Callable[P, R]:
    """Call a function again while other processes hold the lock, or the database fails over."""

    @wraps(function)
    def repeat(*args: P.args, **kwargs: P.kwargs) -> R:
        for _ in range(ATTEMPTS - 1):
            with suppress(Unavailable):
                return function(*args, **kwargs)
            time.sleep(RETRY_AFTER_SECONDS)
        return function(*args, **kwargs)

    return repeat


@_repeat_while_unavailable
def _record(engine: Engine, actor: str, changes: Mapping[str, Any]) -> None:
    with unit_of_work(engine) as session:
        record_platform_event(session, actor, Action.PURGED, changes)


@_repeat_while_unavailable
def _delete_expired(engine: Engine, now: datetime) -> int:
    """Delete what has an expiry time of its own; return the number of revoked tokens."""
    with unit_of_work(engine) as session:
        purge_responses(session, now)
        session.execute(delete(UsedAssertion).where(UsedAssertion.expires_at <= now))
        session.execute(delete(RefusalDay).where(RefusalDay.day < now.date() - timedelta(days=1)))
        return revocation.purge_revoked_tokens(session, now)


def _purge_events(engine: Engine, before: datetime, signer: CheckpointSigner) -> int:
    """Delete the old events from the beginning of each chain, and those from before there were chains."""
    _repeat_while_unavailable(chain_all_waiting)(engine)
    account_ids = [account_id for (account_id,) in _read(engine, select(AuditChain.account_id))]
    deleted = sum(_purge_chain(engine, account_id, before, signer) for account_id in account_ids)
    is_chained = select(AuditEventHash.event_id).where(AuditEventHash.event_id == AuditEvent.id).exists()
    return deleted + _delete(engine, [AuditEvent.id], and_(AuditEvent.at < before, ~is_chained))


def _purge_chain(engine: Engine, account_id: str, before: datetime, signer: CheckpointSigner) -> int:
    """Delete the old events at the beginning of a chain, in batches, and store the checkpoint where it continues."""
    first = (
        select(AuditEventHash.event_id, AuditEventHash.position, AuditEventHash.hash, AuditEvent.at)
        .outerjoin(AuditEvent, AuditEvent.id == AuditEventHash.event_id)
        .where(AuditEventHash.account_id == account_id, AuditEventHash.position.is_not(None))
        .order_by(AuditEventHash.position)
        .limit(ROWS_AT_ONCE)
    )
    chain = update(AuditChain).where(AuditChain.account_id == account_id)
    deleted = 0
    # A missing event is skipped only where an old one follows. After the last old one, verification must report it.
    while old := [
        *dropwhile(
            lambda row: row.at is None,
            reversed([*takewhile(lambda row: row.at is None or row.at < before, _read(engine, first))]),
        )
    ]:
        started = time.monotonic()
        ids, last = [row.event_id for row in old], old[0]
        checkpoint = signer.sign(account_id, last.position, last.hash)
        _execute(
            engine,
            delete(AuditEvent).where(AuditEvent.id.in_(ids)),
            delete(AuditEventHash).where(AuditEventHash.event_id.in_(ids)),
            chain.values(purged_position=last.position, purge_checkpoint=checkpoint),
        )
        deleted += sum(row.at is not None for row in old)
        restart_wal(engine)
        time.sleep(min(time.monotonic() - started, PAUSE_MAX_SECONDS))
    _renew_checkpoint(engine, account_id, signer)
    return deleted


def _renew_checkpoint(engine: Engine, account_id: str, signer: CheckpointSigner) -> None:
    """Sign the checkpoint of a purge again whose key is no longer published, before the audit log forgets that key."""
    (text,) = _read(engine, select(AuditChain.purge_checkpoint).where(AuditChain.account_id == account_id))[0]
    with suppress(InvalidCheckpoint):
        stored = read_checkpoint(text or "")
        if stored.kid not in signer.published:
            renewed = signer.sign(account_id, stored.position, stored.hash)
            chain = update(AuditChain).where(AuditChain.account_id == account_id, AuditChain.purge_checkpoint == text)
            _execute(engine, chain.values(purge_checkpoint=renewed))


def _delete(engine: Engine, key: Sequence[Any], is_old: ColumnElement[bool]) -> int:
    """Delete the old rows of a table by primary key, in batches; selecting them takes no lock."""
    deletion = delete(key[0].class_).where(and_(*(column == bindparam(f"of_{column.key}") for column in key)))
    deleted, expired = 0, select(*key).where(is_old).order_by(*key).limit(ROWS_AT_ONCE)
    rows = _read(engine, expired)
    while rows:
        started = time.monotonic()
        parameters = [{f"of_{column.key}": value for column, value in zip(key, row, strict=True)} for row in rows]
        _execute(engine, deletion, parameters=parameters)
        deleted += len(rows)
        restart_wal(engine)
        # Half of the time is left to others, whose writes wait for this one on SQLite.
        time.sleep(min(time.monotonic() - started, PAUSE_MAX_SECONDS))
        last = tuple_(*(bindparam(None, value, column.type) for column, value in zip(key, rows[-1], strict=True)))
        rows = _read(engine, expired.where(tuple_(*key) > last))
    return deleted


@_repeat_while_unavailable
def _execute(engine: Engine, *statements: Executable, parameters: Sequence[Mapping[str, Any]] | None = None) -> None:
    with unit_of_work(engine) as session:
        for statement in statements:
            session.connection().execute(statement, parameters)


@_repeat_while_unavailable
def _read(engine: Engine, statement: Any) -> Sequence[Any]:
    with read_session(engine) as session:
        return session.execute(statement).all()
