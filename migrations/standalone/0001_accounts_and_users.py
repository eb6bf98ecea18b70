"""Create the accounts and users of the stand-alone MAS."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "mas_accounts",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("name_folded", sa.String(300), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("feature_enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_mas_accounts"),
        sa.UniqueConstraint("name_folded", name="uq_mas_accounts_name_folded"),
    )
    op.create_table(
        "mas_users",
        sa.Column("id", sa.String(36), nullable=False),
        sa.Column("account_id", sa.String(36), nullable=False),
        sa.Column("email", sa.String(200), nullable=False),
        sa.Column("email_folded", sa.String(600), nullable=False),
        sa.Column("name", sa.String(100), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.String(200), nullable=False),
        sa.Column("session_token", sa.String(64), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["mas_accounts.id"], name="fk_mas_users_account_id"),
        sa.PrimaryKeyConstraint("id", name="pk_mas_users"),
        sa.UniqueConstraint("email_folded", name="uq_mas_users_email_folded"),
        sa.UniqueConstraint("session_token", name="uq_mas_users_session_token"),
    )
    op.create_index("ix_mas_users_account_id", "mas_users", ["account_id"])


def downgrade() -> None:
    op.drop_table("mas_users")
    op.drop_table("mas_accounts")
