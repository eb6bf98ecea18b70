"""Queries of the audit log: pages, filters, exports and refused attempts (L1, L2, L7)."""

import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select, text

from tests.support.audit_events import NOON, add_events
from tests.support.clients import delete, edit, values_of
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_author, make_client, make_rate_limits
from tests.support.strategies import cursor_of, hostile
from webapp.core.audit import filters, pages
from webapp.core.audit.actions import Action, RefusalReason
from webapp.core.audit.events import record_export, record_refusal
from webapp.core.audit.export import export_events
from webapp.core.audit.pages import AuditActor, AuditPage, list_events
from webapp.core.audit.query import ACTIONS, KINDS, AuditQuery
from webapp.core.client_changes import get_client_or_deleted
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import NotFound, RateLimited
from webapp.core.rate_limits.limits import RateLimits

LONDON = ZoneInfo("Europe/London")


def find(engine: Engine, account_id: str = ACCOUNT, *, key: uuid.UUID | None = None, **arguments: Any) -> AuditPage:
    """Return the page for the query arguments of an address."""
    with read_session(engine) as session:
        query = AuditQuery.from_arguments(arguments)
        return list_events(session, account_id=account_id, query=query, zone=LONDON, key=key)


def request_ids(page: AuditPage) -> list[str | None]:
    """Return the request id of each event."""
    return [row.request_id for row in page.events]


# Pages


