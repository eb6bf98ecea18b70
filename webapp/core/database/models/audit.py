"""The audit log and its hash chains."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, Uuid, text
from sqlalchemy.orm import Mapped, mapped_column

from ...credentials import CLIENT_ID_MAX
from ..types import UtcDateTime
from .accounts import ACCOUNT_ID_MAX
from .base import Base, new_id
from .clients import IdentityClient


def has_change(dialect: str, field: str) -> str:
    """Return the SQL condition that an audit event changed a field, for a database's dialect.

    It has no parameters, so that a partial index with the same condition serves the query.

    :param field: a constant of the code, never a value from outside.
    """
    member = f"json_extract(changes, '$.{field}')" if dialect == "sqlite" else f"(changes -> '{field}')"
    return f"{member} IS NOT NULL"


class AuditEvent(Base):
    """One event of the audit log. Triggers reject updates, and deletion before the retention period ends (L1)."""

    __tablename__ = "identity_client_events"
    __table_args__ = (
        Index("ix_identity_client_events_account", "account_id", "at", "id"),
        Index("ix_identity_client_events_client", "client_key", "at", "id"),
        Index("ix_identity_client_events_actor", "account_id", "actor_id", "at", "id"),
        Index("ix_identity_client_events_action", "account_id", "action", "at", "id"),
        Index(
            "ix_identity_client_events_roles",
            "account_id",
            "action",
            "at",
            "id",
            sqlite_where=text(has_change("sqlite", "roles")),
            postgresql_where=text(has_change("postgresql", "roles")),
        ),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    account_id: Mapped[str | None] = mapped_column(String(200))
    """The account to whose log it belongs; None for the platform's own events, such as a change of signing key."""
    actor_id: Mapped[str] = mapped_column(String(200))
    actor_label: Mapped[str] = mapped_column(String(200))
    action: Mapped[str] = mapped_column(String(40))
    client_key: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(IdentityClient.id))
    client_id: Mapped[str | None] = mapped_column(String(CLIENT_ID_MAX))
    """The client ID at the time of the event."""
    changes: Mapped[dict[str, Any]] = mapped_column(JSON)
    """Per field `[before, after]`; of a secret its label and state, never its value."""
    address: Mapped[str | None] = mapped_column(String(45))
    request_id: Mapped[str | None] = mapped_column(String(64))


class AuditEventHash(Base):
    """The place of one audit event in the chain of its account; a trigger adds the row with the event.

    It has no foreign key, so that a row whose event is missing says so.
    """

    __tablename__ = "identity_client_event_hashes"
    __table_args__ = (
        UniqueConstraint("account_id", "position"),
        Index(
            "ix_identity_client_event_hashes_waiting",
            "account_id",
            "event_id",
            sqlite_where=text("position IS NULL"),
            postgresql_where=text("position IS NULL"),
        ),
    )

    event_id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    """Empty for the platform's own events."""
    position: Mapped[int | None] = mapped_column(BigInteger)
    """From 1 in each account; None while the event waits to be chained."""
    previous_hash: Mapped[str | None] = mapped_column(String(64))
    """The hash of the event before, empty at the first one."""
    hash: Mapped[str | None] = mapped_column(String(64))
    """SHA-256, in hexadecimal, as `audit.chain` describes."""


class AuditChain(Base):
    """The end of an account's chain of audit events, and its checkpoints."""

    __tablename__ = "identity_client_event_chains"

    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX), primary_key=True)
    """Empty for the chain of the platform's own events."""
    position: Mapped[int] = mapped_column(BigInteger, default=0)
    """The position of the latest event, 0 before the first."""
    hash: Mapped[str] = mapped_column(String(64), default="")
    checkpoint_position: Mapped[int] = mapped_column(BigInteger, default=0)
    """The position of the latest daily checkpoint."""
    checkpoint_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    purged_position: Mapped[int] = mapped_column(BigInteger, default=0)
    """The position up to which events were purged."""
    purge_checkpoint: Mapped[str | None] = mapped_column(Text)
    """A signed checkpoint of that position, from which the chain goes on."""
