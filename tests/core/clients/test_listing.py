"""Listing clients: search, filters, sort orders and keyset pages, within the account (I4)."""

import base64
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, insert, text
from sqlalchemy.orm import Session

from tests.support.factories import ACCOUNT, CATALOGUE, OTHER_ACCOUNT, insert_clients, make_client
from tests.support.strategies import cursor_of, hostile
from webapp.core.clients import attention, listing
from webapp.core.clients.listing import MOVES_MONEY, SORTS, ListPage, ListQuery, list_clients
from webapp.core.database import search_index
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient, new_id, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work

DAY = datetime(2026, 3, 1, tzinfo=UTC)
NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def set_count_max(monkeypatch: pytest.MonkeyPatch, count_max: int) -> None:
    for module in (listing.source, listing.pages):
        monkeypatch.setattr(module, "COUNT_MAX", count_max)


def find(engine: Engine, account_id: str = ACCOUNT, **arguments: Any) -> ListPage:
    """Return the page for the query arguments of an address."""
    with read_session(engine) as session:
        return list_clients(session, account_id=account_id, query=ListQuery.from_arguments(arguments, CATALOGUE))


def ids(page: ListPage) -> list[str]:
    return [client.client_id for client in page.clients]


def walk(engine: Engine, **arguments: Any) -> Iterator[ListPage]:
    page = find(engine, **arguments)
    yield page
    while page.next_cursor:
        page = find(engine, after=page.next_cursor, **arguments)
        yield page


@pytest.fixture
def many(engine: Engine) -> Engine:
    """Return a database with 120 clients with ties in every order, among deleted ones and those of another account."""
    template = make_client(engine, deleted_at=utc_now())
    make_client(engine, account_id=OTHER_ACCOUNT)
    columns = {column.key: getattr(template, column.key) for column in IdentityClient.__table__.columns}
    rows = []
    for number in range(132):
        client_id = f"client-{(number * 37) % 120:03}" if number < 120 else f"client-050-{number}"
        name = ("", "Alpha", "beta", "Ärger")[number % 4]
        at = DAY + timedelta(days=number % 3)
        rows.append(
            columns
            | {"id": new_id(), "client_id": client_id, "client_id_folded": client_id}
            | {"name": name, "name_folded": name.casefold()}
            | {"created_at": at, "updated_at": at + timedelta(days=number % 2)}
            | {"last_token_at": at if number % 4 else None}
            | {"deleted_at": at if number >= 126 else None}
            | {"account_id": OTHER_ACCOUNT if 120 <= number < 126 else ACCOUNT}
        )
    with unit_of_work(engine) as session:
        session.execute(insert(IdentityClient), rows)
    return engine


def test_paging_forwards_and_back_returns_every_row_once(many: Engine) -> None:
    for sort in SORTS:
        pages = list(walk(many, sort=sort))
        rows = [client for page in pages for client in page.clients]
        assert [len(page.clients) for page in pages] == [50, 50, 20], sort
        assert [(page.first, page.last) for page in pages] == [(1, 50), (51, 100), (101, 120)], sort
        assert {page.total for page in pages} == {120}
        assert len({client.id for client in rows}) == 120
        assert {client.account_id for client in rows} == {ACCOUNT}

        name = sort.removeprefix("-")
        column = {"client_id": "client_id_folded", "name": "name_folded", "last_token": "last_token_at"}.get(name, name)
        values = [getattr(client, column) for client in rows]
        places = [(NEVER if value is None else value, client.id) for value, client in zip(values, rows, strict=True)]
        assert places == sorted(places, reverse=sort.startswith("-"))

        back = [pages[-1]]
        while back[-1].previous_cursor:
            back.append(find(many, sort=sort, before=back[-1].previous_cursor))
        assert [ids(page) for page in back] == [ids(page) for page in reversed(pages)]
        assert [(page.first, page.last) for page in back] == [(101, 120), (51, 100), (1, 50)]
        assert pages[0].previous_cursor is None
        assert pages[-1].next_cursor is None


