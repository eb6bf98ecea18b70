"""The tables. Every name begins with `identity_client`, so that they can share the host's database."""

import uuid
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import uuid_utils.compat
from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    ColumnElement,
    Date,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    Uuid,
    false,
    func,
    text,
    true,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship, validates

from ..addresses import AllowedNetwork
from ..credentials import CLIENT_ID_MAX, CLIENT_ID_MIN
from .types import EpochSeconds, MaskedText, NetworkList, StringSet, UtcDateTime, sorted_text

ACCOUNT_ID_MAX = 200
NAME_MIN, NAME_MAX = 3, 100
DESCRIPTION_MAX = 1000
OWNER_MIN, OWNER_MAX = 3, 100
TAG_MAX, TAGS_MAX = 30, 10
REVIEW_NOTE_MAX = 1000
TOKEN_DURATION_MIN_MINUTES, TOKEN_DURATION_MAX_MINUTES = 10, 60
SCOPE_MAX = 1000
NOTIFICATION_ADDRESS_MAX = 500
NOTIFICATION_ERROR_MAX = 200


def utc_now() -> datetime:
    """Return the time now, in UTC and aware."""
    return datetime.now(UTC)


def new_id() -> uuid.UUID:
    """Return a new UUIDv7 (RFC 9562), which sorts by time of creation."""
    return uuid_utils.compat.uuid7()


class Base(DeclarativeBase):
    """Base of all tables of Identity Clients; every constraint has a name, by which errors are recognised."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class Account(Base):
    """A host's account as the identity endpoint needs to know it, since no person is signed in there."""

    __tablename__ = "identity_client_accounts"

    id: Mapped[str] = mapped_column(String(ACCOUNT_ID_MAX), primary_key=True)
    feature_enabled: Mapped[bool]
    grantable_roles: Mapped[frozenset[str] | None] = mapped_column(StringSet)
    """The API roles that the account may grant; None means every role of the catalogue."""
    management_api_enabled: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether clients of the account may use the management API; administrators set it on a screen."""
    strict_assertions: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether assertions must follow the strict profile (S11); administrators set it on a screen."""


class KeysOnlyRole(Base):
    """An API role whose clients may have no secret in an account; an account without such rows has no such rule.

    It moves money: administrators switch the rule on, for all such roles of the catalogue.
    """

    __tablename__ = "identity_client_keys_only_roles"
    __table_args__ = ({"sqlite_with_rowid": False},)

    account_id: Mapped[str] = mapped_column(ForeignKey(Account.id), primary_key=True)
    role: Mapped[str] = mapped_column(String(60), primary_key=True)


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


class UsedAssertion(Base):
    """An assertion by which a client authenticated, which must not be used again (S11)."""

    __tablename__ = "identity_client_used_assertions"
    __table_args__ = ({"sqlite_with_rowid": False},)

    digest: Mapped[str] = mapped_column(String(43), primary_key=True)
    """SHA-256 of the client ID and `jti`, in base64url."""
    expires_at: Mapped[datetime] = mapped_column(EpochSeconds, index=True)
    """From this time on the assertion is refused as expired, and the row is not needed."""


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


class RevokedToken(Base):
    """A token that was revoked before it expired (T12). The row is needed until then only."""

    __tablename__ = "identity_client_revoked_tokens"

    jti: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


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


# Tables that serve the list of clients. Triggers of the database keep the first three up to date.


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

    The writer of token requests keeps it, for the next day too: then it has only those of the day.
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
