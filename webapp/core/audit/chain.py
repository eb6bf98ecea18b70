"""The hash chain of an account's audit events: each has a hash over itself and the hash of the one before (L8).

What is hashed is the UTF-8 text of `canonical_text()`: the stored columns, the position in the chain from 1 on, and the
hash before, as JSON by RFC 8785 (members sorted by name, no white space, no character escaped that need not be). Times
are RFC 3339 in UTC with six digits of a second, IDs are UUIDs in lower case. The form never changes; a member
`version` is 1.

Events are chained at the end of their transaction, under the lock of the account's `AuditChain`. A row of
`AuditEventHash` without a position waits for it: the trigger that adds it also serves a former release, whose events
the next transaction of the account chains.
"""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Row, bindparam, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ..database.models import AuditChain, AuditEvent, AuditEventHash
from ..database.unit_of_work import read_session, unit_of_work

PLATFORM = ""
"""The account ID of the chain of the platform's own events, which belong to no account."""
NO_HASH = ""
"""The hash before the first event."""
VERSION = 1
EVENTS_AT_ONCE = 1_000
"""How many waiting events one transaction chains at most; a change of many clients has far fewer."""
COLUMNS = (
    AuditEvent.id,
    AuditEvent.at,
    AuditEvent.account_id,
    AuditEvent.actor_id,
    AuditEvent.actor_label,
    AuditEvent.action,
    AuditEvent.client_key,
    AuditEvent.client_id,
    AuditEvent.changes,
    AuditEvent.address,
    AuditEvent.request_id,
)
"""The columns that are hashed. They are selected as such, since the objects of a session may differ from its rows."""
_NEW_CHAIN = {
    "sqlite": sqlite.insert(AuditChain).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(AuditChain).on_conflict_do_nothing(),
}


def canonical_text(event: Row[Any] | AuditEvent, position: int, previous_hash: str) -> str:
    """Return the text of an event that is hashed.

    :param event: a row of `COLUMNS`, or an event as it was read.
    """
    found = {
        "account_id": event.account_id,
        "action": event.action,
        "actor_id": event.actor_id,
        "actor_label": event.actor_label,
        "address": event.address,
        "at": format_time(event.at),
        "changes": event.changes,
        "client_id": event.client_id,
        "client_key": None if event.client_key is None else str(event.client_key),
        "id": str(event.id),
        "position": position,
        "previous": previous_hash,
        "request_id": event.request_id,
        "version": VERSION,
    }
    text = json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    # Half of a surrogate pair, which UTF-8 cannot encode, becomes its escape, as `JSON.stringify` writes it.
    return text.encode("utf-8", "backslashreplace").decode()


def hash_of(text: str) -> str:
    """Return the hash of a canonical text: SHA-256 in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def format_time(at: datetime) -> str:
    """Return a time as the chain writes it, such as `2026-03-01T12:00:00.000000Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def chain_waiting(session: Session, account_id: str) -> int:
    """Chain the waiting events of an account that this transaction sees, in the order of their IDs; return how many.

    The account's chain stays locked until the transaction ends. Events that others have not committed yet are theirs.
    """
    position, previous_hash = _lock(session, account_id)
    waiting = session.execute(
        select(*COLUMNS)
        .join(AuditEventHash, AuditEventHash.event_id == AuditEvent.id)
        .where(AuditEventHash.account_id == account_id, AuditEventHash.position.is_(None))
        .order_by(AuditEventHash.event_id)
        .limit(EVENTS_AT_ONCE)
    ).all()
    if not waiting:
        return 0
    hashes = []
    for event in waiting:
        position += 1
        current_hash = hash_of(canonical_text(event, position, previous_hash))
        hashes.append({"of": event.id, "position": position, "previous_hash": previous_hash, "hash": current_hash})
        previous_hash = current_hash
    # Without the ORM, which needs the primary key among the values.
    session.connection().execute(update(AuditEventHash).where(AuditEventHash.event_id == bindparam("of")), hashes)
    session.execute(
        update(AuditChain)
        .where(AuditChain.account_id == account_id)
        .values(position=position, hash=previous_hash)
        .execution_options(synchronize_session=False)
    )
    return len(waiting)


def chain_all_waiting(engine: Engine) -> None:
    """Chain what a former release, or another program, has written since the last change of each account."""
    with read_session(engine) as session:
        waiting = select(AuditEventHash.account_id).where(AuditEventHash.position.is_(None)).distinct()
        account_ids = session.scalars(waiting).all()
    for account_id in account_ids:
        more = True
        while more:
            with unit_of_work(engine) as session:
                more = chain_waiting(session, account_id) == EVENTS_AT_ONCE


def _lock(session: Session, account_id: str) -> tuple[int, str]:
    """Lock the chain of an account until the transaction ends; return its latest position and hash."""
    statement = (
        select(AuditChain.position, AuditChain.hash).where(AuditChain.account_id == account_id).with_for_update()
    )
    found = session.execute(statement).one_or_none()
    if found is None:
        new = _NEW_CHAIN[session.get_bind().dialect.name]
        session.execute(new, {"account_id": account_id, "position": 0, "hash": NO_HASH})
        found = session.execute(statement).one()
    return found.position, found.hash
