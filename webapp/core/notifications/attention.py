"""Notify the account's targets and the host of clients that need attention, once for each new reason."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Engine, Update, and_, delete, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ..audit import signals
from ..clients.attention import Attention, AttentionReason, reasons
from ..clients.attention_queries import has_reason, keys_of, values_of
from ..database.models import Account, AttentionNotice, IdentityClient, is_of_account, utc_now
from ..database.unit_of_work import read_session, unit_of_work
from .kinds import attention_kind
from .outbox import add_messages, targets_of

CLIENTS_AT_ONCE = 500
"""How many clients one transaction notifies of."""
ROWS_MAX = 10_000
"""How many rows one statement returns at most, so that memory does not grow with the account."""
Found = tuple[IdentityClient, Attention]
Row = TypeVar("Row")


def send_attention_signals(engine: Engine) -> int:
    """Notify of each new reason of every account, and send its signal `attention`; return the number of signals.

    A reason that disappears and comes back is new. After an exception in a receiver the signal is sent again next time;
    the account's own targets get their messages once.
    """
    with read_session(engine) as session:
        account_ids = session.scalars(select(Account.id).where(Account.feature_enabled).order_by(Account.id)).all()
    return sum(_send_for_account(engine, account_id) for account_id in account_ids)


def _send_for_account(engine: Engine, account_id: str) -> int:
    while _delete_outdated(engine, account_id):
        pass
    sent = sum(_send_again(engine, account_id, keys) for keys in _batches(_unsent(engine, account_id)))
    for reason in AttentionReason:
        stored = True
        while stored:
            stored = False
            for keys in _batches(_clients_with_new(engine, account_id, reason)):
                found = _store(engine, account_id, _reasons(engine, account_id, keys))
                sent += sum(_send(engine, *each) for each in found)
                stored = stored or bool(found)
    return sent


def _batches(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    return (rows[start : start + CLIENTS_AT_ONCE] for start in range(0, len(rows), CLIENTS_AT_ONCE))


def _delete_outdated(engine: Engine, account_id: str) -> int:
    """Delete notices whose reasons no longer apply, at most `ROWS_MAX`; return their number."""
    with read_session(engine) as session:
        applies = has_reason(AttentionNotice.reason)
        outdated = session.execute(
            select(AttentionNotice.client_key, AttentionNotice.reason)
            .join(IdentityClient, IdentityClient.id == AttentionNotice.client_key)
            .where(IdentityClient.account_id == account_id, or_(IdentityClient.deleted_at.is_not(None), ~applies))
            .limit(ROWS_MAX),
            values_of(session, account_id),
        ).all()
    for notices in _batches(outdated):
        with unit_of_work(engine) as session:
            for client_key, reason in notices:
                session.execute(
                    delete(AttentionNotice).where(_is_notice(client_key, reason)),
                    execution_options={"synchronize_session": False},
                )
    return len(outdated)


def _unsent(engine: Engine, account_id: str) -> Sequence[uuid.UUID]:
    """Return clients of which a receiver refused a signal."""
    with read_session(engine) as session:
        return session.scalars(
            select(AttentionNotice.client_key)
            .distinct()
            .join(IdentityClient, IdentityClient.id == AttentionNotice.client_key)
            .where(IdentityClient.account_id == account_id, AttentionNotice.signal_sent.is_(False))
            .limit(ROWS_MAX)
        ).all()


def _clients_with_new(engine: Engine, account_id: str, reason: AttentionReason) -> Sequence[uuid.UUID]:
    """Return clients that have a reason without a notice, at most `ROWS_MAX`."""
    with read_session(engine) as session:
        rows = keys_of(reason).subquery()
        is_known = exists().where(AttentionNotice.client_key == rows.c.client_key, AttentionNotice.reason == rows.c.key)
        new = select(rows.c.client_key).distinct().where(~is_known).limit(ROWS_MAX)
        return session.scalars(new, values_of(session, account_id)).all()


def _reasons(engine: Engine, account_id: str, client_keys: Sequence[uuid.UUID]) -> list[Found]:
    with read_session(engine) as session:
        clients = session.scalars(
            select(IdentityClient)
            .where(is_of_account(account_id), IdentityClient.id.in_(client_keys))
            .order_by(IdentityClient.client_id_folded)
        ).all()
        found = reasons(session, account_id, clients)
    return [(client, reason) for client in clients for reason in found.get(client.id, [])]


def _store(engine: Engine, account_id: str, found: Sequence[Found]) -> list[Found]:
    """Store notices of the reasons that have none, with the messages to the account's targets, and return them.

    They are stored before their signals are sent, so that of two concurrent runs only one sends each.
    """
    if not found:
        return []
    now = utc_now()
    # In one order, so that two processes cannot deadlock.
    ordered = sorted((client.id, reason.key) for client, reason in found)
    with unit_of_work(engine) as session:
        insert_into = sqlite.insert if engine.dialect.name == "sqlite" else postgresql.insert
        inserted = session.execute(
            insert_into(AttentionNotice)
            .on_conflict_do_nothing()
            .returning(AttentionNotice.client_key, AttentionNotice.reason),
            [{"client_key": client_key, "reason": key, "notified_at": now} for client_key, key in ordered],
        )
        new = {tuple(row) for row in inserted}
        stored = [(client, reason) for client, reason in found if (client.id, reason.key) in new]
        targets = targets_of(session, account_id) if stored else []
        for client, reason in stored:
            kind = attention_kind(reason.reason)
            add_messages(session, targets, kind=kind, client=client, facts=_facts(reason))
    return stored


def _send(engine: Engine, client: IdentityClient, reason: Attention) -> bool:
    """Send the signal of a stored notice; return False after an exception in a receiver."""
    ids = {"account_id": client.account_id, "client_key": client.id, "client_id": client.client_id}
    if signals.send(signals.attention, engine, **ids, attention=reason):
        return True
    with unit_of_work(engine) as session:
        session.execute(_notice_update(client, reason).values(signal_sent=False))
    return False


def _send_again(engine: Engine, account_id: str, client_keys: Sequence[uuid.UUID]) -> int:
    """Send the signals that a receiver refused; return how many it accepted."""
    found = _reasons(engine, account_id, client_keys)
    return sum(_claim_again(engine, *each) and _send(engine, *each) for each in found)


def _claim_again(engine: Engine, client: IdentityClient, reason: Attention) -> bool:
    """Return whether this process may send the signal again that a receiver refused."""
    with unit_of_work(engine) as session:
        claimed = session.execute(
            _notice_update(client, reason).where(AttentionNotice.signal_sent.is_(False)).values(signal_sent=True)
        )
        return bool(claimed.rowcount)  # type: ignore[attr-defined] # of an UPDATE


def _notice_update(client: IdentityClient, reason: Attention) -> Update:
    return update(AttentionNotice).where(_is_notice(client.id, reason.key)).execution_options(synchronize_session=False)


def _is_notice(client_key: uuid.UUID, reason: str) -> ColumnElement[bool]:
    return and_(AttentionNotice.client_key == client_key, AttentionNotice.reason == reason)


def _facts(reason: Attention) -> dict[str, Any]:
    """Return what a message says of a reason; `since` is the moment that `Attention.at` describes."""
    facts = {
        "secret": reason.secret_label,
        "since": reason.at.isoformat() if reason.at else None,
        "days": reason.within_days if reason.reason is AttentionReason.ENDING else reason.days,
        "refused": reason.refused,
        "requests": reason.requests,
    }
    return {name: value for name, value in facts.items() if value}
