"""Measure the cost of recording token requests: CPU time of a request with and without it, writing included.

    python -m benchmarks.recording [postgresql+psycopg://user@host/empty-database]

One process requests tokens from itself, one after the other, without a network. Blocks with and without alternate.
"""

import dataclasses
import io
import itertools
import random
import statistics
import sys
import tempfile
import time
from typing import Any
from urllib.parse import urlencode

from flask import Flask

from tests.support.endpoint import FORM, settings
from tests.support.factories import PEPPER_SETTING, SECRET, make_client
from webapp import IdentityClients
from webapp.core.database import migrations
from webapp.core.database.unit_of_work import unit_of_work
from webapp.host import EXTENSION, Services

BLOCK_SECONDS = 3.0
BLOCKS = 7
CLIENTS = (1, 1_000)


class NoRecorder:
    """A recorder that drops all records."""

    def record(self, *_: Any, **__: Any) -> None:
        """Do nothing."""

    def write(self) -> None:
        """Do nothing."""


def main() -> None:
    """Measure, and print a table."""
    with tempfile.TemporaryDirectory() as directory:
        url = sys.argv[1] if len(sys.argv) > 1 else f"sqlite:///{directory}/benchmark/clients.sqlite3"
        app = Flask(__name__)
        app.config.update(settings(DATABASE_URL=url, PEPPER=PEPPER_SETTING))
        IdentityClients().init_app(app)
        services: Services = app.extensions[EXTENSION]
        migrations.upgrade(services.engine)
        with unit_of_work(services.engine) as session:
            client_ids = [make_client(session).client_id for _ in range(max(CLIENTS))]
        print(f"{services.engine.dialect.name}; CPU per request, median of {BLOCKS} blocks of {BLOCK_SECONDS:g} s")
        print("clients     without     with  ratio  tokens/s")
        for count in CLIENTS:
            measure(app, services, client_ids[:count])
        services.engine.dispose()


def measure(app: Flask, services: Services, client_ids: list[str]) -> None:
    """Measure one configuration, and print its row."""
    ways: dict[str, Any] = {"without": NoRecorder(), "with": services.recorder}
    microseconds: dict[str, list[float]] = {way: [] for way in ways}
    rates = []
    for block, (way, recorder) in itertools.product(range(BLOCKS + 1), ways.items()):
        app.extensions[EXTENSION] = dataclasses.replace(services, recorder=recorder)
        requests, cpu_seconds, seconds = request_tokens(app, client_ids)
        if block:  # the first block is not counted: it fills the caches of hashes, statements and the signing key
            microseconds[way].append(cpu_seconds / requests * 1e6)
            rates.append(requests / seconds)
    without, recorded = (statistics.median(microseconds[way]) for way in ways)
    ratio, rate = recorded / without, statistics.median(rates)
    print(f"{len(client_ids):7}  {without:10.0f}  {recorded:7.0f}  {ratio:5.2f}  {rate:8.0f}", flush=True)


def request_tokens(app: Flask, client_ids: list[str]) -> tuple[int, float, float]:
    """Request tokens for one block and let the recorder finish; return requests, CPU seconds and seconds."""
    bodies = [
        urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}).encode()
        for client_id in client_ids
    ]
    random.shuffle(bodies)
    started, cpu_started = time.perf_counter(), time.process_time()
    for requests, body in enumerate(itertools.cycle(bodies)):
        if requests % 100 == 0 and time.perf_counter() - started > BLOCK_SECONDS:
            break
        for part in app.wsgi_app(environ(body), start_response):
            assert b"access_token" in part, part
    seconds = time.perf_counter() - started
    app.extensions[EXTENSION].recorder.write()
    return requests, time.process_time() - cpu_started, seconds


def environ(body: bytes) -> dict[str, Any]:
    """Return a request as a WSGI server passes it on."""
    return {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/connect/token",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "REMOTE_ADDR": "192.0.2.1",
        "CONTENT_TYPE": FORM,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }


def start_response(_status: str, _headers: list[tuple[str, str]], _error: Any = None) -> Any:
    """Ignore status and headers."""


if __name__ == "__main__":
    main()
