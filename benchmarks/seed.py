"""Fill a database with an account of many clients, as on a large platform, by bulk inserts.

    python -m benchmarks.seed sqlite:////tmp/seed/clients.sqlite3 [--clients 1000000] [--rows 10000000]

The clients are written at the revision before the tables beside them, and the database is then upgraded: that is
faster, and shows what the upgrade of a large database takes. Two thirds of `--rows` are token requests, one third are
audit events. A second account has a tenth as many clients.
"""

import argparse
import itertools
import json
import random
import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import make_url

from tests.support.factories import PEPPER
from webapp.core.clients.roles import DEFAULT_ROLES
from webapp.core.database import migrations
from webapp.core.database.engine import make_engine
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import SecretHasher

ACCOUNT, OTHER_ACCOUNT = "northwind", "harbour"
SECRET = "vcs_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"
BEFORE_THE_LIST_INDEXES = "0006"
BATCH = 20_000
DAY = timedelta(days=1)
SYSTEMS = ("billing", "claims", "ledger", "payroll", "orders", "refunds", "reports", "treasury", "invoices", "cards")
PLACES = ("Athens", "Bergen", "Córdoba", "Dublin", "Essen", "İstanbul", "Lyon", "Malmö", "Porto", "Vilnius")
ROLES = [role.key for role in DEFAULT_ROLES]
ROLE_WEIGHTS = (60, 30, 20, 20, 15, 5, 5, 2, 2, 1)
TABLES = {
    "identity_clients": (
        "id, account_id, client_id, client_id_folded, name, name_folded, description, description_folded,"
        " token_duration_minutes, roles, enabled, allowed_networks, last_token_at, token_generation, version,"
        " created_at, created_by, updated_at, updated_by"
    ),
    "identity_client_claimed_ids": "client_id_folded, client_key",
    "identity_client_secrets": (
        "id, client_key, label, secret_hash, pepper_version, created_at, created_by, ends_at, paused_at"
    ),
    "identity_client_token_request_counts": "day, client_key, secret_label, outcome, count",
    "identity_client_token_requests": (
        "client_key, at, number, outcome, secret_label, address, scope, account_id, request_id"
    ),
    "identity_client_events": (
        "id, at, account_id, actor_id, actor_label, action, client_key, client_id, changes, address, request_id"
    ),
}
Row = tuple[Any, ...]


def main() -> None:
    """Seed one database."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--clients", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=0)
    given = parser.parse_args()
    seed(given.url, given.clients, given.rows)


def seed(url: str, clients: int, rows: int = 0) -> None:
    """Fill an empty database, and print the duration of each part."""
    engine = make_engine(url)
    migrations.upgrade(engine, BEFORE_THE_LIST_INDEXES)
    engine.dispose()
    with _Timed(f"{clients:,} clients"), closing(_Loader(url)) as loader:
        loader.insert("identity_client_accounts (id, feature_enabled)", [(ACCOUNT, True), (OTHER_ACCOUNT, True)])
        for account_id, count in ((ACCOUNT, clients), (OTHER_ACCOUNT, clients // 10)):
            for tables in _clients(account_id, count):
                for table, some in tables.items():
                    loader.insert(f"{table} ({TABLES[table]})", some)
    with _Timed("upgrade"):
        migrations.upgrade(engine)
        engine.dispose()
    if rows:
        with _Timed(f"{rows:,} rows"), closing(_Loader(url)) as loader:
            keys = loader.keys(ACCOUNT)
            for table, some in itertools.chain(_requests(keys, rows * 2 // 3), _events(keys, rows // 3)):
                loader.insert(f"{table} ({TABLES[table]})", some)
            # The events count as older than the hash chain: nobody wants to measure the chaining of millions at once.
            loader.execute("DELETE FROM identity_client_event_hashes")
    with _Timed("statistics"), closing(_Loader(url)) as loader:
        loader.execute("ANALYZE")


class _Loader:
    """Insert rows by the driver, as fast as each engine accepts them, without protection against a crash."""

    def __init__(self, url: str) -> None:
        address = make_url(url)
        self._is_sqlite = address.get_backend_name() == "sqlite"
        if self._is_sqlite:
            self._connection: Any = sqlite3.connect(address.database or "", isolation_level=None)
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "cache_size=-1500000"):
                self._connection.execute(f"PRAGMA {pragma}")
        else:
            plain = address.set(drivername="postgresql").render_as_string(hide_password=False)
            self._connection = psycopg.connect(plain, autocommit=True)
            self._connection.execute("SET synchronous_commit = off")
            self._connection.execute("SET session_replication_role = replica")  # without checking foreign keys

    def insert(self, table: str, rows: list[Row]) -> None:
        """Insert rows."""
        if not rows:
            return
        if self._is_sqlite:
            self._connection.execute("BEGIN")
            places = ", ".join("?" * len(rows[0]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({places})", map(_on_sqlite, rows))
            self._connection.execute("COMMIT")
        else:
            with self._connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)

    def keys(self, account_id: str) -> list[tuple[uuid.UUID, str]]:
        """Return the keys and IDs of an account's clients."""
        rows = self._connection.execute(
            f"SELECT id, client_id FROM identity_clients WHERE account_id = '{account_id}'"
        ).fetchall()
        return [(uuid.UUID(key) if self._is_sqlite else key, client_id) for key, client_id in rows]

    def execute(self, statement: str) -> None:
        """Run a statement."""
        self._connection.execute(statement)

    def close(self) -> None:
        """Close the connection; SQLite returns to its write-ahead log."""
        if self._is_sqlite:
            self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.close()