@pytest.fixture
def long(engine: Engine) -> Engine:
    """Return a database with 120 events of an account, three at each moment, among those of other accounts."""
    add_events(
        engine,
        *({"at": NOON + timedelta(minutes=number // 3), "request_id": str(number)} for number in range(120)),
        *({"account_id": OTHER_ACCOUNT, "request_id": "foreign"} for _ in range(5)),
        {"account_id": None, "action": "key rotated", "request_id": "platform"},
    )
    return engine


def test_paging_returns_every_event_once_newest_first(long: Engine) -> None:
    pages = [find(long)]
    while pages[-1].next_cursor:
        pages.append(find(long, after=pages[-1].next_cursor))
    assert [len(page.events) for page in pages] == [50, 50, 20]
    assert [row for page in pages for row in request_ids(page)] == [str(number) for number in range(119, -1, -1)]
    back = [pages[-1]]
    while back[-1].previous_cursor:
        back.append(find(long, before=back[-1].previous_cursor))
    # Backwards from the last page there are always 50 rows; so has the first page.
    assert [request_ids(page) for page in back] == [request_ids(page) for page in reversed(pages)]


def test_events_added_while_paging_move_no_page(long: Engine) -> None:
    first = find(long)
    add_events(long, *({"at": NOON + timedelta(days=1), "request_id": f"new {number}"} for number in range(3)))
    second = find(long, after=str(first.next_cursor))
    assert request_ids(second) == [str(number) for number in range(69, 19, -1)]
    back = find(long, before=str(second.previous_cursor))
    assert request_ids(back) == request_ids(first)
    # Only three events are newer, so the whole first page is returned.
    assert request_ids(find(long, before=str(back.previous_cursor)))[:4] == ["new 2", "new 1", "new 0", "119"]


@pytest.mark.parametrize("account_id", ["nobody", OTHER_ACCOUNT])
def test_no_account_sees_events_of_others_or_of_the_platform(long: Engine, account_id: str) -> None:
    """No cursor or filter returns another account's events, or those without an account (A3)."""
    cursor = find(long).next_cursor or ""
    pages: list[dict[str, Any]] = [{}, {"after": cursor}, {"before": cursor}, {"person": "42"}, {"action": "edited"}]
    for arguments in pages:
        page = find(long, account_id, **arguments)
        assert set(request_ids(page)) <= {"foreign"}, arguments


def test_a_forged_cursor_gives_the_first_page(long: Engine) -> None:
    """A forged cursor returns the first page of the account's own events (I4)."""
    own, foreign = find(long).events[20], find(long, OTHER_ACCOUNT).events[0]
    for cursor in (
        "x",
        "é",
        cursor_of([]),
        cursor_of({"a": 1, "b": 2}),
        cursor_of([NOON.isoformat(), 5]),
        cursor_of(["yesterday", own.id.hex]),
        cursor_of(["0001-01-01T00:00:00+23:59", own.id.hex]),
        cursor_of([NOON.isoformat(), "no key"]),
        cursor_of([NOON.isoformat(), uuid.uuid4().hex]),
        cursor_of([foreign.at.isoformat(), foreign.id.hex]),
    ):
        assert (
            request_ids(find(long, after=cursor)) == request_ids(find(long, before=cursor)) == request_ids(find(long))
        ), cursor


# Filters


@pytest.fixture
def two_clients(engine: Engine) -> Engine:
    """Return a database with events of two clients, one renamed and deleted, and of one of another account."""
    with time_machine.travel("2026-03-01 12:00:00+00:00", tick=False) as clock:
        client = make_client(engine, client_id="acme-claims")
        clock.shift(86400)
        edit(engine, client, values=values_of(client, client_id="acme-renamed"), author=make_author(actor_id="7"))
        clock.shift(86400)
        renamed = edit(
            engine,
            current(engine, client),
            values=values_of(current(engine, client), name="New", roles=frozenset({"ReportViewer"})),
            author=make_author(actor_id="7", label="Priya Nair"),
        )
        clock.shift(86400)
        delete(engine, renamed)
        make_client(engine, client_id="other_path")
        make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-foreign")
    return engine


def current(engine: Engine, client: IdentityClient) -> IdentityClient:
    """Return a client as it is now."""
    with read_session(engine) as session:
        return session.get_one(IdentityClient, client.id)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({}, ["created", "deleted", "edited", "edited", "created"]),
        ({"person": "7"}, ["edited", "edited"]),
        ({"person": "Priya Nair"}, []),
        ({"client": "acme-claims"}, ["deleted", "edited", "edited", "created"]),
        ({"client": " ACME-re"}, ["deleted", "edited", "edited", "created"]),
        ({"client": "_path"}, ["created"]),
        ({"client": "%"}, []),
        ({"client": "foreign"}, []),
        ({"action": "edited"}, ["edited", "edited"]),
        ({"action": "secret paused"}, []),
        ({"action": "created-or-deleted"}, ["created", "deleted", "created"]),
        ({"action": "created-or-deleted", "person": "7"}, []),
        ({"action": "roles-changed"}, ["edited"]),
        ({"since": "2026-03-02"}, ["created", "deleted", "edited", "edited"]),
        ({"until": "2026-03-02"}, ["edited", "created"]),
        ({"since": "2026-03-02", "until": "2026-03-03"}, ["edited", "edited"]),
        ({"since": "2026-03-03", "until": "2026-03-02"}, []),
        ({"client": "acme", "person": "7", "action": "edited", "since": "2026-03-03"}, ["edited"]),
    ],
)
def test_filters(two_clients: Engine, arguments: dict[str, Any], found: list[str]) -> None:
    """A former client ID finds the client too, and % and _ are literal (I4)."""
    assert [row.action for row in find(two_clients, **arguments).events] == found


@pytest.mark.parametrize("clients_max", [0, 1, 1_000])
@pytest.mark.parametrize(
    ("client", "found"),
    [
        ("ACME-re", ["deleted", "edited", "edited", "created"]),
        ("acme-claims", ["deleted", "edited", "edited", "created"]),
        ("ac", ["deleted", "edited", "edited", "created"]),
        ("acme-clai", []),
        ("nothing", []),
    ],
)
def test_filter_by_client_with_few_or_many_matches(
    two_clients: Engine, monkeypatch: pytest.MonkeyPatch, clients_max: int, client: str, found: list[str]
) -> None:
    """Part of the present ID, or a whole former one, however many clients the search finds."""
    monkeypatch.setattr(filters, "CLIENTS_MAX", clients_max)
    assert [row.action for row in find(two_clients, client=client).events] == found


def test_a_day_begins_and_ends_in_the_zone_of_the_screens(engine: Engine) -> None:
    """On 29 March 2026 the day in London has 23 hours and begins at midnight UTC."""
    midnight = datetime(2026, 3, 29, tzinfo=UTC)
    for hours, name in ((-0.1, "before"), (0, "first"), (22.9, "last"), (23, "after")):
        add_events(engine, {"at": midnight + timedelta(hours=hours), "request_id": name})
    assert request_ids(find(engine, since="2026-03-29", until="2026-03-29")) == ["last", "first"]


def test_events_of_one_client(two_clients: Engine) -> None:
    with read_session(two_clients) as session:
        keys = {row.client_id: row.id for row in session.scalars(select(IdentityClient))}
    assert [row.action for row in find(two_clients, key=keys["other_path"]).events] == ["created"]
    assert [row.action for row in find(two_clients, key=keys["acme-renamed"], action="deleted").events] == ["deleted"]
    assert find(two_clients, key=keys["acme-foreign"]).events == []


def test_actors_are_listed_once_by_their_latest_name(two_clients: Engine) -> None:
    """Only actors of the account are listed (A3)."""
    add_events(two_clients, {"actor_id": "1", "actor_label": "ann"}, {"account_id": OTHER_ACCOUNT, "actor_id": "2"})
    with read_session(two_clients) as session:
        assert pages.list_actors(session, ACCOUNT) == [
            AuditActor("admin@northwind.example", "admin@northwind.example"),
            AuditActor("1", "ann"),
            AuditActor("7", "Priya Nair"),
        ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"person": "a" * 201},
        {"person": "\x00"},
        {"client": "a" * 101},
        {"client": "\ud800"},
        {"action": "Edited"},
        {"action": "key rotated"},
        {"since": "2026-02-30"},
        {"since": "20260301"},
        {"since": "２０２６-03-01"},
        {"until": "9999-12-31"},
        {"until": "0001-01-01"},
        {"until": "tomorrow"},
    ],
)
def test_a_bad_value_becomes_the_default(arguments: dict[str, str]) -> None:
    """A value that is not valid is replaced by the default (I4)."""
    assert AuditQuery.from_arguments(arguments) == AuditQuery()


