"""Reads with the driver's own cursor: the same values as SQLAlchemy's, and recovery from lost connections."""

from threading import Barrier, Thread
from typing import Any

import pytest
from sqlalchemy import Engine, bindparam, create_engine, literal, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from tests.support.factories import make_client
from webapp.core.database.engine import make_engine
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.fast_reads.reads import CONNECTIONS_MAX
from webapp.core.database.models import ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import connect
from webapp.core.errors import Unavailable

STATEMENT = (
    select(*IdentityClient.__table__.columns, ClientSecret.ends_at, ClientSecret.secret_hash)
    .join(ClientSecret, ClientSecret.client_key == IdentityClient.id)
    .where(IdentityClient.client_id == bindparam("client_id"))
    .limit(2)
)


def test_values_equal_those_of_a_connection(engine: Engine) -> None:
    client = make_client(engine)
    reads = FastReads(engine)
    with connect(engine) as connection:
        expected = [list(row) for row in connection.execute(STATEMENT, {"client_id": client.client_id})]
    for _ in range(8):  # psycopg prepares a statement that is run repeatedly
        rows = reads.rows(reads.prepare(STATEMENT), client_id=client.client_id)
        assert rows == expected
        assert [type(value) for value in rows[0]] == [type(value) for value in expected[0]]
        assert repr(rows[0][-1]) == "***"
    assert reads.rows(reads.prepare(STATEMENT), client_id="nobody") == []


def test_lost_connections_are_replaced(postgresql_url: str) -> None:
    """As after a restart of PostgreSQL (D8)."""
    engine = make_engine(postgresql_url)
    reads = FastReads(engine)
    one = reads.prepare(select(literal(1)))
    _at_once(reads, one, threads=3)
    with engine.connect() as connection:
        others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) {others}"))
    assert reads.rows(one) == [[1]]
    engine.dispose()


def test_a_schema_change_under_a_prepared_statement(postgresql_url: str) -> None:
    """PostgreSQL rejects the cached plan, and the read is repeated on a new connection."""
    engine = make_engine(postgresql_url)
    reads, things = FastReads(engine), select(text("*")).select_from(text("things"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE things AS SELECT 1 AS one"))
    all_of_them = reads.prepare(things)
    assert reads.rows(all_of_them) == [[1]]
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE things ADD COLUMN two TEXT DEFAULT 'two'"))
    assert reads.rows(all_of_them) == [[1, "two"]]
    engine.dispose()


def test_a_database_error_shows_no_value(engine: Engine) -> None:
    """The connection is closed as well (L5)."""
    reads = FastReads(engine)
    wrong = reads.prepare(select(text("missing")).select_from(text("nothing")).where(text("1 = :value")))
    with pytest.raises(DBAPIError) as caught:
        reads.rows(wrong, value=41)
    assert "nothing" in str(caught.value)
    assert "41" not in str(caught.value)
    assert not reads._idle


def test_a_value_with_nul_is_rejected(postgresql_url: str) -> None:
    """libpq's strings end at NUL, so the rest of the value would be lost."""
    engine = make_engine(postgresql_url)
    client, reads = make_client(engine), FastReads(engine)
    with pytest.raises(DBAPIError):
        reads.rows(reads.prepare(STATEMENT), client_id=f"{client.client_id}\0more")
    engine.dispose()


def test_an_unreachable_database_is_unavailable() -> None:
    reads = FastReads(create_engine("postgresql+psycopg://nobody@127.0.0.1:1/none"))
    with pytest.raises(Unavailable):
        reads.rows(reads.prepare(select(literal(1))))


def test_a_database_in_memory_is_read_on_its_own_connection() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (name TEXT)"))
        connection.execute(text("INSERT INTO things VALUES ('here')"))
    reads = FastReads(engine)
    assert reads.rows(reads.prepare(select(text("name")).select_from(text("things")))) == [["here"]]


def test_few_connections_are_kept_and_none_after_disposal(engine: Engine) -> None:
    reads = FastReads(engine)
    _at_once(reads, reads.prepare(select(literal(1))), threads=3 * CONNECTIONS_MAX)
    assert 1 <= len(reads._idle) <= reads.connections_max
    engine.dispose()
    assert not reads._idle


def _at_once(reads: FastReads, statement: Any, *, threads: int) -> None:
    barrier = Barrier(threads)

    def read() -> None:
        barrier.wait()
        reads.rows(statement)

    running = [Thread(target=read) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
