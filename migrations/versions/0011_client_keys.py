"""Add the public keys of clients, and the assertions that were used."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0011"
down_revision: str | None = "0010"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
KEYS = "identity_client_keys"
USED = "identity_client_used_assertions"
PERIODS = "identity_client_attention_periods"
NO_END = "9000-01-01 00:00:00.000000"


def upgrade() -> None:
    op.create_table(
        KEYS,
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("label", sa.String(8), nullable=False),
        sa.Column("thumbprint", sa.String(43), nullable=False),
        sa.Column("algorithm", sa.String(16), nullable=False),
        sa.Column("public_jwk", sa.Text(), nullable=False),
        sa.Column("long_assertion_at", TIME, nullable=True),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("created_by", sa.String(200), nullable=False),
        sa.Column("ends_at", TIME, nullable=True),
        sa.Column("paused_at", TIME, nullable=True),
        sa.Column("last_used_at", TIME, nullable=True),
        sa.Column("last_used_address", sa.String(45), nullable=True),
        sa.PrimaryKeyConstraint("id", name=f"pk_{KEYS}"),
        sa.UniqueConstraint("client_key", "label", name=f"uq_{KEYS}_client_key_label"),
        sa.UniqueConstraint("client_key", "thumbprint", name=f"uq_{KEYS}_client_key_thumbprint"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{KEYS}_client_key"),
    )
    op.create_table(
        USED,
        sa.Column("digest", sa.String(43), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=f"pk_{USED}"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{USED}_expires_at", USED, ["expires_at"])
    replace_triggers(with_keys=True)
    create_triggers_of_keys()


def downgrade() -> None:
    if on_sqlite():
        for event in ("inserted", "updated", "deleted"):
            op.execute(f"DROP TRIGGER {KEYS}_{event}")
    else:
        op.execute(f"DROP TRIGGER {KEYS}_changed ON {KEYS}")
    op.execute(f"DELETE FROM {PERIODS} WHERE secret_label < 'A'")  # noqa: S608 - the labels of keys are numbers
    replace_triggers(with_keys=False)
    op.drop_table(USED)
    op.drop_table(KEYS)


def on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def periods_of(key: str, *, with_keys: bool) -> str:
    """Return the statements that renew the periods of one client, as of revision 0008, with or without its keys."""
    earlier, no_end = ("min", f"'{NO_END}'") if on_sqlite() else ("least", f"timestamptz '{NO_END}+00'")
    secrets_or_keys = "".join(
        f"""
        SELECT c.id, 'ending', s.label, c.account_id, s.created_at, s.ends_at, c.client_id_folded
        FROM identity_clients c JOIN {table} s ON s.client_key = c.id
        WHERE c.enabled AND c.deleted_at IS NULL AND s.ends_at IS NOT NULL AND s.paused_at IS NULL AND c.id = {key}
        UNION ALL
        SELECT c.id, 'old', s.label, c.account_id, s.created_at, coalesce(s.ends_at, {no_end}), c.client_id_folded
        FROM identity_clients c JOIN {table} s ON s.client_key = c.id
        WHERE c.enabled AND c.deleted_at IS NULL AND c.id = {key}
        UNION ALL
        """  # noqa: S608 - constants only
        for table in ["identity_client_secrets", *([KEYS] if with_keys else [])]
    )
    return f"""
        DELETE FROM {PERIODS} WHERE client_key = {key};
        INSERT INTO {PERIODS}
            (client_key, reason, secret_label, account_id, since_at, until_at, client_id_folded)
        {secrets_or_keys}
        SELECT c.id, 'two', s.label, c.account_id, s.created_at,
            {earlier}(coalesce(s.ends_at, {no_end}), max(coalesce(other.ends_at, {no_end}))), c.client_id_folded
        FROM identity_clients c
        JOIN identity_client_secrets s ON s.client_key = c.id
        JOIN identity_client_secrets other
            ON other.client_key = c.id AND (other.created_at, other.label) < (s.created_at, s.label)
        WHERE c.enabled AND c.deleted_at IS NULL AND coalesce(other.ends_at, {no_end}) > s.created_at AND c.id = {key}
        GROUP BY c.id, s.label, c.account_id, s.created_at, s.ends_at, c.client_id_folded;
        """  # noqa: S608 - constants only


def replace_triggers(*, with_keys: bool) -> None:
    """Let the triggers of clients and secrets keep the periods of keys too, or not."""
    if not on_sqlite():
        replace_function("identity_clients_status_updated", periods_of("NEW.id", with_keys=with_keys))
        changed = f"IF TG_OP = 'DELETE' THEN NEW := OLD; END IF; {periods_of('NEW.client_key', with_keys=with_keys)}"
        replace_function("identity_client_secrets_changed", changed)
        return
    op.execute("DROP TRIGGER identity_clients_status_updated")
    op.execute(
        f"""
        CREATE TRIGGER identity_clients_status_updated
        AFTER UPDATE OF account_id, client_id_folded, enabled, deleted_at ON identity_clients
        BEGIN {periods_of("NEW.id", with_keys=with_keys)} END
        """
    )
    for event in ("inserted", "updated", "deleted"):
        op.execute(f"DROP TRIGGER identity_client_secrets_{event}")
    create_triggers_on_sqlite("identity_client_secrets", with_keys=with_keys)


def create_triggers_of_keys() -> None:
    if on_sqlite():
        create_triggers_on_sqlite(KEYS, with_keys=True)
        return
    op.execute(
        f"""
        CREATE TRIGGER {KEYS}_changed
        AFTER INSERT OR DELETE OR UPDATE OF client_key, label, created_at, ends_at, paused_at
        ON {KEYS} FOR EACH ROW EXECUTE FUNCTION identity_client_secrets_changed()
        """
    )


def create_triggers_on_sqlite(table: str, *, with_keys: bool) -> None:
    for name, event, key in (
        ("inserted", "INSERT", "NEW.client_key"),
        ("updated", "UPDATE OF client_key, label, created_at, ends_at, paused_at", "NEW.client_key"),
        ("deleted", "DELETE", "OLD.client_key"),
    ):
        op.execute(
            f"CREATE TRIGGER {table}_{name} AFTER {event} ON {table} BEGIN {periods_of(key, with_keys=with_keys)} END"
        )


def replace_function(name: str, body: str) -> None:
    op.execute(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
    )
