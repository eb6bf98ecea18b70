"""Servers for the tests: PostgreSQL and Redis, unprivileged and temporary, and the stand-alone application."""

import fcntl
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import redis

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
STOP_SECONDS = 15


class MissingServer(Exception):
    """Raised when a required server is not installed or does not start; the text says what to do."""


def free_port() -> int:
    """Return a TCP port of the loopback address on which no process listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One server process, started without waiting until it is ready.

    :param script: run by `/bin/sh -e` in the server's directory; its last line replaces the shell by the server.
    """

    def __init__(self, name: str, directory: Path, script: str) -> None:
        self.name = name
        self.log = directory / "log"
        # PostgreSQL refuses to run as root; `nobody` exists wherever root does.
        user = pwd.getpwnam("nobody") if os.getuid() == 0 else pwd.getpwuid(os.getuid())
        directory.mkdir(mode=0o700)
        os.chown(directory, user.pw_uid, user.pw_gid)
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-e", "-c", script],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the servers themselves
                env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "HOME": str(directory)},
                user=user.pw_uid if os.getuid() == 0 else None,
                group=user.pw_gid if os.getuid() == 0 else None,
                extra_groups=[] if os.getuid() == 0 else None,
            )

    @property
    def pid(self) -> int:
        """The ID of its first process."""
        return self._process.pid

    def leave_running(self) -> int:
        """Return the ID of the process, which another process will stop."""
        self._process.returncode = 0  # otherwise Python warns at its exit that the process still runs
        return self._process.pid

    def stop(self) -> None:
        """Stop the process, and wait for its end."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # makes PostgreSQL stop without waiting for clients
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def start_postgresql(directory: Path) -> tuple[Server, str]:
    """Start PostgreSQL; return it with the SQLAlchemy URL of its maintenance database."""
    programs = postgresql_programs()
    script = f"""
        "{programs}/initdb" -D data -U tests --auth=trust --no-sync --no-instructions -E UTF8 --locale=C.UTF-8
        exec "{programs}/postgres" -D data -k "{directory}" -c listen_addresses= -c max_connections=200 \
            -c fsync=off -c synchronous_commit=off -c full_page_writes=off -c wal_level=minimal \
            -c max_wal_senders=0 -c autovacuum=off -c shared_buffers=64MB
    """
    return Server("PostgreSQL", directory, script), f"postgresql+psycopg://tests@/postgres?host={directory}"


def postgresql_programs() -> Path:
    """Return the directory of PostgreSQL's programs, of the newest installed version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    found = str(debian[-1]) if debian else shutil.which("postgres")
    if not found:
        raise MissingServer("PostgreSQL is not installed. On Debian: apt-get install postgresql")
    return Path(found).resolve().parent


def start_redis(directory: Path) -> tuple[Server, str]:
    """Start Redis; return it with the URL of its first database."""
    program = shutil.which("redis-server")
    if not program:
        raise MissingServer("Redis is not installed. On Debian: apt-get install redis-server")
    port = free_port()
    script = f'exec "{program}" --bind 127.0.0.1 --port {port} --save "" --appendonly no --databases 64'
    return Server("Redis", directory, script), f"redis://127.0.0.1:{port}/0"


def wait_for_port(port: int) -> None:
    """Wait until a server of this machine accepts connections.

    :raises OSError: it did not within `START_SECONDS`.
    """
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


# Servers that all processes of a test run share


def _postgresql_answers(url: str) -> bool:
    try:
        psycopg.connect(url.replace("+psycopg", "")).close()
    except psycopg.OperationalError:
        return False
    return True


def _redis_answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url) as connection:
            return bool(connection.ping())
    except redis.ConnectionError:
        return False


SHARED: dict[str, tuple[Callable[[Path], tuple[Server, str]], Callable[[str], bool]]] = {
    "postgresql": (start_postgresql, _postgresql_answers),
    "redis": (start_redis, _redis_answers),
}
"""For each server, a function that starts it and one that returns whether it is ready."""
_DIRECTORY = "TEST_SERVERS_DIRECTORY"


@contextmanager
def shared_servers() -> Iterator[None]:
    """Let this process and its children use `shared_server`; stop the started servers at the end."""
    directory = Path(tempfile.mkdtemp(prefix="identity-clients-", dir="/tmp"))  # the path of a socket must be short
    directory.chmod(0o711)  # the servers' user needs access
    os.environ[_DIRECTORY] = str(directory)
    try:
        yield
    finally:
        for file in directory.glob("*.pid"):
            _stop_process(int(file.read_text()))
        del os.environ[_DIRECTORY]
        shutil.rmtree(directory, ignore_errors=True)


def shared_server(name: str) -> str:
    """Return the URL of a server, which the first process that needs it starts.

    :param name: a key of `SHARED`.
    :raises MissingServer: it is not installed, or is not ready within `START_SECONDS`.
    """
    directory = Path(os.environ[_DIRECTORY])
    address = directory / f"{name}.url"
    with (directory / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not address.exists():
            start, is_ready = SHARED[name]
            server, url = start(directory / name)
            (directory / f"{name}.pid").write_text(str(server.leave_running()))
            deadline = time.monotonic() + START_SECONDS
            while not is_ready(url):
                if time.monotonic() > deadline:
                    raise MissingServer(f"{server.name} did not start:\n{server.log.read_text()}")
                time.sleep(0.02)
            address.write_text(url)
    return address.read_text()


def _stop_process(pid: int) -> None:
    """Stop a server that may be the child of another process, and wait for its end."""
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + STOP_SECONDS
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                process.kill()
            time.sleep(0.02)


# The stand-alone application in a separate process


@dataclass(frozen=True, slots=True)
class LiveServer:
    """The running server of `make run`, with demo data.

    :param url: its base URL without a trailing slash.
    :param password: the password of every demo user.
    :param log: the file of its standard output and error.
    """

    url: str
    database_url: str
    password: str
    log: Path


@contextmanager
def serve(directory: Path, **environment: str) -> Iterator[LiveServer]:
    """Serve `wsgi.py` with granian as `make run` does, and stop it at the end.

    :param directory: an existing one for keys, log and (unless `environment` names another) the SQLite database.
    :param environment: variables added to, or replacing, those set here.
    """
    port = free_port()
    variables = {
        "PATH": os.environ["PATH"],
        "IDENTITY_CLIENTS_DEVELOPMENT": "true",
        "IDENTITY_CLIENTS_DATABASE_URL": f"sqlite:///{directory}/instance/live.sqlite3",
        "INSTANCE_PATH": f"{directory}/instance",
        "PORT": str(port),
        "DEMO_PASSWORD": "correct horse battery staple",
    } | environment
    log = directory / "server.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "webapp.standalone"],
            cwd=ROOT,
            env=variables,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/readyz"):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"The server did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield LiveServer(url, variables["IDENTITY_CLIENTS_DATABASE_URL"], variables["DEMO_PASSWORD"], log)
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its workers
            process.wait()


def answers(url: str) -> bool:
    """Return whether a GET of the URL gets 200."""
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