def test_query_arguments_of_an_address() -> None:
    arguments = {"person": "7", "client": "acme", "action": "edited", "since": "2026-03-01", "until": "2026-03-02"}
    query = AuditQuery.from_arguments(arguments | {"after": "x", "page": "2"})
    assert (query.since, query.until) == (date(2026, 3, 1), date(2026, 3, 2))
    assert query.arguments() == arguments | {"after": "x"}
    assert query.with_cursor(before="y").arguments() == arguments | {"before": "y"}
    assert query.filters() == arguments


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["person", "client", "action", "since", "until", "after", "before"]), hostile))
def test_any_query_arguments_return_a_page(two_clients: Engine, arguments: dict[str, Any]) -> None:
    """Fuzzed query arguments never cause an error (I4)."""
    assert {row.account_id for row in find(two_clients, **arguments).events} <= {ACCOUNT}


# Exports


def export(engine: Engine, account_id: str = ACCOUNT, *, key: uuid.UUID | None = None, **arguments: str) -> list[str]:
    """Return the actions of the events that an export of the account contains."""
    with read_session(engine) as session:
        query = AuditQuery.from_arguments(arguments)
        events = export_events(session, account_id=account_id, query=query, zone=LONDON, key=key)
        return [each.action for each in events]


def test_an_export_has_the_filters_of_the_page(two_clients: Engine) -> None:
    assert export(two_clients, client="acme", since="2026-03-02") == ["deleted", "edited", "edited"]


