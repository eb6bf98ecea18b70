"""The request log: filters, pages, bounded searches, and the separation of accounts (L2, A3, I4)."""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine, event, insert, text

from tests.support.clients import delete, edit, values_of
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, insert_clients, make_client
from webapp.core.database.models import IdentityClient, TokenRequest
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import NotFound
from webapp.core.usage import request_log
from webapp.core.usage.request_log import REASONS, RequestPage, RequestQuery, search
from webapp.core.usage.request_log import export as export_module

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def add(engine: Engine, client: IdentityClient, *rows: dict[str, Any]) -> None:
    """Store token requests, each a second older than the one before unless a time is given."""
    defaults: dict[str, Any] = {
        "client_key": client.id,
        "account_id": client.account_id,
        "outcome": "issued",
        "secret_label": "A",
        "address": "192.0.2.1",
        "scope": "",
        "request_id": None,
    }
    with engine.begin() as connection:
        connection.execute(
            insert(TokenRequest),
            [{**defaults, "at": NOON - index * SECOND, "number": index, **row} for index, row in enumerate(rows)],
        )


def find(
    engine: Engine, client: IdentityClient | None = None, account_id: str = ACCOUNT, **arguments: Any
) -> RequestPage:
    """Return a page."""
    query = RequestQuery.from_arguments(arguments)
    with read_session(engine) as session:
        return request_log.list_requests(
            session, account_id=account_id, query=query, zone=ZoneInfo("Europe/London"), client=client
        )


def all_pages(engine: Engine, client: IdentityClient | None = None, **arguments: Any) -> Iterable[RequestPage]:
    """Yield each page, the newest first."""
    cursor: str | None = ""
    for _ in range(9):
        page = find(engine, client, **{"after": cursor or "", **arguments})
        yield page
        cursor = page.next_cursor
        if cursor is None:
            return
    raise AssertionError("the pages do not end")


MIXED: list[dict[str, Any]] = [
    {"request_id": "first"},
    {"outcome": "wrong secret", "secret_label": None, "address": "192.0.2.2", "request_id": "second"},
    {"outcome": "disabled", "secret_label": "B"},
    {"secret_label": "B", "request_id": "first"},
    {"outcome": "throttled", "address": "2001:db8::1"},
]


@pytest.mark.parametrize("of_client", [False, True], ids=["account", "client"])
@pytest.mark.parametrize(
    ("arguments", "numbers"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"outcome": "issued"}, [0, 3]),
        ({"outcome": "refused"}, [1, 2, 4]),
        ({"outcome": "disabled"}, [2]),
        ({"outcome": "no such"}, [0, 1, 2, 3, 4]),
        ({"secret": "B"}, [2, 3]),
        ({"secret": "B", "outcome": "refused"}, [2]),
        ({"secret": "A", "outcome": "issued"}, [0]),
        ({"address": "192.0.2.2"}, [1]),
        ({"address": "2001:DB8:0::1"}, [4]),
        ({"address": "192.0.2.1", "outcome": "refused"}, [2]),
        ({"request_id": "first"}, [0, 3]),
        ({"request_id": "first", "secret": "B"}, [3]),
        ({"request_id": "absent"}, []),
        ({"since": "2026-03-01T12:00"}, [0]),
        ({"until": "2026-03-01T11:59"}, [1, 2, 3, 4]),
        ({"since": "2026-03-01", "until": "2026-03-01"}, [0, 1, 2, 3, 4]),
        ({"since": "2026-03-02"}, []),
        ({"until": "2026-02-28"}, []),
    ],
    ids=str,
)
def test_each_filter(engine: Engine, arguments: dict[str, Any], numbers: list[int], of_client: bool) -> None:
    """For the account and for a client, the newest first; an unknown value is ignored (I4)."""
    client, other = make_client(engine), make_client(engine, account_id=OTHER_ACCOUNT)
    add(engine, client, *MIXED)
    add(engine, other, *MIXED)
    page = find(engine, client if of_client else None, **arguments)
    assert [(row.number, row.client_key) for row in page.requests] == [(number, client.id) for number in numbers]
    assert (page.next_cursor, page.previous_cursor, page.searched_to) == (None, None, None)


