"""Sign a checkpoint of each account's audit log a day, and send it to those who want it (L9)."""

from datetime import UTC, datetime, time

from sqlalchemy import ColumnElement, Engine, and_, or_, select, update

from ..audit.actions import Action
from ..audit.chain import PLATFORM, chain_all_waiting
from ..audit.events import record_platform_event
from ..checkpoints.signing import CheckpointSigner
from ..database.models import AuditChain
from ..database.unit_of_work import read_session, unit_of_work
from ..tokens.signing_keys import SigningKeys
from .kinds import CHECKPOINT
from .outbox import add_messages, targets_of

SCHEDULE = "checkpoint schedule"
"""The actor of the audit events."""


def sign_checkpoints(engine: Engine, keys: SigningKeys, issuer: str, now: datetime) -> int:
    """Sign a checkpoint of each chain that has gone on, once a day (UTC); return how many.

    Each becomes an event of the platform, and thereby a line of the stream, and a message to the account's targets. Any
    number of processes may call it at the same time.

    :raises SigningKeyUnusable: a stored key does not decrypt.
    :raises Unavailable: the database is locked or unreachable.
    """
    chain_all_waiting(engine)
    is_due = _is_due(datetime.combine(now.date(), time.min, UTC))
    with read_session(engine) as session:
        due = session.scalars(select(AuditChain.account_id).where(is_due).order_by(AuditChain.account_id)).all()
    if not due:
        return 0
    signer = CheckpointSigner(keys, issuer, now)
    # The platform's, which has the events of the others, comes last.
    account_ids = [*(account_id for account_id in due if account_id != PLATFORM), PLATFORM]
    return sum(_sign(engine, account_id, is_due, signer, now) for account_id in account_ids)


def _sign(
    engine: Engine, account_id: str, is_due: ColumnElement[bool], signer: CheckpointSigner, now: datetime
) -> bool:
    """Sign a checkpoint of one chain, and return False if another process has done so."""
    with unit_of_work(engine) as session:
        # The row stays locked until the end, as do the chains of a change. The platform's comes last here too.
        end = session.execute(
            update(AuditChain)
            .where(AuditChain.account_id == account_id, is_due)
            .values(checkpoint_at=now, checkpoint_position=AuditChain.position)
            .returning(AuditChain.position, AuditChain.hash)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        if end is None:
            return False
        text = signer.sign(account_id, end.position, end.hash)
        record_platform_event(
            session,
            SCHEDULE,
            Action.CHECKPOINT_SIGNED,
            {"account": [None, account_id or None], "position": [None, end.position], "checkpoint": [None, text]},
        )
        if account_id != PLATFORM:
            facts = {"at": now.isoformat(), "position": end.position, "hash": end.hash, "checkpoint": text}
            add_messages(session, targets_of(session, account_id), kind=CHECKPOINT, client=None, facts=facts)
    return True


def _is_due(midnight: datetime) -> ColumnElement[bool]:
    return and_(
        AuditChain.position > AuditChain.checkpoint_position,
        or_(AuditChain.checkpoint_at.is_(None), AuditChain.checkpoint_at < midnight),
    )
