"""Mark the secret hashes that were stored before their scheme followed the form of the secret."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0009"
down_revision: str | None = "0008"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TABLES = ("identity_client_secrets", "identity_client_resource_servers")


def upgrade() -> None:
    for table in TABLES:
        # The default marks every row that is there, without rewriting the table, and those of a former release.
        op.add_column(table, sa.Column("legacy_scheme", sa.Boolean(), server_default=sa.true(), nullable=False))
    op.create_index(
        "ix_identity_client_secrets_legacy",
        "identity_client_secrets",
        ["ends_at"],
        sqlite_where=sa.text("legacy_scheme = 1"),
        postgresql_where=sa.text("legacy_scheme"),
    )


def downgrade() -> None:
    op.drop_index("ix_identity_client_secrets_legacy", "identity_client_secrets")
    for table in TABLES:
        op.drop_column(table, "legacy_scheme")
