"""Migrations create all tables, and agree with the models."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, inspect, text
from sqlalchemy.exc import DBAPIError

from tests.support.factories import ACCOUNT, insert_clients, make_client
from webapp.core.database import migrations
from webapp.core.database.engine import make_engine
from webapp.core.database.migrations import IDENTITY_CLIENTS, MigrationHistory
from webapp.core.database.models import Base
from webapp.core.database.unit_of_work import connect
from webapp.core.errors import Unavailable


def our_tables(engine: Engine) -> set[str]:
    """Return our tables, without the tables that the search index consists of."""
    names = {name for name in inspect(engine).get_table_names() if name.startswith("identity_client")}
    return {name for name in names if not name.startswith("identity_client_search_index")}


def test_models_and_migrations_agree(engine: Engine) -> None:
    """Tables, columns, types, nullability, indexes and keys are equal."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "include_object": lambda _item, name, kind, *_: kind != "table" or name in Base.metadata.tables,
                "compare_server_default": True,
                "version_table": IDENTITY_CLIENTS.version_table,
            },
        )
        differences = compare_metadata(context, Base.metadata)
    if engine.dialect.name == "sqlite":
        # SQLite has no identity columns: an INTEGER PRIMARY KEY numbers its rows.
        differences = [found for found in differences if not (isinstance(found, list) and found[0][3] == "number")]
    assert differences == []


def test_check_constraints_and_names_agree(engine: Engine) -> None:
    """Alembic compares neither CHECK constraints nor constraint names."""

    def description(of: Engine) -> dict[str, object]:
        tables = inspect(of)
        return {
            name: (
                sorted((check["name"] or "", check["sqltext"]) for check in tables.get_check_constraints(name)),
                sorted(unique["name"] or "" for unique in tables.get_unique_constraints(name)),
                sorted(key["name"] or "" for key in tables.get_foreign_keys(name)),
                sorted(index["name"] or "" for index in tables.get_indexes(name)),
                tables.get_pk_constraint(name)["name"],
            )
            for name in Base.metadata.tables
        }

    migrated = description(engine)
    migrations.downgrade(engine, "base")
    Base.metadata.create_all(engine)
    assert description(engine) == migrated


def test_upgrade_again_changes_nothing(engine: Engine) -> None:
    client = make_client(engine)
    before = our_tables(engine)
    migrations.upgrade(engine)
    assert our_tables(engine) == before
    with engine.connect() as connection:
        assert connection.execute(text("SELECT client_id FROM identity_clients")).scalars().all() == [client.client_id]


def test_downgrade_drops_all_tables_and_upgrade_creates_them(engine: Engine) -> None:
    make_client(engine)  # the table is dropped with an event that could not be deleted yet
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE the_hosts_own (id INTEGER)"))
    migrations.downgrade(engine, "base")
    assert our_tables(engine) == set()
    assert "the_hosts_own" in inspect(engine).get_table_names()
    leftovers = {
        "sqlite": "SELECT name FROM sqlite_master WHERE name LIKE '%identity_client%'",
        "postgresql": "SELECT proname FROM pg_proc WHERE proname LIKE '%identity_client%'",
    }
    with engine.connect() as connection:
        assert connection.execute(text(leftovers[engine.dialect.name])).all() == []
    migrations.upgrade(engine)
    assert our_tables(engine) == {*Base.metadata.tables, IDENTITY_CLIENTS.version_table}
    make_client(engine)


def test_an_upgrade_that_fails_keeps_whole_revisions_or_nothing(engine: Engine) -> None:
    """On SQLite it changes nothing; on PostgreSQL the next one goes on where it stopped."""
    migrations.downgrade(engine, "0012")
    before = our_tables(engine)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE identity_client_notifications (id INTEGER)"))  # in revision 0014
    with pytest.raises(Exception, match="already exists"):
        migrations.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE identity_client_notifications"))
    done = {"sqlite": set(), "postgresql": {"identity_client_idempotent_responses"}}[engine.dialect.name]
    assert our_tables(engine) == before | done
    assert migrations.pending(engine)[0].number == ("0014" if done else "0013")
    migrations.upgrade(engine)
    assert migrations.pending(engine) == []
    make_client(engine)


def test_concurrent_upgrades_create_the_tables_once(engine: Engine) -> None:
    migrations.downgrade(engine, "base")
    program = (
        "import sys; from webapp.core.database import engine, migrations; e = engine.make_engine(sys.argv[1]);"
        "print(flush=True); sys.stdin.read(); migrations.upgrade(e)"
    )
    url = engine.url.render_as_string(hide_password=False)
    start_read, start_write = os.pipe()
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, url],
            stdin=start_read,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        process.stdout.readline()  # it is ready, and waits until its input is closed
    os.close(start_write)
    errors = [process.communicate(timeout=60)[1] for process in processes]
    os.close(start_read)
    assert [process.returncode for process in processes] == [0] * 2, errors
    assert our_tables(engine) == {*Base.metadata.tables, IDENTITY_CLIENTS.version_table}


