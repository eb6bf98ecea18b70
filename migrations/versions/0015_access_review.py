"""Store the last access review of each client, and find those that were not reviewed for long."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0015"
down_revision: str | None = "0014"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CLIENTS = "identity_clients"
INDEX = f"ix_{CLIENTS}_review"


def upgrade() -> None:
    columns = sa.inspect(op.get_bind()).get_columns(CLIENTS)
    if "reviewed_at" not in {column["name"] for column in columns}:  # they are there if the index was interrupted
        op.add_column(CLIENTS, sa.Column("reviewed_at", sa.BigInteger(), server_default="0", nullable=False))
        op.add_column(CLIENTS, sa.Column("reviewed_by", sa.String(200), server_default="", nullable=False))
        op.add_column(CLIENTS, sa.Column("review_found", sa.Text(), server_default="", nullable=False))
        op.add_column(CLIENTS, sa.Column("review_done", sa.Text(), server_default="", nullable=False))
    present = sa.text("deleted_at IS NULL")
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, CLIENTS, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            CLIENTS,
            ["account_id", "enabled", "reviewed_at", "created_at", "id"],
            sqlite_where=present,
            postgresql_where=present,
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index(INDEX, CLIENTS)
    for column in ("review_done", "review_found", "reviewed_by", "reviewed_at"):
        op.drop_column(CLIENTS, column)
