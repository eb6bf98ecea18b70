"""Create the initial tables: accounts, clients, IDs, secrets, token requests, audit events, signing keys."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
EVENTS_KEPT_DAYS = 400


def sorted_text(length: int) -> sa.types.TypeEngine[str]:
    """Return a text type that sorts by code point on both engines."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "identity_client_accounts",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("feature_enabled", sa.Boolean(), nullable=False),
        sa.Column("grantable_roles", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_client_accounts"),
    )
    create_clients()
    op.create_table(
        "identity_client_claimed_ids",
        sa.Column("client_id_folded", sa.String(100), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("client_id_folded", name="pk_identity_client_claimed_ids"),
        sa.ForeignKeyConstraint(
            ["client_key"], ["identity_clients.id"], name="fk_identity_client_claimed_ids_client_key"
        ),
    )
    op.create_index("ix_identity_client_claimed_ids_client_key", "identity_client_claimed_ids", ["client_key"])
    op.create_table(
        "identity_client_secrets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(8), nullable=False),
        sa.Column("secret_hash", sa.String(200), nullable=False),
        sa.Column("pepper_version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("ends_at", TIME, nullable=True),
        sa.Column("paused_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("last_used_address", sa.String(45), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_client_secrets"),
        sa.UniqueConstraint("client_key", "label", name="uq_identity_client_secrets_client_key_label"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name="fk_identity_client_secrets_client_key"),
    )
    create_token_requests()
    create_events()
    op.create_table(
        "identity_client_signing_keys",
        sa.Column("kid", sa.String(64), nullable=False),
        sa.Column("public_jwk", sa.JSON(), nullable=False),
        sa.Column("private_key_encrypted", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("signs_from", TIME, nullable=False),
        sa.Column("signs_until", TIME, nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("kid", name="pk_identity_client_signing_keys"),
    )


def create_clients() -> None:
    op.create_table(
        "identity_clients",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("client_id", sa.String(100), nullable=False),
        sa.Column("client_id_folded", sorted_text(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("name_folded", sorted_text(300), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("description_folded", sa.Text(), nullable=False),
        sa.Column("token_duration_minutes", sa.Integer(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("creation_key", sa.String(64), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.Column("deleted_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_clients"),
        sa.UniqueConstraint("client_id", name="uq_identity_clients_client_id"),
        sa.UniqueConstraint("account_id", "creation_key", name="uq_identity_clients_account_id_creation_key"),
        sa.ForeignKeyConstraint(["account_id"], ["identity_client_accounts.id"], name="fk_identity_clients_account_id"),
        sa.CheckConstraint("length(client_id) BETWEEN 6 AND 100", name=op.f("ck_identity_clients_client_id_length")),
        sa.CheckConstraint("name = '' OR length(name) BETWEEN 3 AND 100", name=op.f("ck_identity_clients_name_length")),
        sa.CheckConstraint("length(description) <= 1000", name=op.f("ck_identity_clients_description_length")),
        sa.CheckConstraint("token_duration_minutes BETWEEN 10 AND 60", name=op.f("ck_identity_clients_token_duration")),
        sa.CheckConstraint("roles <> '[]'", name=op.f("ck_identity_clients_roles")),
    )
    for column in ("client_id_folded", "name_folded", "created_at", "updated_at"):
        op.create_index(
            f"ix_identity_clients_list_{column}",
            "identity_clients",
            ["account_id", column, "id"],
            sqlite_where=sa.text("deleted_at IS NULL"),
            postgresql_where=sa.text("deleted_at IS NULL"),
        )


def create_token_requests() -> None:
    op.create_table(
        "identity_client_token_requests",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("scope", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_client_token_requests"),
        sa.ForeignKeyConstraint(
            ["client_key"], ["identity_clients.id"], name="fk_identity_client_token_requests_client_key"
        ),
    )
    op.create_index("ix_identity_client_token_requests_client", "identity_client_token_requests", ["client_key", "at"])
    op.create_table(
        "identity_client_token_request_counts",
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint(
            "client_key", "day", "secret_label", "outcome", name="pk_identity_client_token_request_counts"
        ),
        sa.ForeignKeyConstraint(
            ["client_key"], ["identity_clients.id"], name="fk_identity_client_token_request_counts_client_key"
        ),
    )


def create_events() -> None:
    op.create_table(
        "identity_client_events",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("account_id", sa.String(200), nullable=True),
        sa.Column("actor_id", sa.String(200), nullable=False),
        sa.Column("actor_label", sa.String(200), nullable=False),
        sa.Column("action", sa.String(40), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.String(100), nullable=True),
        sa.Column("changes", sa.JSON(), nullable=False),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("request_id", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_identity_client_events"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name="fk_identity_client_events_client_key"),
    )
    op.create_index("ix_identity_client_events_account", "identity_client_events", ["account_id", "at", "id"])
    op.create_index("ix_identity_client_events_client", "identity_client_events", ["client_key", "at", "id"])
    if op.get_bind().dialect.name == "postgresql":
        protect_events_on_postgresql()
    else:
        protect_events_on_sqlite()


def protect_events_on_sqlite() -> None:
    op.execute(
        """
        CREATE TRIGGER identity_client_events_update BEFORE UPDATE ON identity_client_events
        BEGIN SELECT RAISE(ABORT, 'Audit events are never changed.'); END
        """
    )
    op.execute(
        f"""
        CREATE TRIGGER identity_client_events_delete BEFORE DELETE ON identity_client_events
        WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-{EVENTS_KEPT_DAYS} days')
        BEGIN SELECT RAISE(ABORT, 'Audit events are kept for {EVENTS_KEPT_DAYS} days.'); END
        """
    )


def protect_events_on_postgresql() -> None:
    op.execute(
        f"""
        CREATE FUNCTION identity_client_events_guard() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'DELETE' THEN
                IF OLD.at <= now() - interval '{EVENTS_KEPT_DAYS} days' THEN
                    RETURN OLD;
                END IF;
                RAISE EXCEPTION 'Audit events are kept for {EVENTS_KEPT_DAYS} days.'
                    USING ERRCODE = 'restrict_violation';
            END IF;
            RAISE EXCEPTION 'Audit events are never changed.' USING ERRCODE = 'restrict_violation';
        END $$
        """
    )
    op.execute(
        """
        CREATE TRIGGER identity_client_events_row BEFORE UPDATE OR DELETE ON identity_client_events
        FOR EACH ROW EXECUTE FUNCTION identity_client_events_guard()
        """
    )
    op.execute(
        """
        CREATE TRIGGER identity_client_events_table BEFORE TRUNCATE ON identity_client_events
        FOR EACH STATEMENT EXECUTE FUNCTION identity_client_events_guard()
        """
    )


def downgrade() -> None:
    for table in (
        "identity_client_signing_keys",
        "identity_client_events",
        "identity_client_token_request_counts",
        "identity_client_token_requests",
        "identity_client_secrets",
        "identity_client_claimed_ids",
        "identity_clients",
        "identity_client_accounts",
    ):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION identity_client_events_guard()")