def _on_sqlite(row: Row) -> Row:
    return tuple(
        value.hex
        if isinstance(value, uuid.UUID)
        else f"{value:%Y-%m-%d %H:%M:%S.%f}"
        if isinstance(value, datetime)
        else str(value)
        if hasattr(value, "isoformat")
        else value
        for value in row
    )


# Clients


def _clients(account_id: str, count: int) -> Iterator[dict[str, list[Row]]]:
    chance = random.Random(account_id)
    now = datetime.now(UTC)
    stored = SecretHasher({1: PEPPER}).hash(Secret(SECRET))
    hashed = (stored.value, stored.pepper_version)
    for first in range(0, count, BATCH):
        tables: dict[str, list[Row]] = {table: [] for table in TABLES}
        for number in range(first, min(first + BATCH, count)):
            # From three years ago until today, in the order of the keys.
            created_at = now - 1100 * DAY * (1 - number / count)
            key = _uuid7(created_at, chance)
            system, place = chance.choice(SYSTEMS), chance.choice(PLACES)
            client_id = f"{system}-{chance.getrandbits(32):08x}-{number:07}-{account_id}"
            name = "" if chance.random() < 0.2 else f"{system.title()} {place} {number % 1000}"
            description = f"Integration of {system} in {place}, contract {chance.getrandbits(40):010x}."
            roles = sorted(set(chance.choices(ROLES, ROLE_WEIGHTS, k=chance.randint(1, 4))))
            use = chance.random()
            last_token_at = (
                0 if use < 0.05 else int((now - chance.random() * (400 if use < 0.12 else 80) * DAY).timestamp())
            )
            updated_at = created_at + (now - created_at) * chance.random()
            texts = (client_id, client_id.casefold(), name, name.casefold(), description, description.casefold())
            settings = (10 + number % 51, json.dumps(roles, separators=(",", ":")), chance.random() < 0.97, "[]")
            times = (last_token_at, 0, 1, created_at, "seed", updated_at, "seed")
            tables["identity_clients"].append((key, account_id, *texts, *settings, *times))
            tables["identity_client_claimed_ids"].append((client_id.casefold(), key))
            state = chance.random()
            secret_at = max(created_at, now - chance.random() * 420 * DAY)
            ends_at = now + chance.random() * (30 if state < 0.005 else 365) * DAY if state < 0.05 else None
            secret = ("seed", None, None)
            tables["identity_client_secrets"].append(
                (_uuid7(secret_at, chance), key, "A", *hashed, secret_at, "seed", ends_at, None)
            )
            if state > 0.97:
                second_at = now - chance.random() * 40 * DAY
                tables["identity_client_secrets"].append(
                    (_uuid7(second_at, chance), key, "B", *hashed, second_at, *secret)
                )
            for days_ago in (0, 1):
                day = (now - days_ago * DAY).date()
                if chance.random() < 0.3:
                    tables["identity_client_token_request_counts"].append(
                        (day, key, "A", "issued", chance.randint(1, 99))
                    )
                if chance.random() < 0.001:
                    refused = chance.randint(1, 40)
                    tables["identity_client_token_request_counts"].append((day, key, "", "wrong secret", refused))
        yield tables


def _uuid7(at: datetime, chance: random.Random) -> uuid.UUID:
    milliseconds = int(at.timestamp() * 1000)
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62))


# Token requests and events


def _requests(keys: list[tuple[uuid.UUID, str]], count: int) -> Iterator[tuple[str, list[Row]]]:
    chance, now = random.Random(1), datetime.now(UTC)
    outcomes = ("issued", "wrong secret", "scope not allowed", "ended secret", "address not allowed", "disabled")
    for first in range(0, count, BATCH):
        some: list[Row] = []
        for number in range(first, min(first + BATCH, count)):
            at = now - 30 * DAY * (1 - number / count)
            key = chance.choice(keys)[0]
            outcome = chance.choices(outcomes, (960, 20, 10, 6, 3, 1))[0]
            address = f"192.0.{chance.getrandbits(3)}.{chance.getrandbits(8)}"
            label = None if outcome == "wrong secret" else "A"
            some.append((key, at, number, outcome, label, address, "API", ACCOUNT, f"{chance.getrandbits(128):032x}"))
        yield "identity_client_token_requests", some


def _events(keys: list[tuple[uuid.UUID, str]], count: int) -> Iterator[tuple[str, list[Row]]]:
    chance, now = random.Random(2), datetime.now(UTC)
    actions = ("edited", "secret changed", "created", "disabled", "enabled", "refused", "exported")
    for first in range(0, count, BATCH):
        some: list[Row] = []
        for number in range(first, min(first + BATCH, count)):
            at = now - 700 * DAY * (1 - number / count)
            key, client_id = chance.choice(keys)
            person = f"admin-{min(int(chance.expovariate(0.1)), 99):02}@northwind.example"
            action = chance.choices(actions, (600, 200, 100, 50, 45, 4, 1))[0]
            changes = json.dumps({"name": ["", f"Name {number}"]})
            what = (person, person, action, key, client_id, changes, "192.0.2.9", f"{chance.getrandbits(64):016x}")
            some.append((_uuid7(at, chance), at, ACCOUNT, *what))
        yield "identity_client_events", some


class _Timed:
    """Print the duration of a part."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        print(f"{self._name}: {time.perf_counter() - self._started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
