"""Add the targets of notifications, and the messages to them."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0014"
down_revision: str | None = "0013"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TARGETS, MESSAGES = "identity_client_notification_targets", "identity_client_notifications"
PENDING = sa.text("next_attempt_at IS NOT NULL")


def upgrade() -> None:
    op.add_column(
        "identity_client_attention_notices",
        sa.Column("signal_sent", sa.Boolean(), server_default=sa.true(), nullable=False),
        if_not_exists=op.get_bind().dialect.name == "postgresql",
    )
    with op.get_context().autocommit_block():
        pass  # commits, so that the lock of this table is not held while that of another is waited for
    op.create_table(
        TARGETS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("channel", sa.String(20), nullable=False),
        sa.Column("address", sa.String(500), nullable=False),
        sa.Column("kinds", sa.Text(), nullable=False),
        sa.Column("secret_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_encrypted", sa.LargeBinary(), nullable=True),
        sa.Column("previous_secret_ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("given_up_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_by", sa.String(200), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{TARGETS}"),
        sa.ForeignKeyConstraint(["account_id"], ["identity_client_accounts.id"], name=f"fk_{TARGETS}_account_id"),
    )
    op.create_index(f"ix_{TARGETS}_account", TARGETS, ["account_id"])
    op.create_table(
        MESSAGES,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("message_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("target_id", sa.Uuid(), nullable=False),
        sa.Column("recipient", sa.String(500), nullable=False),
        sa.Column("kind", sa.String(60), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=True),
        sa.Column("client_id", sa.String(100), nullable=True),
        sa.Column("facts", sa.JSON(), nullable=False),
        sa.Column("is_ordered", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("lease", sa.Uuid(), nullable=True),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_error", sa.String(200), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{MESSAGES}"),
        sa.ForeignKeyConstraint(["target_id"], [f"{TARGETS}.id"], name=f"fk_{MESSAGES}_target_id"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{MESSAGES}_client_key"),
    )
    op.create_index(f"ix_{MESSAGES}_account", MESSAGES, ["account_id", "id"])
    for name, columns in (("due", ["next_attempt_at"]), ("queue", ["target_id", "recipient", "id"])):
        op.create_index(f"ix_{MESSAGES}_{name}", MESSAGES, columns, sqlite_where=PENDING, postgresql_where=PENDING)


def downgrade() -> None:
    op.drop_column("identity_client_attention_notices", "signal_sent")
    op.drop_table(MESSAGES)
    op.drop_table(TARGETS)
