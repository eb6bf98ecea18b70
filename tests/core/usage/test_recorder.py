"""The background writer: unavailable databases, forks and the end of a process (L2)."""

import ctypes
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
from tests.support.usage import callers, counts, last_used, recent, record
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient
from webapp.core.usage.recorder import Recorder

NOW = datetime.now(UTC)
START = Recorder._start
HELD_UP = "Token requests cannot be recorded now. They are kept in memory, and retried every second."


def issued(engine: Engine, client: IdentityClient) -> int:
    """Return how many issued tokens of a client are counted."""
    return sum(counts(engine, client).values())


# Unavailable databases


@contextmanager
def locked(engine: Engine) -> Iterator[None]:
    """Lock a SQLite database; writers time out soon."""

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


def test_writing_everything_ends_where_the_database_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much is pending: the end of a process waits for the database once."""
    monkeypatch.setattr("webapp.core.usage.recorder.COUNTS_PER_WRITE_MAX", 1)
    monkeypatch.setattr("webapp.core.database.errors._logged_at", {})
    engine = make_engine(sqlite_url)
    clients = [make_client(engine) for _ in range(3)]
    recorder = Recorder(engine, PEPPER)
    attempts: list[Any] = []
    for client in clients:
        record(recorder, client)
    with locked(engine):
        event.listen(engine, "checkout", lambda *arguments: attempts.append(arguments))
        recorder.write_all()
        assert len(attempts) == 1
    recorder.write_all()
    assert [issued(engine, client) for client in clients] == [1, 1, 1]
    engine.dispose()


@contextmanager
def closed(engine: Engine) -> Iterator[None]:
    """Let a PostgreSQL database refuse connections, and end the existing ones."""
    name = engine.url.database
    server = make_engine(engine.url.set(database="postgres").render_as_string(hide_password=False))
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"))
        yield
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    server.dispose()


def test_requests_are_kept_while_the_database_is_unavailable(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The write is repeated and logged once, and no token request fails."""
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    away = locked if engine.dialect.name == "sqlite" else closed
    with away(engine):
        for _ in range(3):
            record(recorder, client, at=NOW)
            recorder.write()
    assert issued(engine, client) == 0
    record(recorder, client, at=NOW)
    recorder.write()
    recorder.write()
    assert issued(engine, client) == 4
    assert len(recent(engine, client)) == 4
    assert last_used(engine, client)
    assert callers(engine, client)
    assert [record.getMessage() for record in caplog.records if record.name.endswith("recorder")] == [HELD_UP]
    assert "The database cannot be used" in caplog.text


def test_requests_that_can_never_be_written_are_dropped(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """With a missing table, for example, later requests must still be written. The log contains no values."""
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE identity_client_token_requests RENAME TO elsewhere"))
    record(recorder, client, at=NOW, scope="canary")
    recorder.write()
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE elsewhere RENAME TO identity_client_token_requests"))
    record(recorder, client, at=NOW)
    recorder.write()
    assert issued(engine, client) == len(recent(engine, client)) == 1
    upgrade, lost = caplog.messages
    assert "flask identity-clients upgrade" in upgrade
    assert "could not be recorded" in lost
    assert "canary" not in caplog.text


# The thread


@pytest.fixture
def background_writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let recorders start their thread, as outside of tests."""
    monkeypatch.setattr(Recorder, "_start", START)


def wait_for(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def writers() -> int:
    """Return the number of background threads."""
    return sum(thread.name == "identity-clients-recorder" for thread in threading.enumerate())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.usefixtures("background_writer")
def test_a_thread_that_dies_is_started_again_and_counted(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """What it had not written is written by the next one (D10)."""
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    record(recorder, client, at=NOW)
    [thread] = [thread for thread in threading.enumerate() if thread.name == "identity-clients-recorder"]
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(SystemExit))
    wait_for(lambda: not thread.is_alive())
    assert issued(engine, client) == recorder.restarts == 0
    record(recorder, client, at=NOW)
    wait_for(lambda: issued(engine, client) == 2)
    assert recorder.restarts == 1
    assert "The thread that records token requests died and was started again (1 times)." in caplog.messages
    wait_for(lambda: writers() == 0)


@pytest.mark.usefixtures("background_writer")
def test_one_thread_writes_within_a_second_and_ends_when_idle(engine: Engine) -> None:
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    for so_far in (0, 3):
        started = time.monotonic()
        for _ in range(3):
            record(recorder, client, at=NOW)
        assert writers() == 1
        wait_for(lambda expected=so_far + 3: issued(engine, client) == expected)  # type: ignore[misc]
        assert time.monotonic() - started < 5  # one second, on an idle machine
        wait_for(lambda: writers() == 0)


@pytest.mark.usefixtures("background_writer")
def test_a_process_without_free_threads_continues_to_serve(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    client, recorder = make_client(engine), Recorder(engine, PEPPER)

    def no_more_threads(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more_threads)
        record(recorder, client, at=NOW)
    record(recorder, client, at=NOW)
    wait_for(lambda: issued(engine, client) == 2)
    wait_for(lambda: writers() == 0)


def test_recording_never_waits_for_the_database(sqlite_url: str) -> None:
    engine = make_engine(sqlite_url)
    client, recorder = make_client(engine), Recorder(engine, PEPPER)
    with locked(engine):
        writer = threading.Thread(target=recorder.write)
        record(recorder, client, at=NOW)
        writer.start()
        started = time.perf_counter()
        for _ in range(1000):
            record(recorder, client, at=NOW)
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
    "with greenlets in place of threads, patched after the recorder was made": (
        "from gevent import joinall, monkey, spawn\nmonkey.patch_all()\n"
        "note(); joinall([spawn(note) for _ in range(10)], raise_error=True)",
        11,
    ),
}


@pytest.mark.parametrize(
    ("database", "end"), [*itertools.product(["sqlite_url"], ENDS), ("postgresql_url", "in a forked worker")]
)
def test_nothing_is_lost_when_a_process_ends(
    request: pytest.FixtureRequest, tmp_path: Path, database: str, end: str
) -> None:
    """Each process writes its own requests, once."""
    program, expected = ENDS[end]
    engine = make_engine(request.getfixturevalue(database))
    client = make_client(engine)
    done = run(engine, client, tmp_path, program)
    assert issued(engine, client) == expected, done.stderr
    assert "recorder" not in done.stderr
    engine.dispose()


def test_requests_lost_at_the_end_are_logged(sqlite_url: str, tmp_path: Path) -> None:
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
