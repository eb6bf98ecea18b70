"""PostgreSQL servers and PgBouncers of one test, which can be stopped, frozen and restarted."""

import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
from sqlalchemy import make_url

from tests.support import servers


def wait_until_connectable(url: str) -> None:
    """Return as soon as a server accepts connections at an SQLAlchemy URL."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    deadline = time.monotonic() + servers.START_SECONDS
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


class OwnPostgresql:
    """A PostgreSQL server.

    :ivar url: the SQLAlchemy URL of its maintenance database.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self._data = directory, directory / "one" / "data"
        self._server, self.url = servers.start_postgresql(directory / "one")
        wait_until_connectable(self.url)

    @property
    def socket_directory(self) -> Path:
        """The directory of its Unix socket."""
        return self._data.parent

    def url_of(self, database: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return make_url(self.url).set(database=database).render_as_string()

    def execute(self, statement: str) -> None:
        """Run a statement in a separate connection."""
        address = make_url(self.url).set(drivername="postgresql").render_as_string()
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement.encode())

    def stop(self) -> None:
        """Stop the server; connections are refused from then on."""
        self._server.stop()

    def start_again(self) -> None:
        """Start the server again with the same data."""
        program = servers.postgresql_programs() / "postgres"
        script = f'exec "{program}" -D "{self._data}" -k "{self._data.parent}" -c listen_addresses= -c fsync=off'
        self._server = servers.Server("PostgreSQL", self.directory / "two", script)
        wait_until_connectable(self.url)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop every process of the server by SIGSTOP: connections stay open but get no response."""
        processes = [psutil.Process(self._server.pid), *psutil.Process(self._server.pid).children(recursive=True)]
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                process.send_signal(signal.SIGCONT)


@contextmanager
def own_postgresql() -> Iterator[OwnPostgresql]:
    """Start a PostgreSQL server, and remove it at the end."""
    directory = Path(tempfile.mkdtemp(prefix="ic-", dir="/tmp"))  # a socket's path must be short
    directory.chmod(0o711)
    server = OwnPostgresql(directory)
    try:
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


@contextmanager
def pgbouncer(directory: Path, socket_directory: str, user: str, wait_seconds: float = 120) -> Iterator[str]:
    """Start PgBouncer in transaction mode for a PostgreSQL server; yield its SQLAlchemy URL without a database.

    :param directory: a new directory.
    :param wait_seconds: after which time a client that waits for a session is disconnected.
    """
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if not program:
        raise servers.MissingServer("PgBouncer is not installed. On Debian: apt-get install pgbouncer")
    port = servers.free_port()
    settings = f"""
[databases]
* = host={socket_directory} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 500
query_wait_timeout = {wait_seconds}
"""
    script = f"cat > pgbouncer.ini <<'END'\n{settings}\nEND\nexec \"{program}\" pgbouncer.ini"
    server = servers.Server("PgBouncer", directory, script)
    try:
        servers.wait_for_port(port)
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/"
    finally:
        server.stop()
