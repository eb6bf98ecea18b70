"""Add revoked tokens, the token generation of clients, and resource servers."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0002"
down_revision: str | None = "0001"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("identity_clients", sa.Column("token_generation", sa.Integer(), server_default="0", nullable=False))
    with op.batch_alter_table("identity_client_claimed_ids") as claimed_ids:
        claimed_ids.alter_column("client_key", existing_type=sa.Uuid(), nullable=True)
    op.create_table(
        "identity_client_resource_servers",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("resource_server_id", sa.String(100), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("secret_hash", sa.String(200), nullable=False),
        sa.Column("pepper_version", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_identity_client_resource_servers"),
        sa.UniqueConstraint("name", name="uq_identity_client_resource_servers_name"),
        sa.UniqueConstraint("resource_server_id", name="uq_identity_client_resource_servers_resource_server_id"),
    )
    op.create_table(
        "identity_client_revoked_tokens",
        sa.Column("jti", sa.String(64), nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("jti", name="pk_identity_client_revoked_tokens"),
    )
    op.create_index("ix_identity_client_revoked_tokens_expires_at", "identity_client_revoked_tokens", ["expires_at"])


def downgrade() -> None:
    op.drop_table("identity_client_revoked_tokens")
    op.drop_table("identity_client_resource_servers")
    op.execute("DELETE FROM identity_client_claimed_ids WHERE client_key IS NULL")
    with op.batch_alter_table("identity_client_claimed_ids") as claimed_ids:
        claimed_ids.alter_column("client_key", existing_type=sa.Uuid(), nullable=False)
    op.drop_column("identity_clients", "token_generation")
