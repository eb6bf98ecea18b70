"""Notifications, and the targets that accounts send them to."""

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, Index, Integer, LargeBinary, String, Uuid, text, true
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ...credentials import CLIENT_ID_MAX
from ..types import StringSet, UtcDateTime
from .accounts import ACCOUNT_ID_MAX, Account
from .base import Base, new_id
from .clients import IdentityClient

NOTIFICATION_ADDRESS_MAX = 500
NOTIFICATION_ERROR_MAX = 200


class AttentionNotice(Base):
    """A notification that a client needs attention, sent to the host; deleted once its reason no longer applies."""

    __tablename__ = "identity_client_attention_notices"

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    reason: Mapped[str] = mapped_column(String(40), primary_key=True)
    notified_at: Mapped[datetime] = mapped_column("told_at", UtcDateTime)
    signal_sent: Mapped[bool] = mapped_column(Boolean, default=True, server_default=true())
    """False after an exception in a receiver of the host; the signal is then sent again."""


class NotificationTarget(Base):
    """Where an account sends notifications: an e-mail address, a webhook, or the owners of its clients."""

    __tablename__ = "identity_client_notification_targets"
    __table_args__ = (Index("ix_identity_client_notification_targets_account", "account_id"),)

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id))
    channel: Mapped[str] = mapped_column(String(20))
    address: Mapped[str] = mapped_column(String(NOTIFICATION_ADDRESS_MAX))
    """An e-mail address, or the URL of a webhook."""
    kinds: Mapped[frozenset[str]] = mapped_column(StringSet)
    """The kinds of notifications that it gets."""
    secret_encrypted: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The secret that signs a webhook's messages; the format is that of `private_key_encrypted`."""
    previous_secret_encrypted: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_secret_ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """Until then the secret before signs too."""
    given_up_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a message to it could not be delivered for three days; None since the last that was delivered."""
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(200))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(200))
    removed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy reads it as it is


def _pending_index(name: str, *columns: str) -> Index:
    pending = text("next_attempt_at IS NOT NULL")
    return Index(f"ix_identity_client_notifications_{name}", *columns, sqlite_where=pending, postgresql_where=pending)


class Notification(Base):
    """A message to one target: written in the transaction of the change, delivered later, then kept as a log."""

    __tablename__ = "identity_client_notifications"
    __table_args__ = (
        Index("ix_identity_client_notifications_account", "account_id", "id"),
        _pending_index("due", "next_attempt_at"),
        _pending_index("queue", "target_id", "recipient", "id"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    message_id: Mapped[uuid.UUID] = mapped_column(Uuid)
    """The ID that the receiver gets, which a message that is sent again keeps."""
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    target_id: Mapped[uuid.UUID] = mapped_column(ForeignKey(NotificationTarget.id))
    recipient: Mapped[str] = mapped_column(String(NOTIFICATION_ADDRESS_MAX))
    kind: Mapped[str] = mapped_column(String(60))
    client_key: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(IdentityClient.id))
    client_id: Mapped[str | None] = mapped_column(String(CLIENT_ID_MAX))
    """The client ID at the time of the message."""
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    """What the message says, by name; never a secret or a hash."""
    is_ordered: Mapped[bool] = mapped_column(Boolean)
    """Whether it waits for the earlier messages to the same recipient; a test and a repetition do not."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    next_attempt_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """None once it is delivered or given up."""
    lease: Mapped[uuid.UUID | None] = mapped_column(Uuid)
    """The attempt that is under way; its process may deliver the message until `leased_until`, and no other."""
    leased_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    delivered_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str | None] = mapped_column(String(NOTIFICATION_ERROR_MAX))

    target: Mapped[NotificationTarget] = relationship(lazy="raise")
