"""Verify the hash chains of the audit log, in constant memory (L8, L9)."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.chain import COLUMNS, NO_HASH, PLATFORM, canonical_text, hash_of
from ..database.models import AuditChain, AuditEvent, AuditEventHash
from ..database.unit_of_work import read_session
from .signing import Checkpoint, InvalidCheckpoint, known_keys, read_checkpoint

EVENTS_AT_ONCE = 1_000
UNCHAINED_FOR = timedelta(minutes=15)
"""By how much an event from before the chain may seem younger than its first one, by the clocks of several hosts."""


@dataclass(slots=True)
class Verified:
    """How much was verified.

    :param events: whose hashes are right or wrong.
    :param before: events from before there were hashes, which nothing protects.
    :param waiting: events of a former release, which the next change of their account chains.
    :param compared: events and checkpoints from elsewhere that were compared.
    :param purged: those of them that are past their retention here.
    """

    events: int = 0
    before: int = 0
    waiting: int = 0
    compared: int = 0
    purged: int = 0


class ChainVerifier:
    """Verifies chains. Each error is a sentence that names the account, the position and the event.

    :param verified: counts what was verified so far.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known_keys = known_keys(engine)
        self.verified = Verified()

    def accounts(self) -> list[str]:
        """Return the accounts that have a chain, `PLATFORM` first."""
        with read_session(self._engine) as session:
            return sorted(
                {
                    *session.scalars(select(AuditChain.account_id)),
                    *session.scalars(select(AuditEventHash.account_id).distinct()),
                }
            )

    def verify(self, account_id: str) -> Iterator[str]:
        """Yield the errors in the chain of an account, each as a sentence.

        The platform's chain contains the daily checkpoints of all accounts, with which their chains are compared too.
        """
        name = name_of(account_id)
        with self._snapshot() as session:
            chain = session.get(AuditChain, account_id) or AuditChain(position=0, hash=NO_HASH, purged_position=0)
            position, previous_hash = chain.purged_position, NO_HASH
            if position:
                previous_hash, error = self._read_purge_checkpoint(account_id, chain)
                if error:
                    yield f"{name}: {error}"
            first_at = None
            for entry in self._entries(session, account_id, chain.position):
                if entry.position != position + 1:
                    yield f"{name}: the events at positions {position + 1} to {entry.position - 1} are missing."
                elif entry.previous_hash != previous_hash:
                    yield f"{name}: event {entry.event_id} at position {entry.position} does not follow the one before."
                if entry.id is None:
                    yield f"{name}: event {entry.event_id} at position {entry.position} is missing."
                else:
                    first_at = first_at or entry.at
                    if hash_of(canonical_text(entry, entry.position, entry.previous_hash)) != entry.hash:
                        yield f"{name}: event {entry.event_id} at position {entry.position} was changed or moved."
                    if account_id == PLATFORM and entry.action == Action.CHECKPOINT_SIGNED:
                        yield from self._compare_own(session, entry)
                position, previous_hash = entry.position, entry.hash
                self.verified.events += 1
            if position < chain.position:
                yield f"{name}: the events at positions {position + 1} to {chain.position} are missing."
            elif previous_hash != chain.hash:
                yield f"{name}: the end of the chain at position {chain.position} was changed."
            yield from self._check_unchained(session, account_id, first_at, has_chain=chain.position > 0)

    def compare(self, lines: Iterable[str], account_id: str | None) -> Iterator[str]:
        """Yield where the database differs from what was kept elsewhere, each as a sentence.

        :param lines: checkpoints, or lines of the stream or of webhooks; every line of the stream is compared, also
            those without a checkpoint.
        :param account_id: compare those of this account only.
        """
        with read_session(self._engine) as session:
            for number, line in enumerate(lines, 1):
                try:
                    for found in _kept(line.strip()):
                        if account_id in (None, found.account_id):
                            self.verified.compared += 1
                            yield from self._compare(session, found, f"line {number}")
                except InvalidCheckpoint:
                    yield f"line {number}: this is no checkpoint, or its signature is wrong."

    @contextmanager
    def _snapshot(self) -> Iterator[Session]:
        """Open a session that sees one state of the database, whatever is written or purged meanwhile."""
        options = {"isolation_level": "REPEATABLE READ"} if self._engine.dialect.name == "postgresql" else {}
        with read_session(self._engine.execution_options(**options)) as session:
            yield session

    def _entries(self, session: Session, account_id: str, last: int) -> Iterator[Any]:
        """Yield the hashes of a chain in order, each with its event; the columns of a missing event are None."""
        hashes = (AuditEventHash.event_id, AuditEventHash.position, AuditEventHash.previous_hash, AuditEventHash.hash)
        yield from session.execute(
            select(*hashes, *COLUMNS)
            .outerjoin(AuditEvent, AuditEvent.id == AuditEventHash.event_id)
            .where(AuditEventHash.account_id == account_id, AuditEventHash.position <= last)
            .order_by(AuditEventHash.position)
            .execution_options(yield_per=EVENTS_AT_ONCE)
        )

    def _read_purge_checkpoint(self, account_id: str, chain: AuditChain) -> tuple[str, str | None]:
        """Return the hash after which a chain continues since a purge, and the error in its checkpoint, or None."""
        try:
            found = read_checkpoint(chain.purge_checkpoint or "")
        except InvalidCheckpoint:
            return NO_HASH, "the checkpoint of the purge is missing or was changed."
        if (found.account_id, found.position) != (account_id, chain.purged_position):
            return found.hash, f"the checkpoint of the purge is not that of position {chain.purged_position}."
        if found.kid not in self._known_keys:
            return found.hash, f"the checkpoint of the purge is signed by {found.kid}, which is no key of ours."
        return found.hash, None

    def _check_unchained(self, session: Session, account_id: str, first_at: Any, *, has_chain: bool) -> Iterator[str]:
        """Count the events that have no hash, and yield those that must have one."""
        name = name_of(account_id)
        waiting = (
            select(AuditEventHash.event_id, AuditEvent.id)
            .outerjoin(AuditEvent, AuditEvent.id == AuditEventHash.event_id)
            .where(AuditEventHash.account_id == account_id, AuditEventHash.position.is_(None))
            .execution_options(yield_per=EVENTS_AT_ONCE)
        )
        for event_id, found in session.execute(waiting):
            if found is None:
                yield f"{name}: event {event_id}, which was not chained yet, is missing."
            else:
                self.verified.waiting += 1
        unchained = (
            select(AuditEvent.id, AuditEvent.at)
            .outerjoin(AuditEventHash, AuditEventHash.event_id == AuditEvent.id)
            .where(AuditEvent.account_id == (account_id or None), AuditEventHash.event_id.is_(None))
            .execution_options(yield_per=EVENTS_AT_ONCE)
        )
        for event_id, at in session.execute(unchained):
            if has_chain and (first_at is None or at > first_at + UNCHAINED_FOR):
                yield f"{name}: event {event_id} is not in the chain."
            else:
                self.verified.before += 1

    def _compare_own(self, session: Session, event: Any) -> Iterator[str]:
        """Compare a chain with the checkpoint that an event of the platform holds."""
        try:
            found = read_checkpoint(str(event.changes["checkpoint"][1]))
        except (InvalidCheckpoint, KeyError, IndexError, TypeError):
            yield f"{name_of(PLATFORM)}: the checkpoint in event {event.id} is wrong."
            return
        yield from self._compare(session, _Kept.of(found), f"event {event.id}")

    def _compare(self, session: Session, kept: "_Kept", source: str) -> Iterator[str]:
        if kept.kid is not None and kept.kid not in self._known_keys:
            yield f"{source}: the checkpoint is signed by {kept.kid}, which is no key of ours."
        name, what = name_of(kept.account_id), f"{kept.what} ({source})"
        entry = session.execute(
            select(AuditEventHash.event_id, AuditEventHash.hash).where(
                AuditEventHash.account_id == kept.account_id, AuditEventHash.position == kept.position
            )
        ).one_or_none()
        if entry is not None:
            if entry.hash != kept.hash:
                yield f"{name}: event {entry.event_id} at position {kept.position} is not the one of {what}."
            return
        chain = session.get(AuditChain, kept.account_id, populate_existing=True)
        if chain is not None and kept.position <= chain.purged_position:
            self.verified.purged += 1
        elif chain is None or kept.position > chain.position:
            end = chain.position if chain else 0
            yield f"{name}: the chain ends at position {end}, before position {kept.position} of {what}."
        else:
            yield f"{name}: the event at position {kept.position} of {what} is missing."


