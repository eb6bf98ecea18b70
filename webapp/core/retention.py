"""Delete rows whose retention period is over (L1, T13). Triggers reject the deletion of younger audit events."""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, bindparam, delete, func, select, tuple_

from .audit.actions import Action
from .audit.events import record_platform_event
from .database.engine import restart_wal
from .database.models import (
    AuditEvent,
    CallerAddress,
    Notification,
    RefusalDay,
    TokenRequest,
    TokenRequestCount,
    UsedAssertion,
)
from .database.unit_of_work import read_session, unit_of_work
from .idempotency import purge_responses
from .tokens import revocation
from .tokens.signing import CLOCK_SKEW

ROWS_AT_ONCE = 1_000
"""The number of rows per transaction, so that no request waits long for the database."""

PAUSE_MAX_SECONDS = 1
NOTIFICATION_DAYS = 30
"""How long messages stay in the log of notifications; an undelivered one is given up long before."""


class Purged(NamedTuple):
    """The number of deleted rows of each kind."""

    events: int
    token_requests: int
    token_request_counts: int
    caller_addresses: int
    revoked_tokens: int
    notifications: int


def purge(
    engine: Engine, *, actor: str, event_days: int, token_request_days: int, request_log_days: int, now: datetime
) -> Purged:
    """Record a platform event, then delete everything that is older than its retention period.

    :param event_days: how long events are kept; at least 400.
    :param token_request_days: how long counts of token requests and callers' addresses are kept.
    :param request_log_days: how long token requests are stored individually.
    :raises Unavailable: the database is locked or unreachable; rows deleted until then stay deleted.
    """
    # The triggers use the database's clock, which may be behind.
    events_before = now - timedelta(days=event_days) - CLOCK_SKEW
    requests_before = now - timedelta(days=token_request_days)
    log_before = now - timedelta(days=request_log_days)
    with unit_of_work(engine) as session:
        events = session.scalar(select(func.count()).where(AuditEvent.at < events_before)) or 0
        record_platform_event(
            session,
            actor,
            Action.PURGED,
            {
                "events": [events, 0],
                "events_since": [None, events_before.isoformat()],
                "token_requests_since": [None, log_before.isoformat()],
                "token_request_counts_since": [None, requests_before.isoformat()],
            },
        )
    with unit_of_work(engine) as session:
        revoked_tokens = revocation.purge_revoked_tokens(session, now)
        purge_responses(session, now)
        session.execute(delete(UsedAssertion).where(UsedAssertion.expires_at <= now))
        session.execute(delete(RefusalDay).where(RefusalDay.day < now.date() - timedelta(days=1)))
    counts = TokenRequestCount
    return Purged(
        _delete(engine, [AuditEvent.id], AuditEvent.at < events_before),
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


def _delete(engine: Engine, key: Sequence[Any], is_old: ColumnElement[bool]) -> int:
    """Delete the old rows of a table by primary key, in batches; selecting them takes no lock."""
    deletion = delete(key[0].class_).where(and_(*(column == bindparam(f"of_{column.key}") for column in key)))
    deleted, expired = 0, select(*key).where(is_old).order_by(*key).limit(ROWS_AT_ONCE)
    rows = _read(engine, expired)
    while rows:
        started = time.monotonic()
        with unit_of_work(engine) as session:
            session.connection().execute(
                deletion, [{f"of_{column.key}": value for column, value in zip(key, row, strict=True)} for row in rows]
            )
        deleted += len(rows)
        restart_wal(engine)
        # Half of the time is left to others, whose writes wait for this one on SQLite.
        time.sleep(min(time.monotonic() - started, PAUSE_MAX_SECONDS))
        last = tuple_(*(bindparam(None, value, column.type) for column, value in zip(key, rows[-1], strict=True)))
        rows = _read(engine, expired.where(tuple_(*key) > last))
    return deleted


def _read(engine: Engine, statement: Any) -> Sequence[Any]:
    with read_session(engine) as session:
        return session.execute(statement).all()