def test_a_client_is_found_by_every_id_that_it_had(engine: Engine) -> None:
    """In any letter case and after its deletion; a foreign client is not found (A3)."""
    client = make_client(engine, client_id="acme-Old")
    edit(engine, client, values=values_of(client, client_id="acme-new"))
    foreign = make_client(engine, account_id=OTHER_ACCOUNT)
    gone = make_client(engine, client_id="acme-gone")
    delete(engine, gone)
    with read_session(engine) as session:
        for client_id, key in (
            ("ACME-old", client.id),
            ("acme-new", client.id),
            ("acme-gone", gone.id),
            ("acme", None),
            (foreign.client_id, None),
        ):
            found = request_log.find_client(session, account_id=ACCOUNT, client_id=client_id)
            assert (found.id if found else None) == key, client_id


def test_requests_of_another_account_are_not_found(engine: Engine) -> None:
    """Neither in a page nor as a single request (A3)."""
    client = make_client(engine)
    add(engine, client, *MIXED)
    assert find(engine, account_id=OTHER_ACCOUNT).requests == []
    with pytest.raises(NotFound):
        find(engine, client, account_id=OTHER_ACCOUNT)
    key = request_log.key_of(find(engine).requests[1])
    with read_session(engine) as session:
        found = request_log.get_request(session, account_id=ACCOUNT, client_key=client.id, key=key)
        assert found.request_id == "second"
        for account_id, client_key, wanted in (
            (OTHER_ACCOUNT, client.id, key),
            (ACCOUNT, uuid.uuid4(), key),
            *((ACCOUNT, client.id, wrong) for wrong in ("", "x", "1-1", f"{key}0", "9" * 40, f"1-{2**64}", "١-1")),
        ):
            with pytest.raises(NotFound):
                request_log.get_request(session, account_id=account_id, client_key=client_key, key=wanted)


@pytest.mark.parametrize("arguments", [{}, {"outcome": "refused"}, {"address": "192.0.2.1"}, {"secret": "A"}], ids=str)
def test_pages_forwards_and_back(engine: Engine, arguments: dict[str, Any]) -> None:
    """Each request is on one page; the first page has no newer one, the last no older one."""
    client = make_client(engine)
    add(engine, client, *({"outcome": REASONS[number % 3]} for number in range(120)))
    pages = list(all_pages(engine, **arguments))
    assert [len(page.requests) for page in pages] == [50, 50, 20]
    assert [row.number for page in pages for row in page.requests] == list(range(120))
    back = find(engine, before=pages[2].previous_cursor or "", **arguments)
    assert [row.number for row in back.requests] == list(range(50, 100))
    first = find(engine, before=back.previous_cursor or "", **arguments)
    assert [row.number for row in first.requests] == list(range(50))
    assert pages[0].previous_cursor is first.previous_cursor is None


@pytest.mark.parametrize(
    "cursor", ["x", "W10", "WyIyMDI2IiwieCJd", "WyJ4IiwiMSJd", "WyIyMDI2LTAzLTAxIiwiOTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkiXQ"]
)
def test_a_forged_cursor_gives_the_first_page(engine: Engine, cursor: str) -> None:
    client = make_client(engine)
    add(engine, client, *MIXED)
    arguments: tuple[dict[str, Any], ...] = ({"after": cursor}, {"before": cursor})
    for each in arguments:
        assert len(find(engine, **each).requests) == 5


