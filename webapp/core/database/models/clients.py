"""The identity clients, their secrets and their keys."""

import uuid
from datetime import datetime
from enum import StrEnum

from sqlalchemy import (
    Boolean,
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    func,
    text,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship, validates

from ...addresses import AllowedNetwork
from ...credentials import CLIENT_ID_MAX, CLIENT_ID_MIN
from ..types import EpochSeconds, MaskedText, NetworkList, StringSet, UtcDateTime, sorted_text
from .accounts import Account
from .base import Base, new_id

NAME_MIN, NAME_MAX = 3, 100
DESCRIPTION_MAX = 1000
OWNER_MIN, OWNER_MAX = 3, 100
TAG_MAX, TAGS_MAX = 30, 10
REVIEW_NOTE_MAX = 1000
TOKEN_DURATION_MIN_MINUTES, TOKEN_DURATION_MAX_MINUTES = 10, 60


def _list_index(column: str, *also: str) -> Index:
    # Partial, since PostgreSQL would not use an index that begins with deleted_at for the order of the rows.
    present = text("deleted_at IS NULL")
    return Index(
        f"ix_identity_clients_status_{column}",
        "account_id",
        "enabled",
        column,
        "id",
        *also,
        sqlite_where=present,
        postgresql_where=present,
    )


def _unused_index(name: str, *columns: str) -> Index:
    # One expression, since SQLite would choose an index by status or by last token where their columns are compared.
    is_unused = text("deleted_at IS NULL AND CASE WHEN enabled THEN last_token_at END = 0")
    return Index(
        f"ix_identity_clients_unused_{name}",
        "account_id",
        *columns,
        "enabled",
        "last_token_at",
        sqlite_where=is_unused,
        postgresql_where=is_unused,
    )


_HAS_OWNER = text("deleted_at IS NULL AND owner_folded <> ''")


class IdentityClient(Base):
    """A machine credential. Deletion keeps the row, so that its ID stays taken and its audit log complete."""

    __tablename__ = "identity_clients"
    __table_args__ = (
        UniqueConstraint("client_id"),
        UniqueConstraint("account_id", "creation_key"),
        CheckConstraint(f"length(client_id) BETWEEN {CLIENT_ID_MIN} AND {CLIENT_ID_MAX}", name="client_id_length"),
        CheckConstraint(f"name = '' OR length(name) BETWEEN {NAME_MIN} AND {NAME_MAX}", name="name_length"),
        CheckConstraint(f"length(description) <= {DESCRIPTION_MAX}", name="description_length"),
        CheckConstraint(
            f"token_duration_minutes BETWEEN {TOKEN_DURATION_MIN_MINUTES} AND {TOKEN_DURATION_MAX_MINUTES}",
            name="token_duration",
        ),
        CheckConstraint("roles <> '[]'", name="roles"),
        CheckConstraint(f"owner = '' OR length(owner) BETWEEN {OWNER_MIN} AND {OWNER_MAX}", name="owner_length"),
        _list_index("client_id_folded"),
        _list_index("name_folded"),
        _list_index("created_at"),
        _list_index("updated_at"),
        _list_index("last_token_at", "client_id_folded"),
        Index(
            "ix_identity_clients_owner",
            "account_id",
            "owner_folded",
            "client_id_folded",
            "id",
            sqlite_where=_HAS_OWNER,
            postgresql_where=_HAS_OWNER,
        ),
        Index(
            "ix_identity_clients_review",
            "account_id",
            "enabled",
            "reviewed_at",
            "created_at",
            "id",
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        _unused_index("time", "created_at", "client_id_folded", "id"),
        _unused_index("client", "client_id_folded", "id", "created_at"),
    )

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id))
    client_id: Mapped[str] = mapped_column(String(CLIENT_ID_MAX))
    client_id_folded: Mapped[str] = mapped_column(sorted_text(CLIENT_ID_MAX))
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    name_folded: Mapped[str] = mapped_column(sorted_text(NAME_MAX * 3))
    """The case-folded name, for sorting and searching alike on every engine; folding may lengthen it."""
    description: Mapped[str] = mapped_column(Text)
    description_folded: Mapped[str] = mapped_column(Text)
    token_duration_minutes: Mapped[int] = mapped_column(Integer)
    roles: Mapped[frozenset[str]] = mapped_column(StringSet)
    owner: Mapped[str] = mapped_column(String(OWNER_MAX), default="", server_default=text("''"))
    """Who answers for it, by name or e-mail address; empty: nobody was named."""
    owner_folded: Mapped[str] = mapped_column(sorted_text(OWNER_MAX * 3), default="", server_default=text("''"))
    tags: Mapped[frozenset[str]] = mapped_column(StringSet, default=frozenset(), server_default=text("'[]'"))
    """In small letters."""
    enabled: Mapped[bool] = mapped_column(Boolean)
    allowed_networks: Mapped[tuple[AllowedNetwork, ...]] = mapped_column(
        NetworkList, default=(), server_default=text("'[]'")
    )
    """The networks from which it may call (A8); empty: any."""
    creation_key: Mapped[str | None] = mapped_column(String(64))
    """The one-time key of the form that created it, so that a repeated POST creates nothing."""
    last_token_at: Mapped[datetime | None] = mapped_column(EpochSeconds, nullable=False, server_default=text("0"))
    """When a token was last issued to it, accurate to a minute; None: never."""
    reviewed_at: Mapped[datetime | None] = mapped_column(EpochSeconds, nullable=False, server_default=text("0"))
    """When somebody last reviewed its access; None: never."""
    reviewed_by: Mapped[str] = mapped_column(String(200), default="", server_default=text("''"))
    review_found: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    """What the last review found."""
    review_done: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))
    token_generation: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    """How often all its tokens were revoked; each token carries the number at its issue (T13)."""
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(200))
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_by: Mapped[str] = mapped_column(String(200))
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    account: Mapped[Account] = relationship(lazy="raise")
    secrets: Mapped[list["ClientSecret"]] = relationship(
        back_populates="client", order_by="ClientSecret.created_at", lazy="raise"
    )
    keys: Mapped[list["ClientKey"]] = relationship(
        back_populates="client", order_by="ClientKey.created_at", lazy="raise"
    )

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy reads it as it is

    @validates("client_id", "name", "description", "owner")
    def _fold(self, column: str, value: str) -> str:
        # Stored, since the engines disagree on the lower case of some letters.
        setattr(self, f"{column}_folded", value.casefold())
        return value