def test_paging_keeps_the_filters(many: Engine) -> None:
    pages = list(walk(many, q="A", sort="-name"))
    assert [len(page.clients) for page in pages] == [50, 10]
    assert {page.total for page in pages} == {60}
    assert [(page.first, page.last) for page in pages] == [(1, 50), (51, 60)]
    assert {client.name for page in pages for client in page.clients} == {"Alpha", "beta"}


def test_changes_while_paging_neither_hide_nor_repeat_other_rows(many: Engine) -> None:
    """Pages continue after a key, not at an offset."""
    first = find(many)
    with unit_of_work(many) as session:
        for row in first.clients[:10]:
            session.get_one(IdentityClient, row.id).deleted_at = utc_now()
        session.get_one(IdentityClient, first.clients[-1].id).deleted_at = utc_now()
        make_client(session, client_id="AAA-first")
    second = find(many, after=str(first.next_cursor))
    assert ids(second) == [f"client-{number:03}" for number in range(50, 100)]
    assert (second.first, second.last, second.total) == (41, 90, 110)
    # Fewer than 50 rows are left backwards, so the whole first page is returned.
    back = find(many, before=str(second.previous_cursor))
    assert (back.first, back.last, len(back.clients)) == (1, 50, 50)
    assert back.clients[0].client_id == "AAA-first"
    # If no later row is left, the first page is returned instead of an empty one.
    with unit_of_work(many) as session:
        for row in find(many, after=str(second.next_cursor)).clients:
            session.get_one(IdentityClient, row.id).deleted_at = utc_now()
    assert find(many, after=str(second.next_cursor)).first == 1


@pytest.fixture
def few(engine: Engine) -> Engine:
    for client_id, name, description, enabled, roles in (
        ("ACME-claims", "Claims Übersicht", "Asks for 100% of payments", True, {"MerchantUser", "CreatePayment"}),
        ("acme_batch", "", "Nightly\nbatch_run", False, {"UploadBatches"}),
        ("other/path", "STRASSE", r"C:\temp", True, {"CreateUrgentPayments"}),
        ("zzz-last", "straße", "", True, {"MerchantUser"}),
    ):
        make_client(engine, client_id=client_id, name=name, description=description, enabled=enabled, roles=roles)
    make_client(engine, client_id="acme-deleted", deleted_at=utc_now())
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-foreign", name="Claims Übersicht")
    return engine


def test_search_and_filters(few: Engine) -> None:
    """%, _ and \\ are literal; letter case never matters in a search and always in a role (I4)."""
    for arguments, found in (
        ({}, ["ACME-claims", "acme_batch", "other/path", "zzz-last"]),
        ({"q": "acme"}, ["ACME-claims", "acme_batch"]),
        ({"q": " ACME "}, ["ACME-claims", "acme_batch"]),
        ({"q": "übersicht"}, ["ACME-claims"]),
        ({"q": "U\u0308BERSICHT"}, ["ACME-claims"]),
        ({"q": "straße"}, ["other/path", "zzz-last"]),
        ({"q": "strasse"}, ["other/path", "zzz-last"]),
        ({"q": "ubersicht"}, ["ACME-claims"]),
        ({"q": "ÜBÉRSICHT"}, ["ACME-claims"]),
        ({"q": "batch_run"}, ["acme_batch"]),
        ({"q": "nightly"}, ["acme_batch"]),
        ({"q": "acme_"}, ["acme_batch"]),
        ({"q": "%"}, ["ACME-claims"]),
        ({"q": "_"}, ["acme_batch"]),
        ({"q": "\\"}, ["other/path"]),
        ({"q": "/"}, ["other/path"]),
        ({"q": "\\%"}, []),
        ({"q": "foreign"}, []),
        ({"q": "deleted"}, []),
        ({"status": "enabled"}, ["ACME-claims", "other/path", "zzz-last"]),
        ({"status": "disabled"}, ["acme_batch"]),
        ({"role": "CreatePayment"}, ["ACME-claims"]),
        ({"role": "MerchantUser"}, ["ACME-claims", "zzz-last"]),
        ({"role": "ReportViewer"}, []),
        ({"q": "acme", "status": "enabled", "role": "MerchantUser"}, ["ACME-claims"]),
        ({"q": "acme", "status": "disabled", "role": "MerchantUser"}, []),
    ):
        page = find(few, **arguments)
        assert ids(page) == found, arguments
        assert page.total == len(found), arguments
        assert found or page.account_total == 4, arguments
        assert (page.first, page.last) == ((1, len(found)) if found else (0, 0)), arguments
        assert page.next_cursor is page.previous_cursor is None


