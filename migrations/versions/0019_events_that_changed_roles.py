"""Find the events that changed API roles by an index."""

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
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, EVENTS, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            EVENTS,
            ["account_id", "action", "at", "id"],
            sqlite_where=sa.text("json_extract(changes, '$.roles') IS NOT NULL"),
            postgresql_where=sa.text("(changes -> 'roles') IS NOT NULL"),
            postgresql_concurrently=True,
        )


def downgrade() -> None:
    op.drop_index(INDEX, EVENTS)
