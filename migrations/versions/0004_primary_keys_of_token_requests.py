"""Order the primary keys of token requests and counts as they are read and purged.

The tables are created again, since no earlier release wrote rows to them.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0004"
down_revision: str | None = "0003"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REQUESTS, COUNTS = "identity_client_token_requests", "identity_client_token_request_counts"
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.drop_table(REQUESTS)
    op.drop_table(COUNTS)
    op.create_table(
        REQUESTS,
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("scope", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("client_key", "at", "number", name=f"pk_{REQUESTS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{REQUESTS}_client_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        COUNTS,
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("day", "client_key", "secret_label", "outcome", name=f"pk_{COUNTS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{COUNTS}_client_key"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table(REQUESTS)
    op.drop_table(COUNTS)
    op.create_table(
        REQUESTS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=True),
        sa.Column("address", sa.String(45), nullable=True),
        sa.Column("scope", sa.String(1000), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{REQUESTS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{REQUESTS}_client_key"),
    )
    op.create_index(f"ix_{REQUESTS}_client", REQUESTS, ["client_key", "at"])
    op.create_table(
        COUNTS,
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=False),
        sa.Column("outcome", sa.String(32), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("client_key", "day", "secret_label", "outcome", name=f"pk_{COUNTS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{COUNTS}_client_key"),
    )
