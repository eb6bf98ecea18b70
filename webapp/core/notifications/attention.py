"""Notify the host of clients that need attention, once for each new reason."""

from collections.abc import Iterator

from sqlalchemy import Engine, delete, select
from sqlalchemy.exc import IntegrityError

from ..audit import signals
from ..clients.attention import ANY, Attention, reasons
from ..clients.attention_queries import clients_of
from ..database.errors import violated_constraint
from ..database.models import Account, AttentionNotice, IdentityClient, utc_now
from ..database.unit_of_work import read_session, unit_of_work

CLIENTS_AT_ONCE = 500


def send_attention_signals(engine: Engine) -> int:
    """Send the signal `attention` for each reason of every account that was not sent before; return their number.

    A reason that disappears and comes back is new. After an exception in a receiver the signal is sent again next time.
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
    known = {(notice.client_key, notice.reason) for notice in notices}
    return sum(_send(engine, *present[key]) for key in present if key not in known)


def _present(engine: Engine, account_id: str) -> Iterator[tuple[IdentityClient, Attention]]:
    with read_session(engine) as session:
        clients = session.scalars(
            select(IdentityClient)
            .where(
                IdentityClient.account_id == account_id,
                IdentityClient.id.in_(select(clients_of(ANY, account_id, utc_now()).subquery().c.client_key)),
            )
            .order_by(IdentityClient.client_id_folded)
        ).all()
        for start in range(0, len(clients), CLIENTS_AT_ONCE):
            batch = clients[start : start + CLIENTS_AT_ONCE]
            found = reasons(session, account_id, batch)
            for client in batch:
                for reason in found.get(client.id, []):
                    yield client, reason


def _send(engine: Engine, client: IdentityClient, reason: Attention) -> bool:
    # Stored first, so that of two concurrent runs only one sends the signal.
    try:
        with unit_of_work(engine) as session:
            session.add(AttentionNotice(client_key=client.id, reason=reason.key, notified_at=utc_now()))
    except IntegrityError as error:
        if violated_constraint(error) != "pk_identity_client_attention_notices":
            raise
        return False
    ids = {"account_id": client.account_id, "client_key": client.id, "client_id": client.client_id}
    if signals.send(signals.attention, engine, **ids, attention=reason):
        return True
    with unit_of_work(engine) as session:
        session.execute(
            delete(AttentionNotice).where(AttentionNotice.client_key == client.id, AttentionNotice.reason == reason.key)
        )
    return False