@dataclass(frozen=True, slots=True)
class _Kept:
    """A hash that was kept elsewhere."""

    account_id: str
    position: int
    hash: str
    what: str
    kid: str | None = None

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "_Kept":
        what = f"the checkpoint of {checkpoint.at:%Y-%m-%d %H:%M} UTC"
        return cls(checkpoint.account_id, checkpoint.position, checkpoint.hash, what, checkpoint.kid)


def name_of(account_id: str) -> str:
    """Return how sentences name an account."""
    return f"account {account_id}" if account_id else "platform"


def _kept(line: str) -> Iterator[_Kept]:
    """Yield what a line has to compare: a checkpoint, the hash of a streamed event, or both.

    :raises InvalidCheckpoint: the line has neither, or a checkpoint is wrong.
    """
    if not line:
        return
    if not line.startswith("{"):
        yield _Kept.of(read_checkpoint(line))
        return
    try:
        found = json.loads(line)
        if "class_uid" not in found:
            yield _Kept.of(read_checkpoint(found["data"]["checkpoint"]))
            return
        if "raw_data_hash" in found:  # an event from before there were hashes has none
            metadata = found["metadata"]
            account_id = metadata.get("tenant_uid", PLATFORM)
            what = f"the streamed event {metadata['uid']}"
            yield _Kept(account_id, metadata["sequence"], found["raw_data_hash"]["value"], what)
        if "checkpoint" in (changes := found["unmapped"]["changes"]):
            yield _Kept.of(read_checkpoint(changes["checkpoint"][1]))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise InvalidCheckpoint from error