def test_an_export_of_one_client(two_clients: Engine) -> None:
    """An export contains only the account's own clients, deleted ones too (A3)."""
    with read_session(two_clients) as session:
        clients = {row.client_id: row for row in session.scalars(select(IdentityClient))}
        for client_id, account_id in (("acme-renamed", ACCOUNT), ("acme-foreign", OTHER_ACCOUNT)):
            key = clients[client_id].id
            assert get_client_or_deleted(session, account_id=account_id, key=key).client_id == client_id
            with pytest.raises(NotFound):
                get_client_or_deleted(session, account_id="nobody", key=key)
    assert export(two_clients, key=clients["acme-renamed"].id, action="deleted") == ["deleted"]
    assert export(two_clients, key=clients["other_path"].id) == ["created"]
    assert export(two_clients, key=clients["acme-foreign"].id) == []


def test_an_export_has_10000_events_at_most(engine: Engine) -> None:
    """The newest 10,000 events are exported (L7)."""
    add_events(engine, *({"at": NOON + timedelta(seconds=number)} for number in range(10_002)))
    with read_session(engine) as session:
        times = [each.at for each in export_events(session, account_id=ACCOUNT, query=AuditQuery(), zone=LONDON)]
    assert len(times) == 10_000
    assert times[0] == NOON + timedelta(seconds=10_001)


def test_an_export_is_an_event_and_has_a_quota(engine: Engine) -> None:
    """An export writes an event and counts towards the quota (L7, D5)."""
    rate_limits = RateLimits("memory://", 20, exports_per_actor_and_hour=2)
    for _ in range(2):
        with unit_of_work(engine) as session:
            record_export(session, author=make_author(), filters={"client": "acme"}, rate_limits=rate_limits)
    with pytest.raises(RateLimited), unit_of_work(engine) as session:
        record_export(session, author=make_author(), filters={}, rate_limits=rate_limits)
    page = find(engine, action="exported")
    assert [(row.client_key, row.changes) for row in page.events] == [
        (None, {"filters": [None, {"client": "acme"}]})
    ] * 2


# Refusals


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def refuse(
    engine: Engine, rate_limits: RateLimits, refusal: RefusalReason = RefusalReason.STALE_VERSION, **overrides: Any
) -> None:
    """Record that an administrator's attempt was refused."""
    given: dict[str, Any] = {"author": make_author(), "attempt": "edit", "key": None}
    with unit_of_work(engine) as session:
        record_refusal(session, refusal=refusal, rate_limits=rate_limits, **(given | overrides))


def test_a_refused_attempt_is_an_event(engine: Engine) -> None:
    """The event names the client if it belongs to the account (L2, A3)."""
    client, foreign = make_client(engine), make_client(engine, account_id=OTHER_ACCOUNT)
    for key in (client.id, foreign.id, uuid.uuid4(), None):
        refuse(engine, make_rate_limits(), key=key)
    rows = find(engine, action="refused").events
    assert [(row.client_key, row.client_id) for row in rows] == [(None, None)] * 3 + [(client.id, client.client_id)]
    assert {str(row.changes) for row in rows} == {
        str({"refusal": [None, "stale version"], "attempt": [None, "edit"]}),
    }
    assert [row.action for row in find(engine, OTHER_ACCOUNT).events] == ["created"]


def test_refused_attempts_are_limited(engine: Engine, clock: time_machine.Traveller) -> None:
    """At most 20 refusals per actor, kind and hour are recorded (L2)."""
    rate_limits = make_rate_limits()
    for _ in range(22):
        refuse(engine, rate_limits)
    refuse(engine, rate_limits, RefusalReason.FORBIDDEN)
    refuse(engine, rate_limits, author=make_author(actor_id="another"))
    assert len(find(engine, action="refused").events) == 22
    clock.shift(3601)
    refuse(engine, rate_limits)
    assert len(find(engine, action="refused").events) == 23


# Size


