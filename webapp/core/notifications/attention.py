"""Notify the account's targets and the host of clients that need attention, once for each new reason."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Engine, Update, select, update
from sqlalchemy.exc import IntegrityError

from ..audit import signals
from ..clients.attention import ANY, Attention, AttentionReason, reasons, rules_of
from ..clients.attention_queries import clients_of
from ..database.errors import violated_constraint
from ..database.models import Account, AttentionNotice, IdentityClient, is_of_account, utc_now
from ..database.unit_of_work import read_session, unit_of_work
from .kinds import attention_kind
from .outbox import add_messages

CLIENTS_AT_ONCE = 500


def send_attention_signals(engine: Engine) -> int:
    """Notify of each new reason of every account, and send its signal `attention`; return the number of signals.

    A reason that disappears and comes back is new. After an exception in a receiver the signal is sent again next time;
    the account's own targets get their messages once.
    """
    with read_session(engine) as session:
        account_ids = session.scalars(select(Account.id).where(Account.feature_enabled).order_by(Account.id)).all()
    return sum(_send_for_account(engine, account_id) for account_id in account_ids)


def _send_for_account(engine: Engine, account_id: str) -> int:
    present = {(client.id, reason.key): (client, reason) for client, reason in _present(engine, account_id)}
    with unit_of_work(engine) as session:
        notices = session.scalars(
            select(AttentionNotice)
            .join(IdentityClient, IdentityClient.id == AttentionNotice.client_key)
            .where(IdentityClient.account_id == account_id)
        ).all()
        for notice in notices:
            if (notice.client_key, notice.reason) not in present:
                session.delete(notice)
    sent = {(notice.client_key, notice.reason): notice.signal_sent for notice in notices}
    return sum(_send(engine, *present[key], is_known=key in sent) for key in present if not sent.get(key))


def _present(engine: Engine, account_id: str) -> Iterator[tuple[IdentityClient, Attention]]:
    with read_session(engine) as session:
        found_keys = clients_of(ANY, account_id, utc_now(), rules_of(session, account_id)).subquery().c.client_key
        clients = session.scalars(
            select(IdentityClient)
            .where(
                is_of_account(account_id),
                IdentityClient.id.in_(select(found_keys)),
            )
            .order_by(IdentityClient.client_id_folded)
        ).all()
        for start in range(0, len(clients), CLIENTS_AT_ONCE):
            batch = clients[start : start + CLIENTS_AT_ONCE]
            found = reasons(session, account_id, batch)
            for client in batch:
                for reason in found.get(client.id, []):
                    yield client, reason


def _send(engine: Engine, client: IdentityClient, reason: Attention, *, is_known: bool) -> bool:
    # Stored first, so that of two concurrent runs only one sends the signal.
    if not (_claim_again(engine, client, reason) if is_known else _store(engine, client, reason)):
        return False
    ids = {"account_id": client.account_id, "client_key": client.id, "client_id": client.client_id}
    if signals.send(signals.attention, engine, **ids, attention=reason):
        return True
    with unit_of_work(engine) as session:
        session.execute(_notice_update(client, reason).values(signal_sent=False))
    return False


def _store(engine: Engine, client: IdentityClient, reason: Attention) -> bool:
    """Store a new reason with the messages to the account's targets; return False if another process has done so."""
    try:
        with unit_of_work(engine) as session:
            session.add(AttentionNotice(client_key=client.id, reason=reason.key, notified_at=utc_now()))
            session.flush()
            add_messages(
                session,
                account_id=client.account_id,
                kind=attention_kind(reason.reason),
                client=client,
                facts=_facts(reason),
            )
    except IntegrityError as error:
        if violated_constraint(error) != "pk_identity_client_attention_notices":
            raise
        return False
    return True


def _claim_again(engine: Engine, client: IdentityClient, reason: Attention) -> bool:
    """Return whether this process may send the signal again that a receiver refused."""
    with unit_of_work(engine) as session:
        claimed = session.execute(
            _notice_update(client, reason).where(AttentionNotice.signal_sent.is_(False)).values(signal_sent=True)
        )
        return bool(claimed.rowcount)  # type: ignore[attr-defined] # of an UPDATE


def _notice_update(client: IdentityClient, reason: Attention) -> Update:
    return (
        update(AttentionNotice)
        .where(AttentionNotice.client_key == client.id, AttentionNotice.reason == reason.key)
        .execution_options(synchronize_session=False)
    )


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
