"""Find the events that changed API roles."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0019"
down_revision: str | None = "0018"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EVENTS = "identity_client_events"
INDEX = f"ix_{EVENTS}_roles"


def upgrade() -> None:
    op.create_index(
        INDEX,
        EVENTS,
        ["account_id", "action", "at", "id"],
        sqlite_where=sa.text("json_extract(changes, '$.roles') IS NOT NULL"),
        postgresql_where=sa.text("(changes -> 'roles') IS NOT NULL"),
    )


def downgrade() -> None:
    op.drop_index(INDEX, EVENTS)
