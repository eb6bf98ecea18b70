"""The stand-alone's own migration history, beside that of Identity Clients in one database."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect

from webapp.core.database import migrations
from webapp.standalone.migrations import MAS
from webapp.standalone.models import Base


def test_the_tables_match_the_models(engine: Engine) -> None:
    """On SQLite and PostgreSQL."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "version_table": MAS.version_table,
                "include_object": lambda item, name, kind, *_: kind != "table" or name in Base.metadata.tables,
                "compare_type": True,
            },
        )
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_again_changes_nothing_and_downgrading_drops_own_tables_only(engine: Engine) -> None:
    """Each of the two histories leaves the other's tables alone."""
    before = set(inspect(engine).get_table_names())
    migrations.upgrade(engine, history=MAS)
    assert set(inspect(engine).get_table_names()) == before
    migrations.downgrade(engine, "base", history=MAS)
    assert before - set(inspect(engine).get_table_names()) == {"mas_accounts", "mas_users", MAS.version_table}
    migrations.upgrade(engine, history=MAS)
    assert set(inspect(engine).get_table_names()) == before
