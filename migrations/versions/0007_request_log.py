"""Index each filter of an account's request log, and the actions of its audit log.

Token requests get the account and the request ID.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0007"
down_revision: str | None = "0006"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

REQUESTS = "identity_client_token_requests"
# Outcomes are few, so that the rows of all of them are merged where none is asked for.
INDEXES = {
    f"ix_{REQUESTS}_outcome": ["account_id", "outcome", "at", "number"],
    f"ix_{REQUESTS}_address": ["account_id", "address", "at", "number"],
    f"ix_{REQUESTS}_request_id": ["account_id", "request_id", "at", "number"],
}


def upgrade() -> None:
    # Nullable, since processes of the former release go on writing rows without them.
    op.add_column(REQUESTS, sa.Column("account_id", sa.String(200), nullable=True))
    op.add_column(REQUESTS, sa.Column("request_id", sa.String(64), nullable=True))
    op.execute(
        f"""
        UPDATE {REQUESTS} SET account_id =
            (SELECT account_id FROM identity_clients WHERE identity_clients.id = {REQUESTS}.client_key)
        """  # noqa: S608 - constants only
    )
    for name, columns in INDEXES.items():
        op.create_index(name, REQUESTS, columns)
    op.create_index("ix_identity_client_events_action", "identity_client_events", ["account_id", "action", "at", "id"])


def downgrade() -> None:
    op.drop_index("ix_identity_client_events_action", "identity_client_events")
    for name in INDEXES:
        op.drop_index(name, REQUESTS)
    op.drop_column(REQUESTS, "request_id")
    op.drop_column(REQUESTS, "account_id")