def test_the_order_of_names_is_the_same_on_every_engine(few: Engine) -> None:
    assert [client.name for client in find(few, sort="name").clients] == ["", "Claims Übersicht", "STRASSE", "straße"]
    assert ids(find(few, sort="-client_id")) == ["zzz-last", "other/path", "acme_batch", "ACME-claims"]


def test_letters_fold_as_people_expect(engine: Engine) -> None:
    for client_id, name in (("istanbul-1", "İstanbul"), ("strasse-1", "Straße"), ("angstrom-1", "Ångström ﬁne")):
        make_client(engine, client_id=client_id, name=f"{name} branch")
        make_client(engine, client_id=f"only-{client_id[:4]}-the-name", name=name)
    for q, found in (
        ("istanbul", ["istanbul-1", "only-ista-the-name"]),
        ("İSTANBUL", ["istanbul-1", "only-ista-the-name"]),
        ("strasse br", ["strasse-1"]),
        ("STRAẞE br", ["strasse-1"]),
        ("angstrom fine br", ["angstrom-1"]),
        ("a\u030angstro\u0308m fi", ["angstrom-1", "only-angs-the-name"]),
    ):
        assert ids(find(engine, q=q)) == found, q


def test_filters_by_tag_owner_and_moving_money(engine: Engine) -> None:
    """Alone, together, and in every order; each client is listed once, however many of its roles move money."""
    for client_id, roles, tags, owner, enabled in (
        ("alpha", {"CreatePayment", "UploadBatches"}, ["live", "eu"], "Ana Silva", True),
        ("bravo", {"UploadBatches", "MerchantUser"}, ["live"], "ana silva", False),
        ("charlie", {"MerchantUser"}, ["test"], "Ben", True),
        ("delta", {"AccountMovementEditor"}, [], "", True),
    ):
        make_client(engine, client_id=f"{client_id}-1", roles=roles, tags=tags, owner=owner, enabled=enabled)
    make_client(engine, client_id="deleted-1", tags=["live"], owner="Ana Silva", deleted_at=utc_now())
    make_client(engine, account_id=OTHER_ACCOUNT, tags=["live"], owner="Ana Silva", roles=["CreatePayment"])
    for arguments, found in (
        ({"tag": "live"}, ["alpha-1", "bravo-1"]),
        ({"tag": " LIVE "}, ["alpha-1", "bravo-1"]),
        ({"tag": "liv"}, []),
        ({"owner": "ANA silva"}, ["alpha-1", "bravo-1"]),
        ({"owner": "Ana"}, []),
        ({"role": MOVES_MONEY}, ["alpha-1", "bravo-1", "delta-1"]),
        ({"role": MOVES_MONEY, "status": "enabled"}, ["alpha-1", "delta-1"]),
        ({"role": MOVES_MONEY, "tag": "live", "owner": "ana silva", "status": "enabled"}, ["alpha-1"]),
        ({"role": "MerchantUser", "tag": "live"}, ["bravo-1"]),
        ({"q": "alp", "tag": "live"}, ["alpha-1"]),
    ):
        for sort in SORTS:
            page = find(engine, sort=sort, **arguments)
            assert sorted(ids(page)) == found, (arguments, sort)
            assert page.total == len(found), (arguments, sort)
        with read_session(engine) as session:
            query = ListQuery.from_arguments(arguments, CATALOGUE)
            pages = list(listing.export_clients(session, account_id=ACCOUNT, query=query))
        assert [client.client_id for page in pages for client in page] == found, arguments
    with read_session(engine) as session:
        assert listing.list_tags(session, ACCOUNT) == ["eu", "live", "test"]
        assert [owner.casefold() for owner in listing.list_owners(session, ACCOUNT)] == ["ana silva", "ben"]


