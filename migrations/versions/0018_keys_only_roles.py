"""Let each account forbid secrets to clients with certain API roles, and find the clients that have one."""

import time
import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0018"
down_revision: str | None = "0017"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

RULES = "identity_client_keys_only_roles"
ROLES = "identity_client_roles"
NEVER = "1970-01-01 00:00:00.000000"
NO_END = "9000-01-01 00:00:00.000000"
INDEX = f"ix_{ROLES}_secret"
CLIENTS_AT_ONCE = 500
PAUSE_SECONDS = 0.1


def upgrade() -> None:
    # On PostgreSQL each table is locked in a transaction of its own, and an attempt that was interrupted is repeated.
    op.create_table(
        RULES,
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("role", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "role", name=f"pk_{RULES}"),
        sa.ForeignKeyConstraint(["account_id"], ["identity_client_accounts.id"], name=f"fk_{RULES}_account_id"),
        sqlite_with_rowid=False,
        if_not_exists=True,
    )
    commit()
    op.add_column(
        ROLES,
        sa.Column("secret_until_at", sa.DateTime(timezone=True), server_default=sa.text(f"'{NEVER}'"), nullable=False),
        if_not_exists=not on_sqlite(),
    )
    if on_sqlite():
        create_triggers_on_sqlite()
        op.execute(f"UPDATE {ROLES} SET secret_until_at = {secret_until(f'{ROLES}.client_key')}")  # noqa: S608
    else:
        create_triggers_on_postgresql()
        fill_column_on_postgresql()
    with op.get_context().autocommit_block():
        op.drop_index(INDEX, ROLES, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            ROLES,
            ["account_id", "role", "secret_until_at", "client_id_folded", "client_key"],
            postgresql_concurrently=True,
        )


def commit() -> None:
    """Commit on PostgreSQL, so that no lock is held while another one is waited for."""
    with op.get_context().autocommit_block():
        pass


def fill_column_on_postgresql() -> None:
    """Fill the column of the roles that were there before the triggers, some clients at a time.

    The rows are locked by a statement of their own, so that the next one reads every secret that was changed before.
    It waits for no row while it has locked others, since the request that has locked it might wait for those.
    """
    connection = op.get_bind()
    next_keys = f"""
        SELECT DISTINCT client_key FROM {ROLES} WHERE client_key > CAST(:after AS uuid)
        ORDER BY client_key LIMIT {CLIENTS_AT_ONCE}
        """  # noqa: S608 - constants only
    rows = "client_key > CAST(:after AS uuid) AND client_key <= CAST(:last AS uuid)"
    count = f"SELECT count(*) FROM {ROLES} WHERE {rows}"  # noqa: S608 - constants only
    lock = f"SELECT 1 FROM {ROLES} WHERE {rows} FOR UPDATE SKIP LOCKED"  # noqa: S608 - constants only
    fill = f"UPDATE {ROLES} SET secret_until_at = {secret_until(f'{ROLES}.client_key')} WHERE {rows}"  # noqa: S608
    after = str(uuid.UUID(int=0))
    while keys := connection.scalars(sa.text(next_keys), {"after": after}).all():
        these = {"after": after, "last": str(keys[-1])}
        locked = len(connection.execute(sa.text(lock), these).all())
        if locked < connection.execute(sa.text(count), these).scalar_one():
            commit()
            time.sleep(PAUSE_SECONDS)
            continue
        connection.execute(sa.text(fill), these)
        commit()
        after = these["last"]


def downgrade() -> None:
    if on_sqlite():
        for name in ("roles_secret", "keys_only_status", *(f"keys_only_{event}" for event in SECRET_EVENTS)):
            op.execute(f"DROP TRIGGER identity_client_{name}")
    else:
        op.execute(f"DROP TRIGGER identity_client_roles_secret ON {ROLES}")
        op.execute("DROP TRIGGER identity_client_keys_only_status ON identity_clients")
        op.execute("DROP TRIGGER identity_client_keys_only_secrets ON identity_client_secrets")
        for name in ("roles_secret", "keys_only_status", "keys_only_secrets"):
            op.execute(f"DROP FUNCTION identity_client_{name}()")
    op.drop_index(INDEX, ROLES)
    op.drop_column(ROLES, "secret_until_at")
    op.drop_table(RULES)


def on_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def secret_until(key: str) -> str:
    """Return the expression for when the last secret of an enabled client ends; of others it is long past."""
    never, no_end = (f"'{each}'" if on_sqlite() else f"timestamptz '{each}+00'" for each in (NEVER, NO_END))
    return f"""
        coalesce((
            SELECT max(coalesce(s.ends_at, {no_end}))
            FROM identity_client_secrets s JOIN identity_clients c ON c.id = s.client_key
            WHERE s.client_key = {key} AND c.enabled
        ), {never})
        """  # noqa: S608 - constants only


def renew(key: str) -> str:
    return f"UPDATE {ROLES} SET secret_until_at = {secret_until(key)} WHERE client_key = {key};"  # noqa: S608


SECRET_EVENTS = {
    "inserted": ("INSERT", "NEW"),
    "updated": ("UPDATE OF client_key, ends_at", "NEW"),
    "deleted": ("DELETE", "OLD"),
}


def create_triggers_on_sqlite() -> None:
    # A trigger of identity_clients inserts the roles anew as they change.
    op.execute(
        f"""
        CREATE TRIGGER identity_client_roles_secret AFTER INSERT ON {ROLES}
        BEGIN
            UPDATE {ROLES} SET secret_until_at = {secret_until("NEW.client_key")}
            WHERE client_key = NEW.client_key AND role = NEW.role;
        END
        """  # noqa: S608 - constants only
    )
    op.execute(
        f"""
        CREATE TRIGGER identity_client_keys_only_status AFTER UPDATE OF enabled ON identity_clients
        BEGIN {renew("NEW.id")} END
        """
    )
    for name, (event, row) in SECRET_EVENTS.items():
        op.execute(
            f"""
            CREATE TRIGGER identity_client_keys_only_{name} AFTER {event} ON identity_client_secrets
            BEGIN {renew(f"{row}.client_key")} END
            """
        )


def create_triggers_on_postgresql() -> None:
    for name, body in {
        "roles_secret": f"NEW.secret_until_at := {secret_until('NEW.client_key')}; RETURN NEW;",
        "keys_only_status": f"{renew('NEW.id')} RETURN NULL;",
        "keys_only_secrets": f"IF TG_OP = 'DELETE' THEN NEW := OLD; END IF; {renew('NEW.client_key')} RETURN NULL;",
    }.items():
        op.execute(
            f"CREATE OR REPLACE FUNCTION identity_client_{name}() RETURNS trigger LANGUAGE plpgsql"
            f" AS $$ BEGIN {body} END $$"
        )
    for name, event in {
        "roles_secret": f"BEFORE INSERT ON {ROLES}",
        "keys_only_status": "AFTER UPDATE OF enabled ON identity_clients",
        "keys_only_secrets": "AFTER INSERT OR DELETE OR UPDATE OF client_key, ends_at ON identity_client_secrets",
    }.items():
        op.execute(
            f"CREATE OR REPLACE TRIGGER identity_client_{name} {event}"
            f" FOR EACH ROW EXECUTE FUNCTION identity_client_{name}()"
        )
        commit()
