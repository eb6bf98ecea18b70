"""Signing keys, revoked tokens, used assertions, and the resource servers that introspect tokens."""

import uuid
from datetime import datetime

from sqlalchemy import JSON, Boolean, Integer, LargeBinary, String, UniqueConstraint, Uuid, true
from sqlalchemy.orm import Mapped, mapped_column

from ...credentials import CLIENT_ID_MAX
from ..types import EpochSeconds, MaskedText, UtcDateTime
from .base import Base, new_id
from .clients import NAME_MAX


class StoredSigningKey(Base):
    """A key pair that signs tokens; the private key is stored encrypted (T9)."""

    __tablename__ = "identity_client_signing_keys"

    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    """The thumbprint of the public key (RFC 7638)."""
    public_jwk: Mapped[dict[str, str]] = mapped_column(JSON)
    private_key_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    """A 12-byte nonce, then AES-256-GCM of the private key in DER, with the kid as associated data."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    signs_from: Mapped[datetime] = mapped_column(UtcDateTime)
    """When it may begin to sign; it is published from its creation on (T8)."""
    signs_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    withdrawn: Mapped[bool] = mapped_column(Boolean, default=False)


class RevokedToken(Base):
    """A token that was revoked before it expired (T12). The row is needed until then only."""

    __tablename__ = "identity_client_revoked_tokens"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class UsedAssertion(Base):
    """An assertion by which a client authenticated, which must not be used again (S11)."""

    __tablename__ = "identity_client_used_assertions"
    __table_args__ = ({"sqlite_with_rowid": False},)

    digest: Mapped[str] = mapped_column(String(43), primary_key=True)
    """SHA-256 of the client ID and `jti`, in base64url."""
    expires_at: Mapped[datetime] = mapped_column(EpochSeconds, index=True)
    """From this time on the assertion is refused as expired, and the row is not needed."""


class ResourceServer(Base):
    """An API that may introspect every token (T10)."""

    __tablename__ = "identity_client_resource_servers"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("resource_server_id"))

    id: Mapped[uuid.UUID] = mapped_column(Uuid, primary_key=True, default=new_id)
    resource_server_id: Mapped[str] = mapped_column(String(CLIENT_ID_MAX))
    """The ID with which it authenticates, in place of a client ID."""
    name: Mapped[str] = mapped_column(String(NAME_MAX))
    secret_hash: Mapped[str] = mapped_column(MaskedText(200))
    pepper_version: Mapped[int] = mapped_column(Integer)
    legacy_scheme: Mapped[bool] = mapped_column(Boolean, default=False, server_default=true())
    """Whether it was hashed before the scheme followed the form of the secret; cleared when the hash is renewed."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