def test_pages_of_filters_with_few_candidates_left_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond `CANDIDATES_MAX` clients a page is read in order, from every role that moves money, without repeats."""
    monkeypatch.setattr(listing.source, "CANDIDATES_MAX", 10)
    for number in range(60):
        roles = [{"CreatePayment"}, {"UploadBatches"}, {"CreatePayment", "UploadBatches"}][number % 3]
        columns: dict[str, Any] = {"tags": ["live"], "owner": "Ana", "created_at": utc_now() - timedelta(days=400)}
        make_client(engine, client_id=f"client-{number:03}", roles=roles, **columns)
    expected = [f"client-{number:03}" for number in range(60)]
    for arguments in ({"role": MOVES_MONEY}, {"tag": "live"}, {"owner": "Ana"}, {"role": MOVES_MONEY, "tag": "live"}):
        first = find(engine, **arguments)
        assert (ids(first), first.total) == (expected[:50], 60), arguments
        second = find(engine, after=first.next_cursor, **arguments)
        assert (ids(second), second.first) == (expected[50:], 51), arguments
        assert ids(find(engine, before=second.previous_cursor, **arguments)) == expected[:50], arguments
    for count_max, has_more in ((39, True), (59, True), (60, False)):  # each of the two roles has 40 of the 60
        set_count_max(monkeypatch, count_max)
        page = find(engine, role=MOVES_MONEY)
        assert (page.total, page.has_more) == (count_max, has_more)
    for sort in SORTS:
        assert len(find(engine, attention="unused", status="enabled", sort=sort).clients) == 50
        assert find(engine, attention="unused", status="disabled", sort=sort).clients == []


def test_a_client_is_found_by_its_owner_and_tags(engine: Engine) -> None:
    """Written through the rules or in bulk."""
    client = make_client(engine, owner="Zoë Lindqvist", tags=["production", "été 100%"])
    make_client(engine)
    expected = {"zoe lind": True, "ZOË": True, "Product": True, "ete 100%": True, "ete 100_": False, "nobody": False}
    assert {q: ids(find(engine, q=q)) == [client.client_id] for q in expected} == expected
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE identity_clients SET owner = 'Ana', owner_folded = 'ana', tags = :tags"
                " WHERE client_id = :client"
            ),
            {"client": client.client_id, "tags": json.dumps(["été 100%"])},
        )
    for _ in range(2):
        expected = {"zoe lind": False, "ANA": True, "production": False, "été 100%": True}
        assert {q: ids(find(engine, q=q)) == [client.client_id] for q in expected} == expected
        search_index.update_stale(engine)


def test_an_edited_client_is_found_by_what_it_has_now(engine: Engine) -> None:
    """Written through the rules, in bulk, or by a process of the release before, which knows of no search text."""
    client = make_client(engine, name="Claims Zürich")
    with unit_of_work(engine) as session:
        session.get_one(IdentityClient, client.id).name = "Claims Genève"
    assert (ids(find(engine, q="zurich")), ids(find(engine, q="geneve"))) == ([], [client.client_id])
    with engine.begin() as connection:
        connection.execute(text("UPDATE identity_clients SET name = 'Claims Basel', name_folded = 'claims basel'"))
    assert (ids(find(engine, q="geneve")), ids(find(engine, q="basel"))) == ([], [client.client_id])
    search_index.update_stale(engine)
    assert (ids(find(engine, q="geneve")), ids(find(engine, q="basel"))) == ([], [client.client_id])


def test_a_short_search_of_a_large_account_is_refused(many: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would read every client."""
    set_count_max(monkeypatch, 119)
    assert find(many, q="al").needs_longer_search
    assert not find(many, q="alp").needs_longer_search
    set_count_max(monkeypatch, 120)
    assert not find(many, q="al").needs_longer_search


