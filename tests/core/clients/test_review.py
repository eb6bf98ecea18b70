"""The access review: its order, overdue clients, and the audit event of a review."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, event, select

from tests.support.clients import stored
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, insert_clients, make_author, make_client
from webapp.core.client_changes import StaleVersion
from webapp.core.clients.attention import with_review_days
from webapp.core.clients.review import (
    ReviewPage,
    count_overdue,
    export_reviews,
    is_overdue,
    list_reviews,
    review_client,
)
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import InvalidFields, NotFound

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def review(engine: Engine, client: IdentityClient, **overrides: Any) -> IdentityClient:
    given: dict[str, Any] = {
        "author": make_author(label="Hannah Okafor"),
        "key": client.id,
        "version": client.version,
        "found": "Still used.",
        "done": "",
        "acknowledged": True,
    }
    with unit_of_work(engine) as session:
        return review_client(session, **(given | overrides))


def page(engine: Engine, after: str = "") -> ReviewPage:
    with read_session(engine) as session:
        return list_reviews(session, account_id=ACCOUNT, after=after)


@time_machine.travel(NOW, tick=False)
def test_a_review_is_an_event_with_who_when_and_a_note(engine: Engine) -> None:
    client = make_client(engine, roles=["MerchantUser", "CreatePayment"])
    review(engine, client, found=" Two roles,\r\nboth used. ", done="Asked the owner.")
    after = stored(engine, client.id)
    assert (after.reviewed_at, after.reviewed_by, after.version) == (NOW, "Hannah Okafor", 2)
    assert (after.review_found, after.review_done) == ("Two roles,\nboth used.", "Asked the owner.")
    with read_session(engine) as session:
        found = session.scalars(select(AuditEvent).where(AuditEvent.action == "reviewed")).one()
    assert (found.actor_label, found.at, found.client_key) == ("Hannah Okafor", NOW, client.id)
    assert found.changes == {
        "found": [None, "Two roles,\nboth used."],
        "done": [None, "Asked the owner."],
        "reviewed_roles": [None, ["CreatePayment", "MerchantUser"]],
        "reviewed_secrets": [None, {"A": "current"}],
    }


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({"found": ""}, ["found"]),
        ({"found": "ab"}, ["found"]),
        ({"found": "a" * 1001, "done": "a" * 1001, "acknowledged": False}, ["found", "done", "acknowledged"]),
        ({"found": "a\x00bc"}, ["found"]),
    ],
)
def test_a_review_needs_a_note_and_an_acknowledgement(
    engine: Engine, values: dict[str, Any], fields: list[str]
) -> None:
    client = make_client(engine)
    with pytest.raises(InvalidFields) as caught:
        review(engine, client, **values)
    assert [error.field for error in caught.value.errors] == fields
    assert stored(engine, client.id).reviewed_at is None


def test_limits_of_the_notes(engine: Engine) -> None:
    review(engine, make_client(engine), found="abc", done="")
    review(engine, make_client(engine), found="a" * 1000, done="a" * 1000)


def test_stale_and_foreign_clients_are_refused(engine: Engine) -> None:
    """A newer version and another account's client (I7, A3)."""
    client = make_client(engine)
    review(engine, client)
    with pytest.raises(StaleVersion):
        review(engine, client)
    with pytest.raises(NotFound):
        review(engine, make_client(engine, account_id=OTHER_ACCOUNT))


def test_the_least_recently_reviewed_come_first(engine: Engine) -> None:
    """Those never reviewed before all others; disabled, deleted and foreign ones are left out."""
    for client_id, created, reviewed in (
        ("b-new", 1, None),
        ("a-old", 400, None),
        ("c-last", 500, 3),
        ("d-long", 500, 90),
    ):
        make_client(
            engine,
            client_id=f"{client_id}-client",
            created_at=NOW - timedelta(days=created),
            reviewed_at=NOW - timedelta(days=reviewed) if reviewed else None,
        )
    make_client(engine, client_id="off-client", enabled=False)
    make_client(engine, client_id="deleted-client", deleted_at=NOW)
    make_client(engine, account_id=OTHER_ACCOUNT, created_at=NOW - timedelta(days=900))
    expected = ["a-old-client", "b-new-client", "d-long-client", "c-last-client"]
    assert [client.client_id for client in page(engine).clients] == expected
    with read_session(engine) as session:
        assert [client.client_id for client in export_reviews(session, account_id=ACCOUNT)] == expected
        assert len(list(export_reviews(session, account_id=ACCOUNT, limit=2))) == 2
    with time_machine.travel(NOW, tick=False):
        for days, overdue in ((400, 1), (401, 0), (90, 2), (91, 1), (3, 3), (1, 4)):
            with read_session(with_review_days(engine, days)) as session:
                assert count_overdue(session, account_id=ACCOUNT) == overdue, days
            assert sum(is_overdue(client, days, NOW) for client in page(engine).clients) == overdue, days


def test_pages_and_forged_cursors(engine: Engine) -> None:
    """An invalid cursor, or one of another account, gives the first page (I4)."""
    for number in range(60):
        make_client(engine, client_id=f"client-{number:03}", created_at=NOW + timedelta(minutes=number))
    first = page(engine)
    second = page(engine, first.next_cursor or "")
    listed = [client.client_id for client in (*first.clients, *second.clients)]
    assert listed == [f"client-{number:03}" for number in range(60)]
    assert second.next_cursor is None
    for cursor in ("x", "\x00", "A" * 9000, (first.next_cursor or "")[:-4]):
        assert [client.id for client in page(engine, cursor).clients] == [client.id for client in first.clients]


def test_pages_are_found_by_an_index(engine: Engine) -> None:
    insert_clients(engine, OTHER_ACCOUNT, 2_000)
    insert_clients(engine, ACCOUNT, 500)
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "FROM identity_clients" in statement:
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    page(engine, page(engine).next_cursor or "")
    with read_session(engine) as session:
        count_overdue(session, account_id=ACCOUNT)
    event.remove(engine, "before_cursor_execute", note)
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in statements:
            plan = str(connection.exec_driver_sql(f"{explain} {statement}", parameters).all())
            assert "SCAN identity_clients" not in plan, (statement, plan)
            assert "Seq Scan on identity_clients" not in plan, (statement, plan)
            assert "TEMP B-TREE" not in plan, (statement, plan)