def test_a_search_is_bounded_and_can_be_continued(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page has the time up to which it searched; Older continues there, and Newer returns."""
    monkeypatch.setattr(search, "SCAN_MAX", 40)
    monkeypatch.setattr(search, "MERGED_SCAN_MAX", 40)
    client = make_client(engine)
    add(engine, client, *({"secret_label": "B" if number in (5, 100) else "A"} for number in range(130)))
    for of_client in (client, None):
        pages = list(all_pages(engine, of_client, secret="B"))
        assert [[row.number for row in page.requests] for page in pages] == [[5], [], [100], []]
        assert [page.searched_to for page in pages] == [NOON - seconds * SECOND for seconds in (39, 79, 119)] + [None]
        back, cursor = [], pages[2].previous_cursor
        while cursor:
            page = find(engine, of_client, secret="B", before=cursor)
            back.append([row.number for row in page.requests])
            cursor = page.previous_cursor
        assert back == [[], [], [5]]


def test_times_are_local(engine: Engine) -> None:
    """A day in London begins an hour before that of UTC in summer; both ends are whole minutes."""
    client = make_client(engine)
    times = [datetime(2026, 7, 2, 22, 59, 59, tzinfo=UTC) + seconds * SECOND for seconds in (0, 1, 86_400, 86_401)]
    add(engine, client, *({"at": at} for at in times))
    assert [row.at for row in find(engine, since="2026-07-03", until="2026-07-03").requests] == [times[2], times[1]]
    assert [row.at for row in find(engine, since="2026-07-02T23:59", until="2026-07-02T23:59").requests] == [times[0]]


def test_a_range_that_ends_before_it_begins() -> None:
    query = RequestQuery.from_arguments({"since": "2026-03-02", "until": "2026-03-01T10:00"})
    assert query.is_reversed
    assert not replace(query, until=None).is_reversed
    assert query.filters() == {"since": "2026-03-02T00:00", "until": "2026-03-01T10:00"}


def test_the_export_is_read_in_pages(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """At most 10,000, with their clients (L7)."""
    client, other = make_client(engine), make_client(engine)
    add(engine, client, *({"outcome": "disabled" if number % 2 else "issued"} for number in range(1_200)))
    add(engine, other, {"at": NOON - timedelta(days=1)})

    def export(**arguments: str) -> list[uuid.UUID]:
        query = RequestQuery.from_arguments(arguments)
        rows = request_log.export_requests(engine, account_id=ACCOUNT, query=query, zone=UTC, client=None)
        return [of.id for _, of in rows]

    assert export() == [client.id] * 1_200 + [other.id]
    assert len(export(outcome="refused")) == 600
    monkeypatch.setattr(export_module, "EXPORT_MAX", 700)
    assert len(export()) == 700


def test_every_outcome_can_be_searched_for() -> None:
    assert {*REASONS, Outcome.ISSUED} == {*Outcome, *AuthenticationFailure}


# Size


def test_every_page_is_found_by_an_index(engine: Engine) -> None:
    """For each filter, no plan scans all requests of an account, of other accounts, or all clients."""
    client, other = make_client(engine), make_client(engine, account_id=OTHER_ACCOUNT)
    for of in (client, other):
        add(engine, of, *({"outcome": REASONS[number % 5]} for number in range(500)))
        add(engine, of, *({"at": NOON - timedelta(hours=1) - number * SECOND} for number in range(3_000)))
        insert_clients(engine, of.account_id, 300)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    statements: list[tuple[str, Any]] = []

    def record(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", record)
    for of_client in (None, client):
        first = find(engine, of_client)
        second = find(engine, of_client, after=first.next_cursor or "")
        find(engine, of_client, before=second.previous_cursor or "")
        for arguments in (
            {"outcome": "issued"},
            {"outcome": "refused"},
            {"outcome": "disabled", "secret": "A"},
            {"secret": "B"},
            {"address": "192.0.2.1"},
            {"request_id": "x"},
            {"since": "2026-03-01", "until": "2026-03-01"},
        ):
            find(engine, of_client, **arguments)
    with read_session(engine) as session:
        request_log.find_client(session, account_id=ACCOUNT, client_id=client.client_id)
        request_log.clients_of(session, ACCOUNT, first.requests)
        key = request_log.key_of(first.requests[0])
        request_log.get_request(session, account_id=ACCOUNT, client_key=client.id, key=key)
    event.remove(engine, "before_cursor_execute", record)
    assert len(statements) > 20
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # The planner may scan a table this small although it has an index.
            connection.exec_driver_sql("SET enable_seqscan = off")
            connection.exec_driver_sql("SET enable_bitmapscan = off")
        for statement, parameters in statements:
            plan = "\n".join(
                " ".join(str(column) for column in row)
                for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            assert "SCAN identity_client" not in plan, (statement, plan)
            assert "Seq Scan" not in plan, (statement, plan)


def test_clients_are_found_by_key_without_statistics(sqlite_engine: Engine) -> None:
    """SQLite has no statistics unless somebody analyzes it, and then prefers an index of the account."""
    client = make_client(sqlite_engine)
    add(sqlite_engine, client, {})
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            rows = connection.connection.driver_connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" ".join(str(row) for row in rows))

    requests = find(sqlite_engine).requests
    with read_session(sqlite_engine) as session:
        event.listen(sqlite_engine, "before_cursor_execute", explain)
        assert set(request_log.clients_of(session, ACCOUNT, requests)) == {client.id}
        assert request_log.clients_of(session, OTHER_ACCOUNT, requests) == {}
        event.remove(sqlite_engine, "before_cursor_execute", explain)
    assert plans
    assert all("(id=?)" in plan and "account_id" not in plan for plan in plans), plans