@pytest.mark.parametrize(
    "arguments",
    [
        {"q": "a" * 201},
        {"q": "\x00"},
        {"q": "acme\ud800"},
        {"status": "ENABLED"},
        {"status": "1"},
        {"role": "merchantuser"},
        {"role": '" OR 1=1 --'},
        {"role": "*"},
        {"tag": "a" * 31},
        {"tag": "\x00"},
        {"owner": "a" * 101},
        {"role": "%"},
        {"attention": "Any"},
        {"attention": "1 OR 1=1"},
        {"sort": "secret_hash"},
        {"sort": "--name"},
        {"sort": "client_id desc"},
    ],
)
def test_a_bad_value_becomes_the_default(arguments: dict[str, str]) -> None:
    """A value that is not valid is replaced by the default (I4)."""
    assert ListQuery.from_arguments(arguments, CATALOGUE) == ListQuery()


def test_a_search_has_at_most_200_characters() -> None:
    assert ListQuery.from_arguments({"q": "a" * 200}, CATALOGUE).q == "a" * 200


def test_a_forged_or_foreign_cursor_gives_the_first_page(many: Engine) -> None:
    """200 and the first page, never an error and never another account's row (I4)."""
    own = find(many).clients[0]
    foreign = find(many, OTHER_ACCOUNT).clients[0]
    first = ids(find(many))
    for cursor in (
        "x",
        "====",
        "é",
        "\x00",
        "\ud800",
        "A" * 100_000,
        cursor_of(None),
        cursor_of(1),
        cursor_of([]),
        cursor_of({"client_id": 1, "b": 2, "c": 3}),
        cursor_of(["client_id", "a"]),
        cursor_of(["client_id", 1, own.id.hex]),
        cursor_of(["client_id", "client-050", 1]),
        cursor_of(["client_id", "client-050", "not a key"]),
        cursor_of(["client_id", "\x00", own.id.hex]),
        cursor_of(["client_id", "\ud800", own.id.hex]),
        cursor_of(["name", "client-050", own.id.hex]),
        cursor_of(["client_id", "client-050", uuid.uuid4().hex]),
        cursor_of(["client_id", foreign.client_id, foreign.id.hex]),
        base64.urlsafe_b64encode(b"[" * 1200).decode(),
        base64.urlsafe_b64encode(b"9" * 1200).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ):
        for direction in ("after", "before"):
            page = find(many, **{direction: cursor})
            assert ids(page) == first, cursor
            assert page.first == 1, cursor


def test_a_forged_time_is_no_error(many: Engine) -> None:
    """A cursor with an impossible time returns the first page (I4)."""
    own = find(many).clients[0]
    for value in ("", "yesterday", "2026-03-02", "2026-03-02T00:00:00", "0001-01-01T00:00:00+23:59"):
        for direction in ("after", "before"):
            for sort in ("updated_at", "last_token"):
                page = find(many, sort=sort, **{direction: cursor_of([sort, value, own.id.hex])})
                assert len(page.clients) == 50, value


PARAMETERS = ("q", "status", "role", "attention", "sort", "after", "before", "size", "page")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example({"q": "\x00", "after": "\x00"})
@given(
    st.dictionaries(
        st.sampled_from(
            ["q", "status", "role", "tag", "owner", "attention", "sort", "after", "before", "size", "page"]
        ),
        hostile,
    )
)
def test_any_query_arguments_return_a_page_of_the_own_account(few: Engine, arguments: dict[str, str]) -> None:
    """Fuzzed query arguments never cause an error (I4)."""
    page = find(few, **arguments)
    assert {client.account_id for client in page.clients} <= {ACCOUNT}
    assert len(page.clients) == page.total <= 4
    assert page.clients or page.account_total == 4


