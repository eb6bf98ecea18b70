"""PgBouncer in transaction mode, where each transaction may run in another server session."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, bindparam, literal, make_url, select, text
from werkzeug.test import TestResponse

from tests.support.clients import edit, values_of
from tests.support.endpoint import Endpoint, add_api, basic_header
from tests.support.factories import SECRET, make_client
from tests.support.host import PREFIX, make_host
from tests.support.outages import pgbouncer, wait_until_connectable
from webapp.core.database import migrations
from webapp.core.database.engine import make_engine
from webapp.core.database.fast_reads import FastReads

THREADS = 8
"""More than PgBouncer has sessions."""


@pytest.fixture
def pooled_engine(postgresql_url: str) -> Iterator[Engine]:
    """Return an engine on a migrated database behind PgBouncer."""
    address = make_url(postgresql_url)
    directory = Path(tempfile.mkdtemp(prefix="ic-", dir="/tmp"))
    directory.chmod(0o711)
    with pgbouncer(directory / "pooler", str(address.query["host"]), str(address.username)) as url:
        url += str(address.database)
        wait_until_connectable(url)
        engine = make_engine(url)
        yield engine
        engine.dispose()
    shutil.rmtree(directory)


def test_every_request_succeeds(pooled_engine: Engine) -> None:
    """Tokens, introspection and pages, from more threads than PgBouncer has sessions (D8)."""
    endpoint, screens = Endpoint(pooled_engine), make_host(pooled_engine)
    client, api = make_client(pooled_engine), add_api(pooled_engine)

    def request(number: int) -> tuple[str, int]:
        if number % 3 == 0:
            return "page", screens.app.test_client().get(PREFIX).status_code
        return ("token", token().status_code) if number % 3 == 1 else ("introspection", introspection().status_code)

    def token() -> TestResponse:
        header = {"Authorization": basic_header(client.client_id, SECRET)}
        return endpoint.app.test_client().post(
            "/connect/token", base_url="https://localhost", data={"grant_type": "client_credentials"}, headers=header
        )

    def introspection() -> TestResponse:
        return endpoint.app.test_client().post(
            "/connect/introspect",
            base_url="https://localhost",
            data={"token": "none"},
            headers={"Authorization": basic_header(*api)},
        )

    with ThreadPoolExecutor(THREADS) as threads:
        statuses = Counter(threads.map(request, range(300)))
    assert statuses == {("token", 200): 100, ("introspection", 200): 100, ("page", 200): 100}
    endpoint.services.recorder.write()
    assert edit(pooled_engine, client, values=values_of(client, name="New name")).version == 2


def test_fast_reads_prepare_missing_statements_again(pooled_engine: Engine) -> None:
    """A statement prepared in one session and executed in another fails with 26000."""
    reads = FastReads(pooled_engine)
    statement = reads.prepare(select(literal(1) + bindparam("number", type_=literal(1).type)))
    assert reads.rows(statement, number=1) == [[2]]
    # PgBouncer assigns the most recently used session; each open transaction occupies one.
    with pooled_engine.connect() as first, pooled_engine.connect() as second:
        first.execute(text("SELECT 1"))
        assert reads.rows(statement, number=2) == [[3]]
        second.execute(text("SELECT 1"))
        assert reads.rows(statement, number=3) == [[4]]


def test_migrations_run(pooled_engine: Engine) -> None:
    migrations.downgrade(pooled_engine, "base")
    migrations.upgrade(pooled_engine)
    make_client(pooled_engine)