def test_every_page_is_found_by_an_index(engine: Engine) -> None:
    """The cost of a page does not grow with other accounts' events."""
    client = make_client(engine)
    make_client(engine, account_id=OTHER_ACCOUNT)
    add_events(
        engine,
        *({"at": NOON + timedelta(seconds=number), "actor_id": str(number % 50)} for number in range(3_000)),
        *({"account_id": OTHER_ACCOUNT, "at": NOON + timedelta(seconds=number)} for number in range(20_000)),
    )
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if "LIMIT" in statement:
            statements.append((statement, parameters))

    cursor = find(engine).next_cursor or ""
    event.listen(engine, "before_cursor_execute", note)
    find(engine)
    find(engine, after=cursor)
    find(engine, person="7")
    find(engine, action="deleted")
    find(engine, action="roles-changed")
    find(engine, since="2026-03-01", until="2026-03-01")
    find(engine, key=client.id)
    with read_session(engine) as session:
        assert len(pages.list_actors(session, ACCOUNT)) == 51
    event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 8
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    with engine.connect() as connection:
        for statement, parameters in statements:
            plan = "\n".join(
                " ".join(str(column) for column in row)
                for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            assert "ix_identity_client_events" in plan, plan
            assert "SCAN identity_client_events" not in plan, plan
            assert "Seq Scan" not in plan, plan
            assert "TEMP B-TREE" not in plan, plan


def plan_of(engine: Engine, action: str) -> str:
    """Return how the database reads the first page of events with an action or kind of change."""
    statements: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    find(engine, action=action)
    event.remove(engine, "before_cursor_execute", note)
    [(statement, parameters)] = [each for each in statements if "LIMIT" in each[0]]
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    with engine.connect() as connection:
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
    return "\n".join(" ".join(map(str, row)) for row in rows)


def test_kinds_of_change(engine: Engine) -> None:
    """Events of several actions, and edits of a field among other edits, are found by an index on both databases."""
    changes = {
        "edited roles": {"roles": [["a"], ["b"]], "name": ["x", "y"]},
        "edited secret": {"client_secret": [{}, {"A": "current"}]},
        "edited name": {"name": ["roles", "client_secret"]},
    }
    add_events(
        engine,
        *({"request_id": name, "changes": changed} for name, changed in changes.items()),
        {"action": "created", "request_id": "created", "changes": {"roles": [None, ["a"]]}},
        {"request_id": "foreign", "account_id": OTHER_ACCOUNT, "changes": changes["edited roles"]},
        *({"action": action, "request_id": action} for action in ACTIONS if action not in ("edited", "created")),
        *(
            {"account_id": account, "at": NOON - timedelta(seconds=number), "changes": changes["edited name"]}
            for account in (ACCOUNT, OTHER_ACCOUNT)
            for number in range(1, 5_001)
        ),
    )
    found = {kind: set(request_ids(find(engine, action=kind))) for kind in KINDS}
    secrets, keys = ({action for action in ACTIONS if action.startswith(each)} for each in ("secret ", "client key "))
    assert found == {
        "roles-changed": {"edited roles"},
        "secrets-changed": {"edited secret", "end date set", *secrets} - {"secret tested"},
        "keys-changed": keys,
        "status-changed": {"enabled", "disabled"},
        "created-or-deleted": {"created", "deleted"},
    }
    assert export(engine, action="roles-changed") == ["edited"]
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    for kind in KINDS:
        plan = plan_of(engine, kind)
        assert "ix_identity_client_events" in plan, plan
        assert "SCAN identity_client_events" not in plan, plan
        assert "Seq Scan" not in plan, plan
    roles = plan_of(engine, "roles-changed")
    assert "ix_identity_client_events_roles" in roles, roles


def test_every_action_of_an_account_can_be_filtered_by() -> None:
    platform = {
        action for action in Action if action.value.startswith(("key", "resource server", "checkpoint", "purged"))
    }
    assert set(ACTIONS) == set(Action) - platform
