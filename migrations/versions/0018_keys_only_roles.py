"""Let each account forbid secrets to clients with certain API roles, and find the clients that have one."""

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


def upgrade() -> None:
    op.create_table(
        RULES,
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("role", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "role", name=f"pk_{RULES}"),
        sa.ForeignKeyConstraint(["account_id"], ["identity_client_accounts.id"], name=f"fk_{RULES}_account_id"),
        sqlite_with_rowid=False,
    )
    op.add_column(
        ROLES,
        sa.Column("secret_until_at", sa.DateTime(timezone=True), server_default=sa.text(f"'{NEVER}'"), nullable=False),
    )
    op.execute(f"UPDATE {ROLES} SET secret_until_at = {secret_until(f'{ROLES}.client_key')}")  # noqa: S608 - constants
    op.create_index(
        f"ix_{ROLES}_secret", ROLES, ["account_id", "role", "secret_until_at", "client_id_folded", "client_key"]
    )
    if on_sqlite():
        create_triggers_on_sqlite()
    else:
        create_triggers_on_postgresql()


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
    op.drop_index(f"ix_{ROLES}_secret", ROLES)
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
            f"CREATE FUNCTION identity_client_{name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$"
        )
    for name, event in {
        "roles_secret": f"BEFORE INSERT ON {ROLES}",
        "keys_only_status": "AFTER UPDATE OF enabled ON identity_clients",
        "keys_only_secrets": "AFTER INSERT OR DELETE OR UPDATE OF client_key, ends_at ON identity_client_secrets",
    }.items():
        op.execute(
            f"CREATE TRIGGER identity_client_{name} {event} FOR EACH ROW EXECUTE FUNCTION identity_client_{name}()"
        )
