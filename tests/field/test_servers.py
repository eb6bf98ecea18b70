"""The WSGI servers of the guide: they serve, end in time at SIGTERM, and lose no counted request.

The lines of each server are those of the section "Serving" in docs/embedding.md.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from sqlalchemy import func, select

from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from tests.support.guide import blocks
from tests.support.host import PREFIX
from tests.support.servers import ROOT, free_port
from webapp.core.database.engine import make_engine
from webapp.core.database.models import TokenRequestCount

GUIDE = (ROOT / "docs" / "embedding.md").read_text("utf-8")
START_SECONDS = 60
STOP_SECONDS = 15
REQUESTS = 28
"""More than one batch holds, since they are sent at once and the server is stopped right after the last response."""

HOST = """
from dataclasses import replace

from flask import Flask, request
from webapp import Actor, IdentityClients

app = Flask(__name__)
app.secret_key = "k" * 32
app.config.from_prefixed_env()
identity_clients = IdentityClients()
identity_clients.actor_loader(
    lambda: Actor("user-1", "Priya Nair", "northwind", "Northwind", frozenset({"MerchantAdmin"}), True)
)
identity_clients.init_app(app)
app.add_url_rule("/healthz", "healthz", lambda: "ok")
"""
WORKER_READY = "Worker is ready"
GUNICORN_CONFIGURATION = f"""
def post_worker_init(worker):
    worker.log.info("{WORKER_READY}")
"""
"""gunicorn reads it from its working directory."""
WORKERS = 2
SERVERS = ("gunicorn", "gunicorn with gevent", "waitress", "uvicorn", "uWSGI", "granian")


@dataclass
class Served:
    """A running server.

    :param url: without a trailing slash.
    """

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def token(self, **headers: str) -> int:
        """Request one token; return the status."""
        form = {"grant_type": "client_credentials", "client_id": "first-client", "client_secret": SECRET}
        return requests.post(f"{self.url}/connect/token", data=form, headers=headers, timeout=30).status_code


def lines_of(server: str) -> tuple[str, str | None]:
    """Return the command of a server in the guide, and the module `serve.py` that it needs, if any."""
    commands = [block.strip().replace("\\\n", "") for block in blocks(server, "sh", GUIDE)]
    modules = blocks(server, "python", GUIDE)
    return commands[0], modules[0] if modules else None


@contextmanager
def serve(directory: Path, url: str, command: str, module: str | None, **environment: str) -> Iterator[Served]:
    """Serve the host with the lines of the guide, on a free port."""
    port = free_port()
    (directory / "app.py").write_text(HOST)
    (directory / "gunicorn.conf.py").write_text(GUNICORN_CONFIGURATION)
    if module is not None:
        (directory / "serve.py").write_text(module.replace("5000", str(port)))
    words = shlex.split(command.replace("5000", str(port)))
    words[0] = str(Path(sys.executable).with_name(words[0]))
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            words,
            cwd=directory,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "FLASK_IDENTITY_CLIENTS_DATABASE_URL": url,
                "FLASK_IDENTITY_CLIENTS_ISSUER": "http://127.0.0.1",
                "FLASK_IDENTITY_CLIENTS_AUDIENCE": "https://api.example",
                "FLASK_IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
                "FLASK_IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY": "a" * 43,
                "FLASK_IDENTITY_CLIENTS_DEVELOPMENT": "true",
            }
            | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if requests.get(f"{served.url}/healthz", timeout=5).status_code == 200 and _are_ready(words[0], log):
                    break
            except requests.RequestException:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield served
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own session: the server and its workers
            process.wait()


def _are_ready(program: str, log: Path) -> bool:
    """Return whether every worker of gunicorn handles signals; it would not notice a SIGTERM that comes earlier."""
    return not program.endswith("gunicorn") or log.read_text().count(WORKER_READY) == WORKERS


@pytest.mark.parametrize("server", SERVERS)
def test_counted_requests_are_written_at_sigterm(tmp_path: Path, sqlite_url: str, server: str) -> None:
    """Every token of a burst is in the database after the server has ended, which takes less than 12 s (L2)."""
    engine = make_engine(sqlite_url)
    make_client(engine, account_id="northwind", client_id="first-client")
    engine.dispose()
    command, module = lines_of(server)
    with serve(tmp_path, sqlite_url, command, module) as served:
        with ThreadPoolExecutor(8) as threads:  # from the first request on
            statuses = [*threads.map(lambda _: served.token(), range(REQUESTS - 1))]
        assert requests.get(served.url + PREFIX, timeout=30).status_code == 200
        assert served.token() == 200
        served.process.terminate()
        served.process.wait(STOP_SECONDS)
        log = served.log.read_text()
    assert statuses == [200] * (REQUESTS - 1), log
    with engine.connect() as connection:
        counted = connection.scalar(select(func.sum(TokenRequestCount.count)))
    engine.dispose()
    assert counted == REQUESTS, log
    assert "Traceback" not in log, log


def test_uwsgi_without_threads_ends_in_time(tmp_path: Path, sqlite_url: str) -> None:
    """Without --enable-threads the thread that writes runs only while a request does; nothing is lost all the same."""
    engine = make_engine(sqlite_url)
    make_client(engine, account_id="northwind", client_id="first-client")
    engine.dispose()
    command, _ = lines_of("uWSGI")
    with serve(tmp_path, sqlite_url, command.replace("--threads 8 --enable-threads", ""), None) as served:
        assert [served.token() for _ in range(5)] == [200] * 5
        time.sleep(1.2)  # the thread wakes up at the next request
        assert [served.token() for _ in range(5)] == [200] * 5
        served.process.terminate()
        served.process.wait(STOP_SECONDS)
        log = served.log.read_text()
    with engine.connect() as connection:
        assert connection.scalar(select(func.sum(TokenRequestCount.count))) == 10, log
    engine.dispose()


@pytest.mark.parametrize("trusted", [True, False], ids=["as in the guide", "without trusted_proxy"])
def test_waitress_passes_the_scheme_of_a_trusted_proxy(tmp_path: Path, sqlite_url: str, trusted: bool) -> None:
    """Without `trusted_proxy` it drops X-Forwarded-Proto, and the log line of the 400 names that cause (C6)."""
    engine = make_engine(sqlite_url)
    make_client(engine, account_id="northwind", client_id="first-client")
    engine.dispose()
    command, module = lines_of("waitress")
    assert module is not None
    if not trusted:
        module, changes = re.subn(r"    trusted_proxy.*\n", "", module)
        assert changes == 2
    production = {
        "FLASK_IDENTITY_CLIENTS_DEVELOPMENT": "false",
        "FLASK_IDENTITY_CLIENTS_ISSUER": "https://id.example",
        "FLASK_IDENTITY_CLIENTS_TRUSTED_PROXIES": "1",
    }
    with serve(tmp_path, sqlite_url, command, module, **production) as served:
        status = served.token(**{"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"})
        log = served.log.read_text()
    assert status == (200 if trusted else 400), log
    assert ("waitress needs trusted_proxy" in log) is not trusted
