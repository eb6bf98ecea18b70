"""Add the last token of clients, notices of attention, and an index of audit events by actor."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0005"
down_revision: str | None = "0004"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

# The best known value for existing clients is the last use of their secrets.
LAST_USED = {
    "sqlite": "SELECT CAST(strftime('%s', max(last_used_at)) AS INTEGER)",
    "postgresql": "SELECT CAST(extract(epoch FROM max(last_used_at)) AS BIGINT)",
}


def upgrade() -> None:
    op.add_column("identity_clients", sa.Column("last_token_at", sa.BigInteger(), server_default="0", nullable=False))
    op.execute(
        f"""
        UPDATE identity_clients SET last_token_at = coalesce(
            ({LAST_USED[op.get_bind().dialect.name]} FROM identity_client_secrets
             WHERE client_key = identity_clients.id), 0)
        """  # noqa: S608 - constants only
    )
    op.create_index(
        "ix_identity_clients_list_last_token_at",
        "identity_clients",
        ["account_id", "last_token_at", "id"],
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("ix_identity_client_events_actor", "identity_client_events", ["account_id", "actor_id", "at", "id"])
    op.create_table(
        "identity_client_attention_notices",
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(40), nullable=False),
        sa.Column("told_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_key", "reason", name="pk_identity_client_attention_notices"),
        sa.ForeignKeyConstraint(
            ["client_key"], ["identity_clients.id"], name="fk_identity_client_attention_notices_client_key"
        ),
    )


def downgrade() -> None:
    op.drop_table("identity_client_attention_notices")
    op.drop_index("ix_identity_client_events_actor", "identity_client_events")
    op.drop_index("ix_identity_clients_list_last_token_at", "identity_clients")
    op.drop_column("identity_clients", "last_token_at")