def test_two_histories_share_a_database(engine: Engine, tmp_path: Path) -> None:
    """Each upgrades and downgrades only its own tables."""
    metadata = MetaData()
    Table("another", metadata, Column("id", Integer, primary_key=True))
    (tmp_path / "versions of another").mkdir()
    (tmp_path / "versions of another" / "0001_another.py").write_text(
        "import sqlalchemy as sa\nfrom alembic import op\nrevision = '0001'\ndown_revision = None\n"
        "def upgrade():\n    op.create_table('another', sa.Column('id', sa.Integer(), primary_key=True))\n"
        "def downgrade():\n    op.drop_table('another')\n"
    )
    another = MigrationHistory(tmp_path / "versions of another", metadata, "another_version")
    for _ in range(2):
        migrations.upgrade(engine, history=another)
        migrations.upgrade(engine)
    assert {"another", "another_version", "identity_clients"} <= set(inspect(engine).get_table_names())
    migrations.downgrade(engine, "base", history=another)
    assert our_tables(engine) == {*Base.metadata.tables, IDENTITY_CLIENTS.version_table}
    assert not {"another", "another_version"} & set(inspect(engine).get_table_names())


def test_a_hosts_sqlite_engine_is_upgraded_in_one_transaction(tmp_path: Path) -> None:
    """The driver of a plain engine does not begin a transaction before CREATE TABLE."""
    engine = create_engine(f"sqlite:///{tmp_path / 'host.sqlite3'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE identity_client_signing_keys (id INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrations.upgrade(engine)
    assert our_tables(engine) == {"identity_client_signing_keys"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE identity_client_signing_keys"))
    migrations.upgrade(engine)
    make_client(engine)
    engine.dispose()


@pytest.mark.parametrize("is_analyzed", [True, False])
def test_an_upgrade_renews_the_statistics_of_sqlite(sqlite_url: str, is_analyzed: bool) -> None:
    """A new index beside others with statistics would be chosen for every list; without any, the plans are right."""
    index, engine = "ix_identity_clients_review", make_engine(sqlite_url)
    make_client(engine)
    if is_analyzed:
        with engine.begin() as connection:
            connection.exec_driver_sql("ANALYZE")
            connection.exec_driver_sql(f"DELETE FROM sqlite_stat1 WHERE idx = '{index}'")
    migrations.upgrade(engine)
    with engine.connect() as connection:
        assert inspect(connection).has_table("sqlite_stat1") is is_analyzed
        if is_analyzed:
            analyzed = connection.scalars(text("SELECT idx FROM sqlite_stat1")).all()
            assert {index, "ix_identity_clients_status_name_folded"} <= set(analyzed)
    engine.dispose()


def test_revisions_are_numbered_and_import_no_models(tmp_path: Path) -> None:
    """A revision describes the schema of its time and must not change with the code."""
    (tmp_path / "database").mkdir(mode=0o700)
    engine = make_engine(f"sqlite:///{tmp_path / 'database' / 'x.sqlite3'}")
    scripts = ScriptDirectory.from_config(migrations.alembic_config(engine))
    revisions = [script.revision for script in scripts.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]
    for path in IDENTITY_CLIENTS.versions.glob("*.py"):
        assert "webapp" not in path.read_text("utf-8")
        assert path.name[:4] in revisions
    engine.dispose()


# Plan and locks


def test_the_plan_lists_what_an_upgrade_runs(engine: Engine) -> None:
    head = ScriptDirectory.from_config(migrations.alembic_config(engine)).get_current_head()
    assert migrations.pending(engine) == []
    migrations.downgrade(engine, "0012")
    before = our_tables(engine)
    planned = migrations.pending(engine)
    assert [revision.number for revision in planned][:2] == ["0013", "0014"]
    assert planned[-1].number == head
    assert all(revision.description.endswith(".") for revision in planned)
    assert our_tables(engine) == before
    migrations.downgrade(engine, "base")
    assert migrations.pending(engine)[0].number == "0001"
    migrations.upgrade(engine)
    assert migrations.pending(engine) == []


def test_tables_of_a_newer_release_are_left_as_they_are(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A host that returns to this release starts on them."""
    head = ScriptDirectory.from_config(migrations.alembic_config(engine)).get_current_head()
    set_revision(engine, "9999")
    try:
        migrations.upgrade(engine)
        assert "a newer release, revision 9999" in caplog.text
        assert migrations.pending(engine) == []
        make_client(engine)
    finally:
        set_revision(engine, str(head))


def set_revision(engine: Engine, revision: str) -> None:
    """Change the recorded revision of the tables."""
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {IDENTITY_CLIENTS.version_table} SET version_num = '{revision}'"))


def test_an_upgrade_waits_briefly_for_locks(postgresql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a table is locked it gives way to requests and tries again; at last it gives up."""
    engine = make_engine(postgresql_url)
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 0.1)
    monkeypatch.setattr(migrations, "LOCK_PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 2)
    migrations.downgrade(engine, "0013")
    before = our_tables(engine)
    with engine.connect() as other, other.begin():
        other.execute(text("LOCK TABLE identity_client_accounts IN ACCESS EXCLUSIVE MODE"))
        with pytest.raises(Unavailable):
            migrations.upgrade(engine, "0014")
    assert our_tables(engine) == before
    monkeypatch.setattr(migrations, "LOCK_ATTEMPTS", 50)
    with ThreadPoolExecutor(1) as pool:
        with engine.connect() as other, other.begin():
            other.execute(text("LOCK TABLE identity_client_accounts IN ACCESS EXCLUSIVE MODE"))
            upgrading = pool.submit(migrations.upgrade, engine, "0014")
            time.sleep(1)
            assert not upgrading.done()
        upgrading.result(20)
    assert "identity_client_notifications" in our_tables(engine)
    migrations.upgrade(engine)
    engine.dispose()


def test_requests_are_served_during_an_upgrade(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It holds no lock while it waits for another table, for an index or after it was ended; then it goes on."""
    monkeypatch.setattr(migrations, "LOCK_SECONDS", 60)
    engine = make_engine(postgresql_url)
    insert_clients(engine, ACCOUNT, 1_200)  # more than are changed at once
    with engine.begin() as connection:
        connection.execute(text(SECRETS_OF_MOST_CLIENTS))
        before = connection.execute(text(ROLES)).all()
    migrations.downgrade(engine, "0016")
    with (
        ThreadPoolExecutor(1) as pool,
        engine.connect() as older,
        engine.connect() as writer,
        engine.connect() as editor,
    ):
        older = older.execution_options(isolation_level="REPEATABLE READ")
        older.execute(text("SELECT 1"))  # an index that is built concurrently waits for the end of this snapshot
        with writer.begin():
            writer.execute(text("UPDATE identity_clients SET version = version"))
            upgrading = pool.submit(migrations.upgrade, engine)
            wait_until(engine, f"SELECT count(*) = 1 {WAITING} AND query LIKE '%CREATE%TRIGGER%ON identity_clients%'")
            with connect(engine) as reader:  # in the time of a request
                assert len(reader.execute(text(ROLES)).all()) == len(before)
            of_one = {"key": before[300].client_key}
            editor.execute(text("SELECT FROM identity_client_roles WHERE client_key = :key FOR UPDATE"), of_one)
        wait_until(engine, "SELECT count(*) = 1 FROM pg_trigger WHERE tgname = 'identity_client_keys_only_secrets'")
        time.sleep(0.5)  # it tries to lock the rows; if it kept some while it waits for one, this were a deadlock:
        editor.execute(text("UPDATE identity_client_roles SET role = role"))
        assert not upgrading.done()
        editor.rollback()
        wait_until(engine, f"SELECT count(*) = 1 {WAITING} AND query LIKE 'CREATE INDEX CONCURRENTLY%'")
        created = make_client(engine)
        assert caplog.messages == []  # no deadlock, and no lock that was not granted
        with engine.begin() as connection:
            connection.execute(text(f"SELECT pg_cancel_backend(pid) {WAITING}"))
        with pytest.raises(DBAPIError, match="canceling statement"):
            upgrading.result(60)
        make_client(engine)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 1
    assert [revision.number for revision in migrations.pending(engine)][:2] == ["0018", "0019"]
    migrations.upgrade(engine)
    with engine.begin() as connection:
        assert connection.scalar(text("SELECT count(*) FROM pg_index WHERE NOT indisvalid")) == 0
        after = connection.execute(text(ROLES)).all()
    assert [row for row in after if row.client_key in {role.client_key for role in before}] == before
    assert [row.secret_until_at.year for row in after if row.client_key == created.id] == [9000]
    engine.dispose()


def test_a_revision_that_is_not_recorded_yet_runs_again(postgresql_url: str) -> None:
    """Each that ends its transaction early may have been interrupted after its last step."""
    engine = make_engine(postgresql_url)
    migrations.downgrade(engine, "0009")
    for before, revision in (("0009", "0010"), ("0014", "0015"), ("0017", "0018"), ("0018", "0019")):
        migrations.upgrade(engine, revision)
        set_revision(engine, before)
        migrations.upgrade(engine, revision)
    migrations.upgrade(engine)
    make_client(engine)
    engine.dispose()


ROLES = "SELECT client_key, role, secret_until_at FROM identity_client_roles ORDER BY client_key, role"
SECRETS_OF_MOST_CLIENTS = """
    INSERT INTO identity_client_secrets (id, client_key, label, secret_hash, pepper_version, created_at, created_by)
    SELECT gen_random_uuid(), id, 'B', '', 1, now(), '' FROM identity_clients WHERE client_id !~ '7$'
    """
WAITING = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def wait_until(engine: Engine, condition: str) -> None:
    """Wait until a query returns true, for 30 s at most."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with engine.connect() as connection:
            if connection.scalar(text(condition)):
                return
        time.sleep(0.05)
    pytest.fail(f"This did not become true: {condition}")
