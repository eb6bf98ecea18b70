"""The token requests of clients, their counts, and the addresses that they came from."""

import uuid
from datetime import date, datetime

from sqlalchemy import BigInteger, Date, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from ..types import UtcDateTime
from .accounts import ACCOUNT_ID_MAX
from .base import Base
from .clients import IdentityClient

SCOPE_MAX = 1000


class TokenRequest(Base):
    """One of a client's latest token requests, issued or refused, with the true reason (L2)."""

    __tablename__ = "identity_client_token_requests"
    __table_args__ = (
        Index("ix_identity_client_token_requests_outcome", "account_id", "outcome", "at", "number"),
        Index("ix_identity_client_token_requests_address", "account_id", "address", "at", "number"),
        Index("ix_identity_client_token_requests_request_id", "account_id", "request_id", "at", "number"),
        {"sqlite_with_rowid": False},
    )

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """Distinguishes requests at the same time. The key is the reading order, so that no other index is needed."""
    outcome: Mapped[str] = mapped_column(String(32))
    secret_label: Mapped[str | None] = mapped_column(String(8))
    address: Mapped[str | None] = mapped_column(String(45))
    scope: Mapped[str] = mapped_column(String(SCOPE_MAX))
    """The `scope` parameter, empty if there was none; `?` replaces each character that a scope cannot contain."""
    account_id: Mapped[str | None] = mapped_column(String(ACCOUNT_ID_MAX))
    """The client's account; None in rows of a release that did not write it."""
    request_id: Mapped[str | None] = mapped_column(String(64))
    """The ID of the HTTP request: the caller's `X-Request-ID`, or ours."""


class CallerAddress(Base):
    """An address from which a client authenticated, kept however many requests came since (A8)."""

    __tablename__ = "identity_client_caller_addresses"
    __table_args__ = ({"sqlite_with_rowid": False},)

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    last_at: Mapped[datetime] = mapped_column(UtcDateTime)


class TokenRequestCount(Base):
    """The number of token requests of a client on one day (UTC) with one secret or key and one outcome (L2)."""

    __tablename__ = "identity_client_token_request_counts"
    __table_args__ = ({"sqlite_with_rowid": False},)

    day: Mapped[date] = mapped_column(Date, primary_key=True)
    """Comes first in the key, so that the rows written today are adjacent, and so are the rows to purge."""
    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    secret_label: Mapped[str] = mapped_column(String(8), primary_key=True)
    """The label of the secret or key that matched, empty if none did; no label is that of both."""
    outcome: Mapped[str] = mapped_column(String(32), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
