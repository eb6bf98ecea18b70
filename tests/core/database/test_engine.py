"""The engine, sessions and units of work."""

import os
import sqlite3
import stat
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.exc import DatabaseError, IntegrityError
from sqlalchemy.orm import Session

from tests.support.clients import edit, values_of
from tests.support.factories import SECRET, make_account, make_client
from webapp.core.database.engine import make_engine
from webapp.core.database.errors import violated_constraint
from webapp.core.database.models import Account, ClientSecret, IdentityClient
from webapp.core.database.sqlite import without_waiting_for_disk
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import Unavailable
from webapp.settings import SettingsError

SESSIONS: list[Callable[[Engine], AbstractContextManager[Session]]] = [read_session, unit_of_work]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# Files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_can_read_what_sqlite_writes(tmp_path: Path, umask: int) -> None:
    """With any umask the database and its two side files are 0600, in a directory of 0700 (C4)."""
    path = tmp_path / "new" / "instance" / "mas.sqlite3"
    before = os.umask(umask)
    try:
        engine = make_engine(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE written (at TEXT)"))
            files = {file.name: mode(file) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert files == {"mas.sqlite3": 0o600, "mas.sqlite3-wal": 0o600, "mas.sqlite3-shm": 0o600}
    assert mode(path.parent) == 0o700
    engine.dispose()


@pytest.mark.parametrize("name", ["mas.sqlite3", "mas.sqlite3-wal", "mas.sqlite3-shm"])
@pytest.mark.parametrize("unsafe_mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_stops_the_start(tmp_path: Path, name: str, unsafe_mode: int) -> None:
    """The error says what to run (C4)."""
    directory = tmp_path / "instance"
    directory.mkdir(mode=0o700)
    file = directory / name
    file.touch()
    file.chmod(unsafe_mode)
    with pytest.raises(SettingsError) as caught:
        make_engine(f"sqlite:///{directory / 'mas.sqlite3'}")
    assert f"Run: chmod 600 {file}" in str(caught.value)
    file.chmod(0o600)
    make_engine(f"sqlite:///{directory / 'mas.sqlite3'}")


@pytest.mark.parametrize("name", ["mas.sqlite3", "mas.sqlite3-wal", "mas.sqlite3-shm", ""])
def test_a_file_that_cannot_be_written_stops_the_start(tmp_path: Path, name: str) -> None:
    """By its permissions, which SQLite ignores when root runs it (D8)."""
    directory = tmp_path / "instance"
    directory.mkdir(mode=0o700)
    (directory / "mas.sqlite3").touch(0o600)
    path = directory / name
    if name:
        path.touch(0o600)
    path.chmod(0o400 if name else 0o500)
    with pytest.raises(SettingsError, match=f"The database cannot be written: {path} is read-only"):
        make_engine(f"sqlite:///{directory / 'mas.sqlite3'}")
    path.chmod(0o700)


@pytest.mark.parametrize("unsafe_mode", [0o755, 0o750, 0o701, 0o1777])
def test_a_directory_that_others_can_enter_stops_the_start(tmp_path: Path, unsafe_mode: int) -> None:
    """Others may need the directory, as with /tmp, so the message offers two solutions; no file is left there (C4)."""
    directory = tmp_path / "shared"
    directory.mkdir()
    directory.chmod(unsafe_mode)
    with pytest.raises(SettingsError) as caught:
        make_engine(f"sqlite:///{directory / 'mas.sqlite3'}")
    assert f"Run: chmod 700 {directory}" in str(caught.value)
    assert "mkdir -m 700" in str(caught.value)
    assert list(directory.iterdir()) == []
    assert mode(directory) == unsafe_mode


def test_a_set_group_id_bit_is_accepted(tmp_path: Path) -> None:
    """Some systems set this bit on new directories, and it grants no access (C4)."""
    directory = tmp_path / "instance"
    directory.mkdir()
    directory.chmod(0o2700)
    make_engine(f"sqlite:///{directory / 'mas.sqlite3'}")


@pytest.mark.parametrize(
    "url",
    ["", "mas.sqlite3", "nonsense://password@host", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true"],
)
def test_an_invalid_url_stops_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="IDENTITY_CLIENTS_DATABASE_URL") as caught:
        make_engine(url)
    assert "password" not in str(caught.value)


# Transactions


def fail_after_adding(session: Session) -> None:
    session.add(Account(id="dropped", feature_enabled=True))
    session.flush()
    raise ZeroDivisionError


def fail_after_savepoint(session: Session) -> None:
    session.execute(select(Account))
    with session.begin_nested():
        session.add(Account(id="dropped", feature_enabled=True))
    raise ZeroDivisionError


def test_a_unit_of_work_commits_once_or_not_at_all(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.add(Account(id="kept", feature_enabled=True))
    with pytest.raises(ZeroDivisionError), unit_of_work(engine) as session:
        fail_after_adding(session)
    with read_session(engine) as session:
        assert session.scalars(select(Account.id)).all() == ["kept"]


def test_loaded_objects_are_readable_after_the_session(engine: Engine) -> None:
    """Objects that a view passes to a template are fully loaded and detached."""
    client = make_client(engine)
    with read_session(engine) as session:
        read = session.get_one(IdentityClient, client.id)
        read.name = "never written"
    assert read.client_id == client.client_id
    with read_session(engine) as session:
        assert session.get_one(IdentityClient, client.id).name == ""


def test_a_savepoint_rolls_back_its_own_part_only(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.add(Account(id="kept", feature_enabled=True))
        session.flush()
        with pytest.raises(ZeroDivisionError), session.begin_nested():
            fail_after_adding(session)
    with read_session(engine) as session:
        assert session.scalars(select(Account.id)).all() == ["kept"]


def test_on_sqlite_a_unit_of_work_holds_the_lock_from_its_first_statement(sqlite_url: str) -> None:
    """Of two writers that read first, one would fail at its write; readers never wait."""
    engine = make_engine(sqlite_url)
    other = sqlite3.connect(str(engine.url.database), timeout=0, isolation_level=None)
    with unit_of_work(engine) as session:
        session.execute(select(Account))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        with read_session(engine) as reader:
            reader.execute(select(Account))
    with read_session(engine) as session:
        session.execute(select(Account))
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    other.close()
    engine.dispose()


def test_a_unit_of_work_waits_for_the_disk(sqlite_url: str) -> None:
    """2 is FULL, 1 is NORMAL, in whichever order they come on one connection (D9)."""
    engine = make_engine(sqlite_url)
    for connecting, level in [(engine, 2), (without_waiting_for_disk(engine), 1), (engine, 2)]:
        with unit_of_work(connecting) as session:
            assert session.scalar(text("PRAGMA synchronous")) == level
            assert session.scalar(text("PRAGMA journal_mode")) == "wal"
    engine.dispose()


def test_a_read_session_sees_one_state(sqlite_url: str) -> None:
    """A page and its total come from the same moment."""
    engine = make_engine(sqlite_url)
    with read_session(engine) as session:
        before = session.scalar(select(func.count()).select_from(Account))
        make_account(engine)
        assert session.scalar(select(func.count()).select_from(Account)) == before
    engine.dispose()


def test_a_hosts_sqlite_engine_commits_no_savepoint_by_itself(sqlite_url: str) -> None:
    """The driver of a plain engine begins a transaction late, so that releasing a savepoint would commit (E6)."""
    host = create_engine(sqlite_url)
    client = make_client(host)
    other = sqlite3.connect(str(host.url.database), timeout=0, isolation_level=None)
    with unit_of_work(host) as session:
        session.execute(select(Account))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    with pytest.raises(ZeroDivisionError), unit_of_work(host) as session:
        fail_after_savepoint(session)
    assert edit(host, client, values=values_of(client, name="New name")).version == 2
    with read_session(host) as session:
        assert session.scalars(select(Account.id)).all() == [client.account_id]
    other.close()
    host.dispose()


# Errors


def test_a_locked_database_is_unavailable(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A locked database is busy (D8)."""
    monkeypatch.setattr("webapp.core.database.sqlite.BUSY_TIMEOUT_SECONDS", 0)
    engine = make_engine(sqlite_url)
    other = sqlite3.connect(str(engine.url.database), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable), unit_of_work(engine) as session:
        session.execute(select(Account))
    other.close()
    engine.dispose()


@pytest.mark.parametrize("session_of", SESSIONS)
def test_an_unreachable_database_is_unavailable(
    session_of: Callable[[Engine], AbstractContextManager[Session]], tmp_path: Path
) -> None:
    """Both if it was never there and if it goes away (D8)."""
    (tmp_path / "gone").mkdir(mode=0o700)
    gone = make_engine(f"sqlite:///{tmp_path / 'gone' / 'mas.sqlite3'}")
    (tmp_path / "gone" / "mas.sqlite3").unlink()
    (tmp_path / "gone").rmdir()
    for engine in (gone, make_engine("postgresql+psycopg://nobody@127.0.0.1:1/nothing")):
        with pytest.raises(Unavailable), session_of(engine) as session:
            session.execute(select(Account))


def test_a_lost_connection_is_unavailable_and_the_next_one_works(postgresql_url: str) -> None:
    """A connection that breaks is busy and the next one works (D8)."""
    engine = make_engine(postgresql_url)
    with pytest.raises(Unavailable), unit_of_work(engine) as session:
        session.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    with read_session(engine) as session:
        session.execute(select(Account))
    engine.dispose()


def test_an_exhausted_pool_is_unavailable(postgresql_url: str) -> None:
    engine = create_engine(postgresql_url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    with engine.connect(), pytest.raises(Unavailable), read_session(engine) as session:
        session.execute(select(Account))
    engine.dispose()


@pytest.mark.parametrize("statement", ["SELECT * FROM missing", "SELEC", "SELECT missing FROM identity_clients"])
def test_a_wrong_statement_is_not_unavailable(engine: Engine, statement: str) -> None:
    """A programming error must not look like an outage."""
    for session_of in SESSIONS:
        with pytest.raises(DatabaseError), session_of(engine) as session:
            session.execute(text(statement))


@pytest.mark.parametrize(
    ("column", "constraint"),
    [("label", "uq_identity_client_secrets_client_key_label"), ("created_by", None), ("client_key", None)],
)
def test_no_secret_and_no_hash_is_in_a_database_error(engine: Engine, column: str, constraint: str | None) -> None:
    """Neither parameters nor the row that PostgreSQL repeats; the violated constraint is known (L5)."""
    client = make_client(engine)
    [kept] = client.secrets
    row = {
        "client_key": client.id,
        "label": "B",
        "secret_hash": kept.secret_hash,
        "pepper_version": 1,
        "created_at": kept.created_at,
        "created_by": SECRET,
        column: "A" if column == "label" else None,
    }
    with pytest.raises(IntegrityError) as caught, unit_of_work(engine) as session:
        session.add(ClientSecret(**row))
    if constraint:
        assert violated_constraint(caught.value) == constraint
    shown = "".join(traceback.format_exception(caught.value))
    assert "identity_client_secrets" in shown
    for hidden in (kept.secret_hash, SECRET):
        assert hidden not in shown


def test_another_constraint_is_never_taken_for_a_unique_key(engine: Engine) -> None:
    client = make_client(engine)
    with pytest.raises(IntegrityError) as caught, unit_of_work(engine) as session:
        session.get_one(IdentityClient, client.id).token_duration_minutes = 9
    assert violated_constraint(caught.value) in (None, "ck_identity_clients_token_duration")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("client_id", "a" * 5),
        ("name", "ab"),
        ("description", "a" * 1001),
        ("token_duration_minutes", 9),
        ("token_duration_minutes", 61),
        ("roles", frozenset()),
    ],
)
def test_constraints_enforce_the_rules(sqlite_url: str, postgresql_url: str, column: str, value: object) -> None:
    """The database enforces the limits of the fields as well, on both engines (I1)."""
    for url in (sqlite_url, postgresql_url):
        engine = make_engine(url)
        client = make_client(engine)
        with pytest.raises(IntegrityError), unit_of_work(engine) as session:
            setattr(session.get_one(IdentityClient, client.id), column, value)
        engine.dispose()


@pytest.mark.parametrize("change", ["RENAME TO elsewhere", "RENAME COLUMN name TO title"])
def test_missing_tables_are_logged_with_the_command_to_run(
    engine: Engine, caplog: pytest.LogCaptureFixture, change: str
) -> None:
    """After a forgotten upgrade the log names the command in one line, and the page shows no detail (L5)."""
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE identity_clients {change}"))
    with pytest.raises(DatabaseError), read_session(engine) as session:
        session.scalars(select(IdentityClient)).all()
    assert caplog.messages == ["The tables are missing or older than this release. Run: flask identity-clients upgrade"]
