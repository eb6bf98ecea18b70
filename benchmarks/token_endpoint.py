"""Measure rate, response times and cost of token requests, and print a table. See README.md beside this file.

python -m benchmarks.token_endpoint [--postgresql postgresql+psycopg://user@host/empty-database]
    [--pgbouncer postgresql+psycopg://user@host:6432/same-database] [--million]
    [--processes 2] [--seconds 5] [--rounds 3]
"""

import argparse
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey
from sqlalchemy import Engine, insert

from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core import accounts
from webapp.core.authentication.assertions import ASSERTION_TYPE
from webapp.core.database import migrations
from webapp.core.database.engine import make_engine
from webapp.core.database.models import ClaimedClientId, ClientKey, ClientSecret, IdentityClient, new_id, utc_now
from webapp.core.database.time_limits import response_limit
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets.generation import Secret, generate_secret
from webapp.core.secrets.hashing import SecretHasher
from webapp.core.secrets.public_keys import parse_public_key
from webapp.settings import Settings
from webapp.standalone.__main__ import THREADS

from . import load

SECRET = generate_secret("vcs_").reveal()
KEY = ECKey.generate_key("P-256")
KEY_RATE_MAX = 6_000
"""How many assertions are signed beforehand for each second, since each can be used once."""
ACCOUNT = "northwind"
ASKING = 1_000
MILLION = 1_000_000
BATCH = 10_000
HEADERS = {
    "Content-Type": "application/x-www-form-urlencoded",
    "Host": "localhost",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-For": "192.0.2.1",
}
Row = dict[str, Any]


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgresql", help="address of an empty database")
    parser.add_argument("--pgbouncer", help="address of the same database through PgBouncer")
    parser.add_argument("--million", action="store_true", help=f"also with {MILLION:,} clients")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    hasher = SecretHasher(Settings.from_config(PRODUCTION_SETTINGS | {"IDENTITY_CLIENTS_ENGINE": ""}).peppers())
    with tempfile.TemporaryDirectory() as directory:
        databases = {f"SQLite, {ASKING:,} clients": (f"sqlite:///{directory}/few/clients.sqlite3", ASKING)}
        if given.million:
            databases[f"SQLite, {MILLION:,} clients"] = (f"sqlite:///{directory}/many/clients.sqlite3", MILLION)
        if given.postgresql:
            count = MILLION if given.million else ASKING
            databases[f"PostgreSQL, {count:,} clients"] = (given.postgresql, count)
        names = {name: insert_clients(url, count, hasher) for name, (url, count) in databases.items()}
        if given.pgbouncer:
            databases[f"PgBouncer, {count:,} clients"] = (given.pgbouncer, count)
            names[f"PgBouncer, {count:,} clients"] = names[f"PostgreSQL, {count:,} clients"]
        with _all_serving(databases, given.processes, directory) as servers:
            measure(servers, names, given)


