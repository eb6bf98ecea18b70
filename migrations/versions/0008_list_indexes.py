"""Find the rows of every page of the list by an index: by status, by role, by reason for attention, and by search.

Triggers keep the tables beside `identity_clients` right, so that a process of the former release keeps them too.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0008"
down_revision: str | None = "0007"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

TIME = sa.DateTime(timezone=True)
SORT_COLUMNS = ("client_id_folded", "name_folded", "created_at", "updated_at", "last_token_at")
ROLES = "identity_client_roles"
PERIODS = "identity_client_attention_periods"
REFUSALS = "identity_client_refusal_days"
SEARCH = "identity_client_search_texts"
SEARCH_INDEX = "identity_client_search_index"
NO_END = "9000-01-01 00:00:00.000000"
"""Stands for the end of a period that has none, so that both kinds are found by one index."""


# What the tables hold of the clients that a condition selects; on both engines.


def roles_of(condition: str) -> str:
    one_role = {
        "sqlite": ", json_each(c.roles) AS role",
        "postgresql": " CROSS JOIN jsonb_array_elements_text(c.roles::jsonb) AS role(value)",
    }[op.get_bind().dialect.name]
    return f"""
        INSERT INTO {ROLES} (client_key, role, account_id, client_id_folded)
        SELECT c.id, role.value, c.account_id, c.client_id_folded
        FROM identity_clients c{one_role}
        WHERE c.deleted_at IS NULL AND {condition};
        """  # noqa: S608 - constants only


def periods_of(condition: str) -> str:
    earlier, no_end = {
        "sqlite": ("min", f"'{NO_END}'"),
        "postgresql": ("least", f"timestamptz '{NO_END}+00'"),
    }[op.get_bind().dialect.name]
    return f"""
        INSERT INTO {PERIODS}
            (client_key, reason, secret_label, account_id, since_at, until_at, client_id_folded)
        SELECT c.id, 'ending', s.label, c.account_id, s.created_at, s.ends_at, c.client_id_folded
        FROM identity_clients c JOIN identity_client_secrets s ON s.client_key = c.id
        WHERE c.enabled AND c.deleted_at IS NULL AND s.ends_at IS NOT NULL AND s.paused_at IS NULL AND {condition}
        UNION ALL
        SELECT c.id, 'old', s.label, c.account_id, s.created_at, coalesce(s.ends_at, {no_end}), c.client_id_folded
        FROM identity_clients c JOIN identity_client_secrets s ON s.client_key = c.id
        WHERE c.enabled AND c.deleted_at IS NULL AND {condition}
        UNION ALL
        SELECT c.id, 'two', s.label, c.account_id, s.created_at,
            {earlier}(coalesce(s.ends_at, {no_end}), max(coalesce(other.ends_at, {no_end}))), c.client_id_folded
        FROM identity_clients c
        JOIN identity_client_secrets s ON s.client_key = c.id
        JOIN identity_client_secrets other
            ON other.client_key = c.id AND (other.created_at, other.label) < (s.created_at, s.label)
        WHERE c.enabled AND c.deleted_at IS NULL AND coalesce(other.ends_at, {no_end}) > s.created_at AND {condition}
        GROUP BY c.id, s.label, c.account_id, s.created_at, s.ends_at, c.client_id_folded;
        """  # noqa: S608 - constants only


def refusals_until(day: str, days: str) -> str:
    return f"""
        INSERT INTO {REFUSALS} (account_id, day, client_key, refused, requests)
        SELECT c.account_id, {day}, c.id,
            sum(CASE WHEN r.outcome <> 'issued' THEN r.count ELSE 0 END), sum(r.count)
        FROM identity_client_token_request_counts r JOIN identity_clients c ON c.id = r.client_key
        WHERE r.day IN ({days})
        GROUP BY c.account_id, c.id
        HAVING sum(CASE WHEN r.outcome <> 'issued' THEN r.count ELSE 0 END) * 100 > sum(r.count) * 20
        """  # noqa: S608 - constants only


def upgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    index_the_statuses(on_sqlite)
    create_tables()
    op.execute(roles_of("true"))
    op.execute(periods_of("true"))
    today, yesterday, tomorrow = (
        f"date('now', '{days} days')" if on_sqlite else f"CAST(now() AT TIME ZONE 'UTC' AS DATE) + ({days})"
        for days in (0, -1, 1)
    )
    op.execute(refusals_until(today, f"{today}, {yesterday}"))
    op.execute(refusals_until(tomorrow, today))
    op.execute(
        f"INSERT INTO {SEARCH} (client_key, account_id, text, is_stale)"  # noqa: S608 - constants only
        f" SELECT id, account_id, '', {1 if on_sqlite else 'true'} FROM identity_clients"
    )
    if on_sqlite:
        create_search_index_on_sqlite()
        create_triggers_on_sqlite()
    else:
        create_search_index_on_postgresql()
        create_triggers_on_postgresql()


def index_the_statuses(on_sqlite: bool) -> None:
    present = sa.text("deleted_at IS NULL")
    for column in SORT_COLUMNS:
        # The text is for the filter by last token, which then sorts without reading the rows.
        also = ["client_id_folded"] if column == "last_token_at" else []
        op.create_index(
            f"ix_identity_clients_status_{column}",
            "identity_clients",
            ["account_id", "enabled", column, "id", *also],
            sqlite_where=present,
            postgresql_where=present,
        )
        op.drop_index(f"ix_identity_clients_list_{column}", "identity_clients")
    # One expression, since SQLite would choose an index by status or by last token where their columns are compared.
    is_unused = sa.text("deleted_at IS NULL AND CASE WHEN enabled THEN last_token_at END = 0")
    for name, *columns in (
        ("ix_identity_clients_unused_time", "created_at", "client_id_folded", "id"),
        ("ix_identity_clients_unused_client", "client_id_folded", "id", "created_at"),
    ):
        op.create_index(
            name,
            "identity_clients",
            ["account_id", *columns, "enabled", "last_token_at"],
            sqlite_where=is_unused,
            postgresql_where=is_unused,
        )


def create_tables() -> None:
    folded = sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql")
    op.create_table(
        ROLES,
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("role", sa.String(60), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("client_id_folded", folded, nullable=False),
        sa.PrimaryKeyConstraint("client_key", "role", name=f"pk_{ROLES}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{ROLES}_client_key"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{ROLES}_list", ROLES, ["account_id", "role", "client_id_folded", "client_key"])
    op.create_table(
        PERIODS,
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("secret_label", sa.String(8), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("since_at", TIME, nullable=False),
        sa.Column("until_at", TIME, nullable=False),
        sa.Column("client_id_folded", folded, nullable=False),
        sa.PrimaryKeyConstraint("client_key", "reason", "secret_label", name=f"pk_{PERIODS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{PERIODS}_client_key"),
        sqlite_with_rowid=False,
    )
    # By time where few of the periods hold, by client where many do.
    op.create_index(
        f"ix_{PERIODS}_time",
        PERIODS,
        ["account_id", "reason", "until_at", "since_at", "client_id_folded", "client_key"],
    )
    op.create_index(
        f"ix_{PERIODS}_client",
        PERIODS,
        ["account_id", "reason", "client_id_folded", "client_key", "until_at", "since_at"],
    )
    op.create_table(
        REFUSALS,
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("refused", sa.BigInteger(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "day", "client_key", name=f"pk_{REFUSALS}"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{REFUSALS}_client_key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        SEARCH,
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("is_stale", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=f"pk_{SEARCH}"),
        sa.UniqueConstraint("client_key", name=f"uq_{SEARCH}_client_key"),
        sa.ForeignKeyConstraint(["client_key"], ["identity_clients.id"], name=f"fk_{SEARCH}_client_key"),
    )
    op.create_index(
        f"ix_{SEARCH}_stale",
        SEARCH,
        ["account_id"],
        sqlite_where=sa.text("is_stale = 1"),
        postgresql_where=sa.text("is_stale"),
    )


# SQLite


def create_search_index_on_sqlite() -> None:
    # A library without FTS5 is rare: there a search reads the account's texts.
    options = [row[0] for row in op.get_bind().exec_driver_sql("PRAGMA compile_options")]
    if "ENABLE_FTS5" in options:
        op.execute(
            f"CREATE VIRTUAL TABLE {SEARCH_INDEX}"
            " USING fts5(tokens, content='', columnsize=0, detail=none, tokenize='ascii')"
        )


def create_triggers_on_sqlite() -> None:
    roles = f"DELETE FROM {ROLES} WHERE client_key = NEW.id; {roles_of('c.id = NEW.id')}"  # noqa: S608
    op.execute(
        f"""
        CREATE TRIGGER identity_clients_inserted AFTER INSERT ON identity_clients
        BEGIN
            {roles_of("c.id = NEW.id")}
            INSERT INTO {SEARCH} (client_key, account_id, text, is_stale) VALUES (NEW.id, NEW.account_id, '', 1);
        END
        """  # noqa: S608
    )
    op.execute(
        f"""
        CREATE TRIGGER identity_clients_roles_updated
        AFTER UPDATE OF account_id, client_id_folded, roles, deleted_at ON identity_clients
        BEGIN {roles} END
        """
    )
    op.execute(
        f"""
        CREATE TRIGGER identity_clients_texts_updated
        AFTER UPDATE OF account_id, client_id, name, description ON identity_clients
        BEGIN UPDATE {SEARCH} SET account_id = NEW.account_id, is_stale = 1 WHERE client_key = NEW.id; END
        """  # noqa: S608
    )
    op.execute(
        f"""
        CREATE TRIGGER identity_clients_status_updated
        AFTER UPDATE OF account_id, client_id_folded, enabled, deleted_at ON identity_clients
        BEGIN
            DELETE FROM {PERIODS} WHERE client_key = NEW.id;
            {periods_of("c.id = NEW.id")}
        END
        """  # noqa: S608
    )
    for name, event, key in (
        ("inserted", "INSERT", "NEW.client_key"),
        ("updated", "UPDATE OF client_key, label, created_at, ends_at, paused_at", "NEW.client_key"),
        ("deleted", "DELETE", "OLD.client_key"),
    ):
        op.execute(
            f"""
            CREATE TRIGGER identity_client_secrets_{name} AFTER {event} ON identity_client_secrets
            BEGIN
                DELETE FROM {PERIODS} WHERE client_key = {key};
                {periods_of(f"c.id = {key}")}
            END
            """  # noqa: S608
        )


# PostgreSQL


def create_search_index_on_postgresql() -> None:
    op.execute(
        f"""
        CREATE TABLE {SEARCH_INDEX} (
            number BIGINT PRIMARY KEY REFERENCES {SEARCH} ON DELETE CASCADE,
            tokens INTEGER[] NOT NULL
        )
        """
    )
    # Every search reads the list of pending rows, which is 4 MB by default.
    op.execute(
        f"CREATE INDEX ix_{SEARCH_INDEX}_tokens ON {SEARCH_INDEX}"
        " USING gin (tokens) WITH (gin_pending_list_limit = 256)"
    )


def create_triggers_on_postgresql() -> None:
    functions = {
        "identity_clients_inserted": f"""
            {roles_of("c.id = NEW.id")}
            INSERT INTO {SEARCH} (client_key, account_id, text, is_stale)
            VALUES (NEW.id, NEW.account_id, '', true);
            """,  # noqa: S608
        "identity_clients_roles_updated": f"""
            DELETE FROM {ROLES} WHERE client_key = NEW.id;
            {roles_of("c.id = NEW.id")}
            """,  # noqa: S608
        "identity_clients_texts_updated": f"""
            UPDATE {SEARCH} SET account_id = NEW.account_id, is_stale = true WHERE client_key = NEW.id;
            """,  # noqa: S608
        "identity_clients_status_updated": f"""
            DELETE FROM {PERIODS} WHERE client_key = NEW.id;
            {periods_of("c.id = NEW.id")}
            """,  # noqa: S608
        "identity_client_secrets_changed": f"""
            IF TG_OP = 'DELETE' THEN
                NEW := OLD;
            END IF;
            DELETE FROM {PERIODS} WHERE client_key = NEW.client_key;
            {periods_of("c.id = NEW.client_key")}
            """,  # noqa: S608
    }
    for name, body in functions.items():
        op.execute(f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$")
    for trigger, event in {
        "identity_clients_inserted": "INSERT ON identity_clients",
        "identity_clients_roles_updated": (
            "UPDATE OF account_id, client_id_folded, roles, deleted_at ON identity_clients"
        ),
        "identity_clients_texts_updated": "UPDATE OF account_id, client_id, name, description ON identity_clients",
        "identity_clients_status_updated": (
            "UPDATE OF account_id, client_id_folded, enabled, deleted_at ON identity_clients"
        ),
    }.items():
        op.execute(f"CREATE TRIGGER {trigger} AFTER {event} FOR EACH ROW EXECUTE FUNCTION {trigger}()")
    op.execute(
        """
        CREATE TRIGGER identity_client_secrets_changed
        AFTER INSERT OR DELETE OR UPDATE OF client_key, label, created_at, ends_at, paused_at
        ON identity_client_secrets FOR EACH ROW EXECUTE FUNCTION identity_client_secrets_changed()
        """
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for trigger in (
            "identity_clients_inserted",
            "identity_clients_roles_updated",
            "identity_clients_texts_updated",
            "identity_clients_status_updated",
            "identity_client_secrets_inserted",
            "identity_client_secrets_updated",
            "identity_client_secrets_deleted",
        ):
            op.execute(f"DROP TRIGGER {trigger}")
    else:
        for table, name in (
            ("identity_clients", "identity_clients_inserted"),
            ("identity_clients", "identity_clients_roles_updated"),
            ("identity_clients", "identity_clients_texts_updated"),
            ("identity_clients", "identity_clients_status_updated"),
            ("identity_client_secrets", "identity_client_secrets_changed"),
        ):
            op.execute(f"DROP TRIGGER {name} ON {table}")
            op.execute(f"DROP FUNCTION {name}()")
    op.execute(f"DROP TABLE IF EXISTS {SEARCH_INDEX}")
    for table in (SEARCH, REFUSALS, PERIODS, ROLES):
        op.drop_table(table)
    op.drop_index("ix_identity_clients_unused_client", "identity_clients")
    op.drop_index("ix_identity_clients_unused_time", "identity_clients")
    present = sa.text("deleted_at IS NULL")
    for column in SORT_COLUMNS:
        op.drop_index(f"ix_identity_clients_status_{column}", "identity_clients")
        op.create_index(
            f"ix_identity_clients_list_{column}",
            "identity_clients",
            ["account_id", column, "id"],
            sqlite_where=present,
            postgresql_where=present,
        )