def test_an_account_without_clients_has_an_empty_page(engine: Engine) -> None:
    make_client(engine, account_id=OTHER_ACCOUNT)
    assert find(engine) == ListPage([], 0, False, 0, 0, 0, None, None)
    assert find(engine, q="x").account_total == 0


# Size


@pytest.fixture
def large(engine: Engine) -> Engine:
    """Return a database with 6,000 clients of others, and 2,000 of a large account."""
    insert_clients(engine, OTHER_ACCOUNT, 6_000)
    insert_clients(engine, ACCOUNT, 2_000)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE identity_clients SET owner = 'Ana Silva', owner_folded = 'ana silva', tags = '[\"live\"]'")
        )
    search_index.update_stale(engine)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    return engine


FILTERED: list[dict[str, str]] = [
    {},
    {"status": "enabled"},
    {"status": "disabled"},
    {"role": "MerchantUser"},
    {"role": "ReportViewer"},
    {"q": "name 49", "status": "enabled", "role": "MerchantUser"},
    {"q": "northwind-1321"},
    {"role": MOVES_MONEY},
    {"role": MOVES_MONEY, "status": "disabled"},
    {"tag": "live"},
    {"tag": "gone"},
    {"owner": "Ana Silva"},
    {"owner": "Ana Silva", "tag": "live", "role": MOVES_MONEY, "q": "name 4"},
    *({"attention": reason} for reason in attention.FILTERS),
]


def test_every_page_is_found_by_an_index_of_the_account(large: Engine) -> None:
    """For each order and filter, no plan scans all clients or all rows of a related table."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            statements.append((statement, parameters))

    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[large.dialect.name]
    for sort in SORTS:
        first = find(large, sort=sort)
        event.listen(large, "before_cursor_execute", note)
        second = find(large, sort=sort, after=first.next_cursor)
        find(large, sort=sort, before=second.previous_cursor)
        for arguments in FILTERED:
            find(large, sort=sort, **arguments)
        with read_session(large) as session:
            listing.list_tags(session, ACCOUNT)
            listing.list_owners(session, ACCOUNT)
        event.remove(large, "before_cursor_execute", note)
        assert second.first == 51
    assert statements
    with large.connect() as connection:
        if large.dialect.name == "postgresql":
            # The planner may scan a table this small although it has an index.
            connection.exec_driver_sql("SET enable_seqscan = off")
        for statement, parameters in statements:
            plan = "\n".join(
                " ".join(str(column) for column in row)
                for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            plan = plan.replace("SCAN identity_client_search_index VIRTUAL", "")
            assert "SCAN identity_client" not in plan, (statement, plan)
            assert "Seq Scan on identity_client" not in plan, (statement, plan)


@pytest.mark.parametrize(
    "arguments",
    [{}, {"sort": "-last_token"}, {"status": "enabled"}, {"role": "MerchantUser"}, {"role": MOVES_MONEY}],
    ids=str,
)
def test_the_cost_of_a_page_does_not_grow_with_the_account(
    sqlite_url: str, arguments: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the steps of its programs; an account ten times as large takes the same number."""
    set_count_max(monkeypatch, 100)
    engine = make_engine(sqlite_url)
    steps = []
    for account_id, rows in ((OTHER_ACCOUNT, 1_000), (ACCOUNT, 9_000)):
        insert_clients(engine, account_id, rows)
        steps.append(0)
        with engine.connect() as connection:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(lambda: steps.__setitem__(-1, steps[-1] + 1), 100)
            with Session(connection) as session:
                query = ListQuery.from_arguments(arguments, CATALOGUE)
                first = list_clients(session, account_id=account_id, query=query)
                list_clients(session, account_id=account_id, query=query.with_cursor(after=first.next_cursor or ""))
            driver.set_progress_handler(None, 0)
    engine.dispose()
    small, large = steps
    assert 0 < large < small * 1.2
