"""The responses that the management API sends again for the same idempotency key."""

import uuid
from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from ..types import UtcDateTime
from .base import Base
from .clients import IdentityClient


class IdempotentResponse(Base):
    """The response to a request with an idempotency key, without its secret; kept for 24 hours."""

    __tablename__ = "identity_client_idempotent_responses"

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    """The client that sent the request."""
    key_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    """A digest of the request, keyed by the pepper, since its body may hold a secret."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    status: Mapped[int] = mapped_column(Integer)
    headers: Mapped[dict[str, str]] = mapped_column(JSON)
    body: Mapped[str] = mapped_column(Text)
