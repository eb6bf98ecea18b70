"""Add the networks from which a client may request tokens."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str | None = "0002"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    op.add_column("identity_clients", sa.Column("allowed_networks", sa.Text(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("identity_clients", "allowed_networks")
