"""Writing in the background: what a busy or broken database, forks and the end of a process do to it (L2)."""

import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from tests.support.factories import PEPPER, make_client
from tests.support.servers import ROOT
from tests.support.usage import callers, counts, last_used, note, recent
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient
from webapp.core.usage.recorder import Recorder

NOW = datetime.now(UTC)
START = Recorder._start
HELD_UP = "Token requests cannot be recorded now. They are kept in memory, and retried every second."


def issued(engine: Engine, client: IdentityClient) -> int:
    """Return how many issued tokens of a client are counted."""
    return sum(counts(engine, client).values())


# A database that does not take it


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Lock a SQLite database against writers, who give up soon."""

    def wait_shortly(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA busy_timeout=20")

    event.listen(engine, "connect", wait_shortly)
    engine.dispose()
    other = make_engine(engine.url.render_as_string())
    with other.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
        connection.exec_driver_sql("ROLLBACK")
    other.dispose()


@contextmanager
def closed(engine: Engine) -> Iterator[None]:
    """Let a PostgreSQL database refuse everybody, and end the connections that there are."""
    name = engine.url.database
    server = make_engine(engine.url.set(database="postgres").render_as_string(hide_password=False))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        yield
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    server.dispose()


def test_what_a_busy_database_does_not_take_is_kept(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """It is tried again, and said once; nobody who asks for a token notices."""
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    away = locked if engine.dialect.name == "sqlite" else closed
    with away(engine):
        for _ in range(3):
            note(recorder, client, at=NOW)
            recorder.write()
    assert issued(engine, client) == 0
    note(recorder, client, at=NOW)
    recorder.write()
    recorder.write()
    assert issued(engine, client) == 4
    assert len(recent(engine, client)) == 4
    assert last_used(engine, client)
    assert callers(engine, client)
    assert [record.getMessage() for record in caplog.records if record.name.endswith("recorder")] == [HELD_UP]
    assert "The database cannot be used" in caplog.text


def test_what_no_database_could_take_is_dropped(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """A table that is missing, say: it must not stand in the way of what comes later. No value is told."""
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE identity_client_token_requests RENAME TO elsewhere"))
    note(recorder, client, at=NOW, scope="canary")
    recorder.write()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO identity_client_token_requests"))
    note(recorder, client, at=NOW)
    recorder.write()
    assert issued(engine, client) == len(recent(engine, client)) == 1
    upgrade, lost = caplog.messages
    assert "flask identity-clients upgrade" in upgrade
    assert "could not be recorded" in lost
    assert "canary" not in caplog.text


# The thread


@pytest.fixture
def in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorders write by themselves, as everywhere but in tests."""
    monkeypatch.setattr(Recorder, "_start", START)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def writers() -> int:
    """Return how many threads write in the background."""
    return sum(thread.name == "identity-clients-recorder" for thread in threading.enumerate())


@pytest.mark.usefixtures("in_the_background")
def test_one_thread_writes_within_a_second_and_goes_when_nothing_is_left(engine: Engine) -> None:
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    for so_far in (0, 3):
        started = time.monotonic()
        for _ in range(3):
            note(recorder, client, at=NOW)
        assert writers() == 1
        wait_for(lambda expected=so_far + 3: issued(engine, client) == expected)  # type: ignore[misc]
        assert time.monotonic() - started < 5  # a second on a machine that has nothing else to do
        wait_for(lambda: writers() == 0)


@pytest.mark.usefixtures("in_the_background")
def test_a_process_that_may_have_no_more_threads_serves_on(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client, recorder = make_client(engine), Recorder(engine, PEPPER)

    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        note(recorder, client, at=NOW)
    note(recorder, client, at=NOW)
    wait_for(lambda: issued(engine, client) == 2)
    wait_for(lambda: writers() == 0)


def test_noting_never_waits_for_the_database(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    with locked(engine):
        writer = threading.Thread(target=recorder.write)
        note(recorder, client, at=NOW)
        writer.start()
        started = time.perf_counter()
        for _ in range(1000):
            note(recorder, client, at=NOW)
        assert time.perf_counter() - started < 0.5
        writer.join()
    recorder.write()
    assert issued(engine, client) == 1001
    engine.dispose()


# The end of a process, and its children

PREAMBLE = """
import logging, multiprocessing, os, signal, sys, time, uuid
from datetime import UTC, datetime
from webapp.core.database.engine import make_engine
from webapp.core.usage.recorder import Recorder
from webapp.core.database.outcomes import Outcome

logging.basicConfig(level=logging.WARNING)
engine = make_engine(sys.argv[1])
recorder = Recorder(engine, b"a pepper of 32 bytes or even more")

def note(times=1, address=None):
    for _ in range(times):
        recorder.record(
            uuid.UUID(sys.argv[2]), Outcome.ISSUED, "A",
            client_id="irrelevant", at=datetime.now(UTC), address=address, scope="",
        )

def child():
    note(10, "192.0.2.10")
"""
ENDS = {
    "by an error": ("note(2); raise ValueError", 2),
    "in a forked worker": (
        "note(); worker = multiprocessing.get_context('fork').Process(target=child); worker.start(); worker.join()",
        11,
    ),
    "in a spawned worker": (
        "if __name__ == '__main__':\n"
        " note(); worker = multiprocessing.get_context('spawn').Process(target=child); worker.start(); worker.join()",
        11,
    ),
    "in a bare fork, as of a pre-forking server": (
        "note(); pid = os.fork()\nif pid == 0: child(); sys.exit()\nos.waitpid(pid, 0)",
        11,
    ),
    "forked while it writes": (
        "recorder._lock.acquire(); recorder._writing.acquire()\npid = os.fork()\n"
        "if pid == 0: child(); sys.exit()\nrecorder._writing.release(); recorder._lock.release()\nos.waitpid(pid, 0)",
        10,
    ),
}


@pytest.mark.parametrize(
    ("database", "end"), [*itertools.product(["sqlite_url"], ENDS), ("postgresql_url", "in a forked worker")]
)
def test_nothing_is_lost_where_a_process_ends(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, end: str
) -> None:
    """Each process writes what it noted itself, once."""
    program, expected = ENDS[end]
    engine = make_engine(request.getfixturevalue(database))
    client = make_client(engine)
    done = run(engine, client, tmp_path, program)
    assert issued(engine, client) == expected, done.stderr
    assert "recorder" not in done.stderr
    engine.dispose()


def test_what_is_lost_at_the_end_is_told(sqlite_url: str, tmp_path: Path) -> None:
    engine = make_engine(sqlite_url)
    client = make_client(engine)
    impatient = "event.listen(engine, 'connect', lambda connection, _: connection.execute('PRAGMA busy_timeout=20'))\n"
    with locked(engine):
        done = run(engine, client, tmp_path, f"from sqlalchemy import event\n{impatient}note()")
    assert done.returncode == 0
    assert "The process ends before its last token requests could be recorded." in done.stderr
    assert issued(engine, client) == 0
    engine.dispose()


def run(engine: Engine, client: IdentityClient, directory: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own."""
    script = directory / "program.py"
    script.write_text(PREAMBLE + program)
    url = engine.url.render_as_string(hide_password=False)
    return subprocess.run(
        [sys.executable, script, url, str(client.id)],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
