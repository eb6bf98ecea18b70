"""`flask identity-clients backup`: a complete copy that only its owner can read (C4)."""

import os
import sqlite3
import stat
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine, func, select, text

from tests.support import servers
from tests.support.endpoint import Endpoint
from tests.support.factories import make_client
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, ClaimedClientId, ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session


@pytest.fixture
def endpoint(sqlite_url: str) -> Iterator[Endpoint]:
    """Return an endpoint on SQLite that has served requests."""
    engine = make_engine(sqlite_url)
    yield Endpoint(engine)
    engine.dispose()


@pytest.fixture
def private_directory(tmp_path: Path) -> Path:
    """Return a directory that only its owner can enter."""
    directory = tmp_path / "private_directory"
    directory.mkdir(mode=0o700)
    return directory


def back_up(endpoint: Endpoint, file: Path) -> Result:
    """Run the command."""
    return endpoint.app.test_cli_runner().invoke(args=["identity-clients", "backup", str(file)])


def gets_a_token(engine: Engine, client: IdentityClient) -> bool:
    """Return whether a server on this database issues a token to the client."""
    return Endpoint(engine).request_token(client).status_code == 200


def published(endpoint: Endpoint) -> Any:
    """Return the published key set."""
    return endpoint.client.get("/.well-known/jwks.json").json


def test_a_backup_during_writes_is_consistent(endpoint: Endpoint, private_directory: Path) -> None:
    """Each transaction is in it as a whole or not at all, and it issues tokens."""
    client = make_client(endpoint.engine)
    assert gets_a_token(endpoint.engine, client)
    keys = published(endpoint)
    stop, written = threading.Event(), []

    def write() -> None:
        while not stop.is_set():
            written.append(make_client(endpoint.engine).client_id)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            enough = len(written) + 10
            while len(written) < enough:
                pass
            assert back_up(endpoint, private_directory / f"{number}.sqlite3").exit_code == 0
    finally:
        stop.set()
        writer.join()
    sizes = []
    for number in range(3):
        file = private_directory / f"{number}.sqlite3"
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        restored = make_engine(f"sqlite:///{file}")
        with read_session(restored) as session:
            tables = (IdentityClient, ClientSecret, ClaimedClientId, AuditEvent)
            rows = [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
        sizes.append(rows[0])
        assert rows[0] == rows[1] == rows[2]
        assert gets_a_token(restored, client)
        assert published(Endpoint(restored)) == keys
        restored.dispose()
    assert 10 < sizes[0] < sizes[1] < sizes[2] <= len(written) + 1


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_only_the_owner_can_read_a_backup(endpoint: Endpoint, tmp_path: Path, umask: int) -> None:
    """Mode 0600, in a directory that is created with 0700 if it is missing; no other file is left there (C4)."""
    file = tmp_path / "new" / "private_directory" / "backup.sqlite3"
    before = os.umask(umask)
    try:
        assert back_up(endpoint, file).exit_code == 0
    finally:
        os.umask(before)
    assert [entry.name for entry in file.parent.iterdir()] == ["backup.sqlite3"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_backup_overwrites_nothing(endpoint: Endpoint, private_directory: Path) -> None:
    file = private_directory / "backup.sqlite3"
    file.write_text("precious")
    result = back_up(endpoint, file)
    assert (result.exit_code, result.output) == (1, f"Error: {file} exists. Name a file that does not.\n")
    file.rename(private_directory / "backup.sqlite3.part")
    result = back_up(endpoint, file)
    assert result.exit_code == 1
    assert "another backup is running, or one was interrupted" in result.output
    assert [entry.name for entry in private_directory.iterdir()] == ["backup.sqlite3.part"]
    assert (private_directory / "backup.sqlite3.part").read_text() == "precious"


@pytest.mark.parametrize("unsafe_mode", [0o755, 0o710, 0o701])
def test_a_directory_that_others_can_enter_gets_no_backup(
    endpoint: Endpoint, private_directory: Path, unsafe_mode: int
) -> None:
    """The error says what to run (C4)."""
    private_directory.chmod(unsafe_mode)
    result = back_up(endpoint, private_directory / "backup.sqlite3")
    assert result.exit_code == 1
    assert f"Run: chmod 700 {private_directory}" in result.output
    assert list(private_directory.iterdir()) == []


def test_an_aborted_backup_leaves_no_file(
    endpoint: Endpoint, private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An incomplete file could be mistaken for a backup."""

    def no_space(_part: Path, _file: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "rename", no_space)
    result = back_up(endpoint, private_directory / "backup.sqlite3")
    assert result.exit_code == 1
    assert "No backup was made: [Errno 28] No space left on device" in result.output
    assert list(private_directory.iterdir()) == []


def test_on_postgresql_the_command_says_what_to_run_and_that_works(
    postgresql_url: str, postgresql_server: Engine, private_directory: Path
) -> None:
    """Exit code 2; the printed command makes a backup from which an empty database issues tokens."""
    engine = make_engine(postgresql_url)
    client = make_client(engine)
    assert gets_a_token(engine, client)
    file = private_directory / "a backup"
    result = back_up(Endpoint(engine), file)
    engine.dispose()
    assert result.exit_code == 2
    assert not file.exists()
    environment = {"PATH": f"{servers.postgresql_programs()}:{os.environ['PATH']}"}
    command = result.output.partition("run its own: ")[2]
    subprocess.run(["/bin/sh", "-c", command], env=environment, check=True, timeout=60)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    name = f"restored_{uuid.uuid4().hex}"
    with postgresql_server.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        restored = make_engine(engine.url.set(database=name).render_as_string(hide_password=False))
        address = restored.url.set(drivername="postgresql").render_as_string(hide_password=False)
        subprocess.run(
            ["pg_restore", "--exit-on-error", f"--dbname={address}", file], env=environment, check=True, timeout=60
        )
        assert gets_a_token(restored, client)
        restored.dispose()
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