def measure(servers: dict[str, tuple[int, int]], names: dict[str, list[str]], given: argparse.Namespace) -> None:
    """Send load to all servers in turn, in each round, and print the results."""
    runs: dict[str, list[load.Measured]] = {}

    def run(label: str, name: str, client_ids: list[str], skip: int | None = None) -> None:
        port, process = servers[name]
        bodies = [_body(each) for each in client_ids]
        runs.setdefault(label, []).append(load.run(port, process, bodies, HEADERS, given.seconds, skip))

    for name, client_ids in names.items():
        run(f"{name}, {ASKING:,} asking, at once after the start", name, spread(client_ids))
    asked = dict.fromkeys(names, 0)
    for _ in range(given.rounds):
        for name in servers:
            if name not in names:
                run(name, name, ["floor-client"])
                continue
            few = spread(names[name])
            run(f"{name}, 1 asking", name, few[:1])
            run(f"{name}, {ASKING:,} asking", name, few)
            label = f"{name}, {ASKING:,} asking with keys"
            assertions = _assertion_bodies(few, int(given.seconds * KEY_RATE_MAX))
            runs.setdefault(label, []).append(load.run(*servers[name], assertions, HEADERS, given.seconds, 0))
            if len(names[name]) >= MILLION:
                label = f"{name}, every request another client"
                run(label, name, names[name], asked[name])
                asked[name] += runs[label][-1].requests + load.CONNECTIONS
    print(
        f"\n{given.processes} processes of {THREADS} threads, {load.CONNECTIONS} connections,"
        f" {given.rounds} rounds of {given.seconds:g} s, medians; {utc_now():%Y-%m-%d}\n"
    )
    print("| server | requests/s (min-max) | p50 ms | p99 ms | CPU ms/request | failed | PSS MiB, largest process |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for label, found in runs.items():
        rates = [each.per_second for each in found]
        medians = [statistics.median(each[place] for each in found) for place in range(len(found[0]))]
        process = next(process for name, (_, process) in servers.items() if label.startswith(name))
        print(
            f"| {label} | {medians[0]:.0f} ({min(rates):.0f}-{max(rates):.0f}) | {medians[1]:.1f} | {medians[2]:.1f}"
            f" | {medians[4]:.3f} | {sum(each.failed for each in found)} | {load.mebibytes(process):.0f} |"
        )


def _body(client_id: str) -> str:
    return urlencode({"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET})


def _assertion_bodies(client_ids: list[str], count: int) -> list[str]:
    """Return so many requests, each with an assertion of its own."""
    now = int(time.time())
    bodies = []
    for number in range(count):
        client_id = client_ids[number % len(client_ids)]
        claims = {"iss": client_id, "sub": client_id, "aud": PRODUCTION_SETTINGS["IDENTITY_CLIENTS_ISSUER"]}
        claims |= {"exp": now + 300, "jti": uuid.uuid4().hex}
        assertion = jwt.encode({"alg": "ES256"}, claims, KEY)
        parameters = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}
        bodies.append(urlencode(parameters | {"client_assertion": assertion}))
    return bodies


# Databases


def spread(client_ids: list[str]) -> list[str]:
    """Return evenly spaced IDs of the table, which are used repeatedly."""
    return sorted(client_ids)[:: len(client_ids) // ASKING]


def insert_clients(url: str, count: int, hasher: SecretHasher) -> list[str]:
    """Create this many clients in a database; return their IDs in random order."""
    engine = make_engine(url)
    migrations.upgrade(engine)
    with unit_of_work(engine) as session:
        accounts.set_account(session, ACCOUNT, feature_enabled=True, grantable_roles=None)
    client_ids: list[str] = []
    with response_limit(None):
        for first in range(0, count, BATCH):
            clients = [_client(number) for number in range(first, min(first + BATCH, count))]
            _insert(engine, clients, hasher)
            client_ids += [str(client["client_id"]) for client in clients]
    engine.dispose()
    random.shuffle(client_ids)
    return client_ids


def _client(number: int) -> Row:
    client_id = f"benchmark-{number:07}-{uuid.uuid4().hex[:8]}"
    return {
        "id": new_id(),
        "account_id": ACCOUNT,
        "client_id": client_id,
        "client_id_folded": client_id,
        "name": "",
        "name_folded": "",
        "description": "",
        "description_folded": "",
        "version": 1,
        "enabled": True,
        "token_duration_minutes": 60,
        "roles": frozenset({"MerchantUser", "CreatePayment"}),
        "created_at": utc_now(),
        "created_by": "benchmark",
        "updated_at": utc_now(),
        "updated_by": "benchmark",
    }


def _insert(engine: Engine, clients: list[Row], hasher: SecretHasher) -> None:
    # One secret with a separate hash for each client, so that no cached result serves another client.
    hashes = [hasher.hash(Secret(SECRET)) for _ in clients]
    with unit_of_work(engine) as session:
        connection = session.connection()
        connection.execute(insert(IdentityClient), clients)
        connection.execute(
            insert(ClaimedClientId),
            [{"client_id_folded": client["client_id_folded"], "client_key": client["id"]} for client in clients],
        )
        public = parse_public_key(KEY.as_pem(private=False).decode())
        connection.execute(
            insert(ClientKey),
            [
                {
                    "id": new_id(),
                    "client_key": client["id"],
                    "label": "1",
                    "thumbprint": public.thumbprint,
                    "algorithm": public.algorithm,
                    "public_jwk": public.jwk,
                    "created_at": client["created_at"],
                    "created_by": "benchmark",
                }
                for client in clients
            ],
        )
        connection.execute(
            insert(ClientSecret),
            [
                {
                    "id": new_id(),
                    "client_key": client["id"],
                    "label": "A",
                    "secret_hash": stored.value,
                    "pepper_version": stored.pepper_version,
                    "created_at": client["created_at"],
                    "created_by": "benchmark",
                }
                for client, stored in zip(clients, hashes, strict=True)
            ],
        )


# Servers


@contextmanager
def _all_serving(
    databases: dict[str, tuple[str, int]], processes: int, directory: str
) -> Iterator[dict[str, tuple[int, int]]]:
    """Start all servers; yield port and process of each by its name."""
    started: dict[str, tuple[int, subprocess.Popen[bytes]]] = {}
    granian = ["-m", "granian", "--interface", "wsgi", "--http", "1", "--no-ws", "--workers", str(processes)]
    try:
        for name, (url, _) in databases.items():
            started[name] = _start(["-m", "webapp.standalone"], processes, directory, url)
        port = _free_port()
        command = [*granian, "--blocking-threads", str(THREADS), "--port", str(port), "benchmarks.floor:app"]
        started["bare Flask"] = _start(command, processes, directory, "", port)
        yield {name: (port, process.pid) for name, (port, process) in started.items()}
    finally:
        for _, process in started.values():
            process.terminate()
        for _, process in started.values():
            process.wait()


def _start(
    command: list[str], processes: int, directory: str, url: str, port: int | None = None
) -> tuple[int, subprocess.Popen[bytes]]:
    """Start a server as in production behind a proxy, with its log in a file; return its port and process."""
    port = port or _free_port()
    environment = os.environ | PRODUCTION_SETTINGS
    environment |= {"PORT": str(port), "WEB_CONCURRENCY": str(processes), "INSTANCE_PATH": f"{directory}/instance"}
    environment |= {"IDENTITY_CLIENTS_DATABASE_URL": url, "IDENTITY_CLIENTS_TRUSTED_PROXIES": "1"}
    with Path(directory, f"{port}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, *command], env=environment, stderr=log, stdout=log)
    for _ in range(300):
        with closing(socket.socket()) as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return port, process
        if process.poll() is not None:
            break
        time.sleep(0.1)
    sys.exit(Path(directory, f"{port}.log").read_text()[-2_000:])


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