def is_of_account(account_id: str) -> ColumnElement[bool]:
    """Return the condition that a client is of an account, for a statement that finds clients by their keys.

    No index serves it: without statistics SQLite would rather read all clients of the account than each key.
    """
    return func.coalesce(IdentityClient.account_id, "") == account_id


class ClaimedClientId(Base):
    """An ID that a client or a resource server has or had, so that no other one can ever take it (T3)."""

    __tablename__ = "identity_client_claimed_ids"

    client_id_folded: Mapped[str] = mapped_column(String(CLIENT_ID_MAX), primary_key=True)
    client_key: Mapped[uuid.UUID | None] = mapped_column(ForeignKey(IdentityClient.id), index=True)
    """None for a resource server's ID."""


class SecretState(StrEnum):
    """The state of a secret or key at a given time (S8). The values are stored in audit events and never change."""

    CURRENT = "current"
    ENDING = "ending"
    """It authenticates the client, and has an end date."""
    PAUSED = "paused"
    ENDED = "ended"


def secret_state(ends_at: datetime | None, paused_at: datetime | None, now: datetime) -> SecretState:
    """Return a secret's or key's state; it authenticates while current or ending, not at `ends_at` itself (S8)."""
    if ends_at is not None and ends_at <= now:
        return SecretState.ENDED
    if paused_at is not None:
        return SecretState.PAUSED
    return SecretState.CURRENT if ends_at is None else SecretState.ENDING


class Credential:
    """The columns that secrets and keys share: what authenticates a client, and until when."""

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    client_key: Mapped[uuid.UUID] = mapped_column(ForeignKey(IdentityClient.id))
    label: Mapped[str] = mapped_column(String(8))
    """Of a secret A, B, C and so on, of a key 1, 2, 3 and so on, in the order of creation."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(200))
    ends_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """From this time on it does not authenticate (S8); None: no end date."""
    paused_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_address: Mapped[str | None] = mapped_column(String(45))

    def state_at(self, now: datetime) -> SecretState:
        """Return its state at a given time."""
        return secret_state(self.ends_at, self.paused_at, now)


class ClientSecret(Credential, Base):
    """One secret of a client, stored as a hash only (S1, S2)."""

    __tablename__ = "identity_client_secrets"
    __table_args__ = (
        UniqueConstraint("client_key", "label"),
        Index(
            "ix_identity_client_secrets_legacy",
            "ends_at",
            sqlite_where=text("legacy_scheme = 1"),
            postgresql_where=text("legacy_scheme"),
        ),
    )

    secret_hash: Mapped[str] = mapped_column(MaskedText(200))
    pepper_version: Mapped[int] = mapped_column(Integer)
    legacy_scheme: Mapped[bool] = mapped_column(Boolean, default=False, server_default=true())
    """Whether it was hashed before the scheme followed the form of the secret; cleared when the hash is renewed."""

    client: Mapped[IdentityClient] = relationship(back_populates="secrets", lazy="raise")


class ClientKey(Credential, Base):
    """One public key of a client, by which it authenticates with `private_key_jwt` (S11)."""

    __tablename__ = "identity_client_keys"
    __table_args__ = (UniqueConstraint("client_key", "label"), UniqueConstraint("client_key", "thumbprint"))

    thumbprint: Mapped[str] = mapped_column(String(43))
    """The SHA-256 thumbprint of the key (RFC 7638)."""
    algorithm: Mapped[str] = mapped_column(String(16))
    """The only algorithm that its assertions may be signed with: ES256, EdDSA or PS256."""
    public_jwk: Mapped[str] = mapped_column(Text)
    """The required members of the key as a JWK, in the form of which the thumbprint is the digest."""
    long_assertion_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it last signed an assertion that only the standard profile accepts, accurate to a day (S11); None: never."""

    client: Mapped[IdentityClient] = relationship(back_populates="keys", lazy="raise")
