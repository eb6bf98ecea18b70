"""Add the addresses from which each client requests tokens."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0006"
down_revision: str | None = "0005"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "identity_client_caller_addresses",
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("address", sa.String(45), nullable=False),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("client_key", "address", name="pk_identity_client_caller_addresses"),
        sa.ForeignKeyConstraint(
            ["client_key"], ["identity_clients.id"], name="fk_identity_client_caller_addresses_client_key"
        ),
        sqlite_with_rowid=False,
    )
    # The best known addresses of existing clients are those of the last use of their secrets.
    op.execute(
        """
        INSERT INTO identity_client_caller_addresses (client_key, address, last_at)
        SELECT client_key, last_used_address, max(last_used_at) FROM identity_client_secrets
        WHERE last_used_address IS NOT NULL GROUP BY client_key, last_used_address
        """
    )


def downgrade() -> None:
    op.drop_table("identity_client_caller_addresses")
