"""Measure token requests while a purge deletes old rows of the request log, and the write-ahead log of the database.

    python -m benchmarks.purge DATABASE_URL [--days 27] [--seconds 60]

The database is seeded by `benchmarks.seed` with rows of the last 30 days; those older than `--days` are deleted.
Tokens are requested for some seconds before the purge, and for its first seconds.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import psutil
from sqlalchemy import Engine, make_url, text

from tests.support import servers
from tests.support.factories import PEPPER_SETTING
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.engine import make_engine

from . import load
from .seed import ACCOUNT, SECRET

ASKING = 50
"""Few, since each process first computes argon2id once for each of them: the seeded secret is a typed one."""
HEADERS = {"Content-Type": "application/x-www-form-urlencoded"}


def main() -> None:
    """Measure, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--days", type=int, default=27)
    parser.add_argument("--seconds", type=float, default=60)
    given = parser.parse_args()
    engine = make_engine(given.url)
    bodies = [
        urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET})
        for client_id in _client_ids(engine)
    ]
    settings = PRODUCTION_SETTINGS | {
        "IDENTITY_CLIENTS_DATABASE_URL": given.url,
        "IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
        "IDENTITY_CLIENTS_REQUEST_LOG_DAYS": str(given.days),
        "IDENTITY_CLIENTS_EVENT_RETENTION_DAYS": "3650",
        "WEB_CONCURRENCY": "2",
    }
    with tempfile.TemporaryDirectory() as directory, servers.serve(Path(directory), **settings) as server:
        port = urlsplit(server.url).port or 0
        process = next(each.pid for each in psutil.process_iter() if _serves(each, port))
        load.run(port, process, bodies, HEADERS, 5)  # until each secret was verified once
        before = load.run(port, process, bodies, HEADERS, given.seconds)
        written_before, began = _written_bytes(engine), time.monotonic()
        purge = subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "wsgi", "identity-clients", "purge"],
            env=os.environ
            | settings
            | {"IDENTITY_CLIENTS_DEVELOPMENT": "true", "INSTANCE_PATH": f"{directory}/instance"},
            stdout=subprocess.PIPE,
            text=True,
        )
        during = load.run(port, process, bodies, HEADERS, given.seconds)
        is_covered = purge.poll() is None
        log_bytes = _log_bytes(engine)
        while purge.poll() is None:
            log_bytes = max(log_bytes, _log_bytes(engine))
            time.sleep(1)
        seconds = time.monotonic() - began
    print(purge.stdout.read() if purge.stdout else "")
    print(f"{seconds:.0f} s; {'' if is_covered else 'the purge ended before the measurement; '}bytes of WAL:", end=" ")
    print(f"at most {log_bytes / 1e6:.0f} MB, written {(_written_bytes(engine) - written_before) / 1e6:.0f} MB")
    for name, measured in (("before", before), ("during the purge", during)):
        print(f"{name}: {measured.per_second:.0f} tokens/s, p50 {measured.p50:.1f} ms, p99 {measured.p99:.1f} ms")
    engine.dispose()


def _client_ids(engine: Engine) -> list[str]:
    statement = text(
        "SELECT client_id FROM identity_clients WHERE account_id = :account AND enabled AND deleted_at IS NULL"
        " ORDER BY id LIMIT 20000"
    )
    with engine.connect() as connection:
        found = list(connection.scalars(statement, {"account": ACCOUNT}))
    return random.sample(found, ASKING)


def _serves(process: psutil.Process, port: int) -> bool:
    try:
        is_server = process.environ().get("PORT") == str(port)
        parent = process.parent()
        return is_server and (parent is None or parent.environ().get("PORT") != str(port))
    except psutil.Error:
        return False


def _log_bytes(engine: Engine) -> int:
    """Return the size of the write-ahead log."""
    if engine.dialect.name == "sqlite":
        return Path(f"{make_url(str(engine.url)).database}-wal").stat().st_size
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT sum(size) FROM pg_ls_waldir()")) or 0)


def _written_bytes(engine: Engine) -> int:
    """Return how much PostgreSQL has written to its write-ahead log since its beginning; 0 on SQLite."""
    if engine.dialect.name == "sqlite":
        return 0
    with engine.connect() as connection:
        return int(connection.scalar(text("SELECT pg_current_wal_lsn() - '0/0'")) or 0)


if __name__ == "__main__":
    main()
