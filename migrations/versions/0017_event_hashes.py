"""Chain the audit events of each account by hashes.

A trigger adds the row of each new event, also for a former release that knows no hashes; the next process that chains
events of the account fills it in. Events from before have no row, and lie outside the chain.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0017"
down_revision: str | None = "0016"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

EVENTS, HASHES, CHAINS = "identity_client_events", "identity_client_event_hashes", "identity_client_event_chains"
WAITING = sa.text("position IS NULL")


def upgrade() -> None:
    op.create_table(
        CHAINS,
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(64), nullable=False),
        sa.Column("checkpoint_position", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("purged_position", sa.BigInteger(), nullable=False),
        sa.Column("purge_checkpoint", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", name=f"pk_{CHAINS}"),
    )
    op.create_table(
        HASHES,
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=True),
        sa.Column("previous_hash", sa.String(64), nullable=True),
        sa.Column("hash", sa.String(64), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=f"pk_{HASHES}"),
        sa.UniqueConstraint("account_id", "position", name=f"uq_{HASHES}_account_id_position"),
    )
    op.create_index(
        f"ix_{HASHES}_waiting", HASHES, ["account_id", "event_id"], sqlite_where=WAITING, postgresql_where=WAITING
    )
    values = "(event_id, account_id) VALUES (NEW.id, COALESCE(NEW.account_id, ''))"
    add_row = f"INSERT INTO {HASHES} {values}"
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            f"""
            CREATE FUNCTION identity_client_events_hash() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                {add_row};
                RETURN NULL;
            END $$
            """
        )
        op.execute(
            f"""
            CREATE TRIGGER identity_client_events_hash AFTER INSERT ON {EVENTS}
            FOR EACH ROW EXECUTE FUNCTION identity_client_events_hash()
            """
        )
    else:
        op.execute(f"CREATE TRIGGER identity_client_events_hash AFTER INSERT ON {EVENTS} BEGIN {add_row}; END")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"DROP TRIGGER identity_client_events_hash ON {EVENTS}")
        op.execute("DROP FUNCTION identity_client_events_hash()")
    else:
        op.execute("DROP TRIGGER identity_client_events_hash")
    op.drop_table(HASHES)
    op.drop_table(CHAINS)
