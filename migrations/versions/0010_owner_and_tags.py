"""Store an owner and tags of each client, and find clients by them.

A trigger keeps the table of tags right, so that clients that are written in bulk are found too.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "0010"
down_revision: str | None = "0009"
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None

CLIENTS = "identity_clients"
TAGS = "identity_client_tags"
SEARCH = "identity_client_search_texts"


INDEX = f"ix_{CLIENTS}_owner"
OWNER_LENGTH = f"ck_{CLIENTS}_owner_length"


def upgrade() -> None:
    columns = sa.inspect(op.get_bind()).get_columns(CLIENTS)
    if "owner" not in {column["name"] for column in columns}:  # they are there if the index was interrupted
        add_columns_and_tags()
    with op.get_context().autocommit_block():
        if op.get_bind().dialect.name == "postgresql":
            op.execute(f"ALTER TABLE {CLIENTS} VALIDATE CONSTRAINT {OWNER_LENGTH}")
        has_owner = sa.text("deleted_at IS NULL AND owner_folded <> ''")
        op.drop_index(INDEX, CLIENTS, if_exists=True, postgresql_concurrently=True)
        op.create_index(
            INDEX,
            CLIENTS,
            ["account_id", "owner_folded", "client_id_folded", "id"],
            sqlite_where=has_owner,
            postgresql_where=has_owner,
            postgresql_concurrently=True,
        )


def add_columns_and_tags() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    column = f"ALTER TABLE {CLIENTS} ADD COLUMN owner VARCHAR(100) DEFAULT '' NOT NULL"
    constraint = f"CONSTRAINT {OWNER_LENGTH} CHECK (owner = '' OR length(owner) BETWEEN 3 AND 100)"
    # SQLite copies the table unless the constraint comes with the column; PostgreSQL reads it unless NOT VALID.
    op.execute(f"{column} {constraint}" if on_sqlite else f"{column}, ADD {constraint} NOT VALID")
    folded = sa.String(300).with_variant(sa.String(300, collation="C"), "postgresql")
    op.add_column(CLIENTS, sa.Column("owner_folded", folded, server_default="", nullable=False))
    op.add_column(CLIENTS, sa.Column("tags", sa.Text(), server_default="[]", nullable=False))
    create_table_of_tags()
    if on_sqlite:
        create_triggers_on_sqlite()
    else:
        create_triggers_on_postgresql()


def create_table_of_tags() -> None:
    op.create_table(
        TAGS,
        sa.Column("client_key", sa.Uuid(), nullable=False),
        sa.Column("tag", sa.String(30).with_variant(sa.String(30, collation="C"), "postgresql"), nullable=False),
        sa.Column("account_id", sa.String(200), nullable=False),
        sa.Column(
            "client_id_folded",
            sa.String(100).with_variant(sa.String(100, collation="C"), "postgresql"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("client_key", "tag", name=f"pk_{TAGS}"),
        sa.ForeignKeyConstraint(["client_key"], [f"{CLIENTS}.id"], name=f"fk_{TAGS}_client_key"),
        sqlite_with_rowid=False,
    )
    op.create_index(f"ix_{TAGS}_list", TAGS, ["account_id", "tag", "client_id_folded", "client_key"])


def tags_of_new_row(one_tag: str) -> str:
    return f"""
        INSERT INTO {TAGS} (client_key, tag, account_id, client_id_folded)
        SELECT NEW.id, tag.value, NEW.account_id, NEW.client_id_folded FROM {one_tag} WHERE NEW.deleted_at IS NULL;
        """  # noqa: S608 - constants only


UPDATED = "UPDATE OF account_id, client_id_folded, tags, deleted_at"


def create_triggers_on_sqlite() -> None:
    tags = tags_of_new_row("json_each(NEW.tags) AS tag")
    op.execute(
        f"CREATE TRIGGER {CLIENTS}_tags_inserted AFTER INSERT ON {CLIENTS} WHEN NEW.tags <> '[]' BEGIN {tags} END"
    )
    op.execute(
        f"""
        CREATE TRIGGER {CLIENTS}_tags_updated AFTER {UPDATED} ON {CLIENTS}
        BEGIN DELETE FROM {TAGS} WHERE client_key = NEW.id; {tags} END
        """  # noqa: S608
    )
    op.execute(
        f"""
        CREATE TRIGGER {CLIENTS}_owner_updated AFTER UPDATE OF owner, tags ON {CLIENTS}
        BEGIN UPDATE {SEARCH} SET is_stale = 1 WHERE client_key = NEW.id; END
        """  # noqa: S608
    )


def create_triggers_on_postgresql() -> None:
    tags = tags_of_new_row("jsonb_array_elements_text(NEW.tags::jsonb) AS tag(value)")
    for name, event, condition, body in (
        ("tags_inserted", "INSERT", "WHEN (NEW.tags <> '[]')", tags),
        ("tags_updated", UPDATED, "", f"DELETE FROM {TAGS} WHERE client_key = NEW.id; {tags}"),  # noqa: S608
        (
            "owner_updated",
            "UPDATE OF owner, tags",
            "",
            f"UPDATE {SEARCH} SET is_stale = true WHERE client_key = NEW.id;",  # noqa: S608
        ),
    ):
        trigger = f"{CLIENTS}_{name}"
        op.execute(
            f"CREATE FUNCTION {trigger}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NULL; END $$"
        )
        op.execute(
            f"CREATE TRIGGER {trigger} AFTER {event} ON {CLIENTS} FOR EACH ROW {condition} EXECUTE FUNCTION {trigger}()"
        )


def downgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for name in ("tags_inserted", "tags_updated", "owner_updated"):
        op.execute(f"DROP TRIGGER {CLIENTS}_{name}" + ("" if on_sqlite else f" ON {CLIENTS}"))
        if not on_sqlite:
            op.execute(f"DROP FUNCTION {CLIENTS}_{name}()")
    op.drop_table(TAGS)
    op.drop_index(INDEX, CLIENTS)
    for column in ("tags", "owner_folded", "owner"):
        op.drop_column(CLIENTS, column)
