"""Copies of the clients' data, in the form in which the list of clients is searched and filtered.

Triggers of the database keep the roles, tags and attention periods up to date.
"""

import uuid
from datetime import UTC, date, datetime

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from ...credentials import CLIENT_ID_MAX
from ..types import UtcDateTime, sorted_text
from .accounts import ACCOUNT_ID_MAX
from .base import Base
from .clients import TAG_MAX, IdentityClient


class ClientRole(Base):
    """An API role of a client that is not deleted; a trigger keeps it up to date."""

    __tablename__ = "identity_client_roles"
    __table_args__ = (
        Index("ix_identity_client_roles_list", "account_id", "role", "client_id_folded", "client_key"),
        Index(
            "ix_identity_client_roles_secret",
            "account_id",
            "role",
            "secret_until_at",
            "client_id_folded",
            "client_key",
        ),
        {"sqlite_with_rowid": False},
    )

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    role: Mapped[str] = mapped_column(String(60), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    client_id_folded: Mapped[str] = mapped_column(sorted_text(CLIENT_ID_MAX))
    secret_until_at: Mapped[datetime] = mapped_column(UtcDateTime, server_default=text("'1970-01-01 00:00:00.000000'"))
    """When the last secret of the client ends; long past where it has none, or is disabled."""


class ClientTag(Base):
    """A tag of a client that is not deleted; a trigger keeps it up to date."""

    __tablename__ = "identity_client_tags"
    __table_args__ = (
        Index("ix_identity_client_tags_list", "account_id", "tag", "client_id_folded", "client_key"),
        {"sqlite_with_rowid": False},
    )

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    tag: Mapped[str] = mapped_column(sorted_text(TAG_MAX), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    client_id_folded: Mapped[str] = mapped_column(sorted_text(CLIENT_ID_MAX))


NO_END = datetime(9000, 1, 1, tzinfo=UTC)
"""The end of a period that has none, so that one index finds both kinds."""


class AttentionPeriod(Base):
    """A reason why an enabled client's credentials will need attention, as time passes; triggers keep it up to date.

    `ending`: the secret or key works and ends at `until_at`. `old`: it was created at `since_at`, and ends at
    `until_at`. `two`: from `since_at` to `until_at` the secret and an older one have not ended.
    """

    __tablename__ = "identity_client_attention_periods"
    __table_args__ = (
        Index(
            "ix_identity_client_attention_periods_time",
            "account_id",
            "reason",
            "until_at",
            "since_at",
            "client_id_folded",
            "client_key",
        ),
        Index(
            "ix_identity_client_attention_periods_client",
            "account_id",
            "reason",
            "client_id_folded",
            "client_key",
            "until_at",
            "since_at",
        ),
        {"sqlite_with_rowid": False},
    )

    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    reason: Mapped[str] = mapped_column(String(20), primary_key=True)
    secret_label: Mapped[str] = mapped_column(String(8), primary_key=True)
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    since_at: Mapped[datetime] = mapped_column(UtcDateTime)
    until_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """`NO_END` where there is no end date."""
    client_id_folded: Mapped[str] = mapped_column(sorted_text(CLIENT_ID_MAX))


class RefusalDay(Base):
    """The token requests of a client on a day (UTC) and the day before, where the share of refused ones is high.

    `core.usage.refusal_days` keeps it, for the next day too: then it has only those of the day.
    """

    __tablename__ = "identity_client_refusal_days"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id), primary_key=True)
    refused: Mapped[int] = mapped_column(BigInteger)
    requests: Mapped[int] = mapped_column(BigInteger)


class ClientSearchText(Base):
    """The text in which a search looks for a client; `search_index` has its trigrams by `number`."""

    __tablename__ = "identity_client_search_texts"
    __table_args__ = (
        UniqueConstraint("client_key"),
        Index(
            "ix_identity_client_search_texts_stale",
            "account_id",
            sqlite_where=text("is_stale = 1"),
            postgresql_where=text("is_stale"),
        ),
    )

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer(), "sqlite"), Identity(), primary_key=True)
    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id))
    account_id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX))
    text: Mapped[str] = mapped_column(Text)
    is_stale: Mapped[bool] = mapped_column(Boolean)
    """Whether the client was changed since; triggers set it."""
