"""Token requests: counted, the latest stored one by one, and visible to their own account only (L2, L3)."""

import itertools
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier

import pytest
import time_machine
from sqlalchemy import Engine, func, select, text

from tests.support.clients import stored
from tests.support.endpoint import add_secret, change_client
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, PEPPER, make_client
from tests.support.usage import ADDRESS, CANARY, NOON, OTHER_ADDRESS, callers, counts, last_used, recent, record
from webapp.core.database.engine import make_engine
from webapp.core.database.models import ClaimedClientId, IdentityClient, TokenRequest
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.usage import pending, queries, stored_requests
from webapp.core.usage import recorder as recorder_module
from webapp.core.usage.recorder import Recorder

SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def recorder(engine: Engine) -> Recorder:
    """Return a recorder that writes only when the test calls it."""
    return Recorder(engine, PEPPER)


def kept(engine: Engine) -> int:
    """Return the number of token requests in the database."""
    with read_session(engine) as session:
        return session.scalar(select(func.count()).select_from(TokenRequest)) or 0


# Counting


def test_requests_are_counted_per_secret_day_and_outcome(engine: Engine, recorder: Recorder) -> None:
    """Days are UTC, and later writes are added (L2)."""
    client, other = make_client(engine), make_client(engine)
    midnight = datetime(2026, 3, 2, tzinfo=UTC)
    for at in (midnight - SECOND, midnight, midnight + SECOND):
        record(recorder, client, at=at)
    record(recorder, client, label="B")
    record(recorder, client, AuthenticationFailure.WRONG_SECRET, None)
    record(recorder, other)
    recorder.write()
    record(recorder, client)
    recorder.write()
    recorder.write()
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    assert counts(engine, client) == {
        (first, "A", "issued"): 2,
        (second, "A", "issued"): 2,
        (first, "B", "issued"): 1,
        (first, "", "wrong secret"): 1,
    }
    assert counts(engine, other) == {(first, "A", "issued"): 1}


@time_machine.travel("2026-03-31 23:59:00+00:00", tick=False)
def test_the_shown_days_end_today(engine: Engine, recorder: Recorder) -> None:
    client = make_client(engine)
    for days_ago in (0, 1, 29, 30):
        record(recorder, client, at=datetime.now(UTC) - days_ago * DAY)
    recorder.write()
    with read_session(engine) as session:
        shown = [row.day for row in queries.daily_counts(session, ACCOUNT, client.id)]
        assert [row.day for row in queries.daily_counts(session, ACCOUNT, client.id, days=1)] == [date(2026, 3, 31)]
    assert shown == [date(2026, 3, 2), date(2026, 3, 30), date(2026, 3, 31)]


def test_concurrent_writers_lose_nothing(engine: Engine) -> None:
    """Four writers with their own engines update the same clients in different orders (L2)."""
    clients = [make_client(engine) for _ in range(6)]
    barrier = Barrier(4)

    def write(number: int) -> None:
        own = make_engine(engine.url.render_as_string(hide_password=False))
        recorder = Recorder(own, PEPPER)
        for round_number in range(5):
            for client in clients[number:] + clients[:number]:
                for second in range(10):
                    record(recorder, client, at=NOON + (10 * round_number + second) * SECOND)
            barrier.wait()
            recorder.write()
            while recorder._pending:  # the other writers locked the database
                recorder.write()
        own.dispose()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    for client in clients:
        assert counts(engine, client) == {(NOON.date(), "A", "issued"): 200}
        assert len(recent(engine, client)) == 200


# Single requests


def test_the_latest_requests_are_stored(engine: Engine, recorder: Recorder) -> None:
    """Time, true reason, secret label, address and requested scope (L2)."""
    client = make_client(engine)
    record(recorder, client, AuthenticationFailure.PAUSED_SECRET, "B", NOON, address=OTHER_ADDRESS, scope="API")
    record(recorder, client, AuthenticationFailure.WRONG_SECRET, None, NOON + SECOND, address=None)
    record(recorder, client, at=NOON + 2 * SECOND)
    recorder.write()
    assert [(row.at, row.outcome, row.secret_label, row.address, row.scope) for row in recent(engine, client)] == [
        (NOON + 2 * SECOND, "issued", "A", ADDRESS, ""),
        (NOON + SECOND, "wrong secret", None, None, ""),
        (NOON, "paused secret", "B", OTHER_ADDRESS, "API"),
    ]


@pytest.mark.parametrize(
    ("asked", "shown"),
    [
        ("x" * 2000, "x" * 1000),
        ("a\0b\r\n\t\x1bé\ud800" + chr(0x202E), "a?b???????"),
        ("%_'\"\\<script> ~", "%_'\"\\<script> ~"),
    ],
    ids=["too long", "not printable", "awkward"],
)
def test_any_requested_scope_can_be_stored(engine: Engine, recorder: Recorder, asked: str, shown: str) -> None:
    client = make_client(engine)
    record(recorder, client, Outcome.SCOPE_MALFORMED, scope=asked)
    recorder.write()
    assert [row.scope for row in recent(engine, client)] == [shown]


def test_a_flood_of_refusals_stores_few_rows(engine: Engine, recorder: Recorder) -> None:
    """100,000 refusals in ten writes: memory is bounded, and every one is counted (L2)."""
    client, bystander = make_client(engine), make_client(engine)
    record(recorder, bystander)
    for number in range(100_000):
        if number % 10_000 == 9_999:
            recorder.write()
        record(recorder, client, AuthenticationFailure.WRONG_SECRET, None, NOON + number * timedelta(milliseconds=1))
    assert len(recorder._pending.requests) <= pending.REQUESTS_MAX
    recorder.write()
    assert kept(engine) == 1 + 10 * stored_requests.REQUESTS_PER_WRITE_MAX + 1
    assert counts(engine, client) == {(NOON.date(), "", "wrong secret"): 100_000}
    latest = recent(engine, client)
    assert len(latest) == queries.LATEST_MAX
    assert latest[0].at == NOON + 99_999 * timedelta(milliseconds=1)
    assert len(recent(engine, bystander)) == 1


def test_a_busy_caller_does_not_displace_refusals(engine: Engine, recorder: Recorder) -> None:
    """Each write stores the latest issued and the latest refused requests (L2)."""
    client = make_client(engine)
    record(recorder, client, AuthenticationFailure.WRONG_SECRET, None, NOON)
    for number in range(1, 2 * stored_requests.REQUESTS_PER_WRITE_MAX):
        record(recorder, client, at=NOON + number * timedelta(milliseconds=1))
    recorder.write()
    assert kept(engine) == stored_requests.REQUESTS_PER_WRITE_MAX + 1


def test_the_requests_of_a_day_are_bounded(engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per client and UTC day; rows over the limit are deleted with the next write (L2)."""
    monkeypatch.setattr(stored_requests, "REQUESTS_PER_DAY_MAX", 200)
    monkeypatch.setattr(stored_requests, "SURPLUS_REQUESTS", 50)
    client, bystander = make_client(engine), make_client(engine)
    for day in (NOON - timedelta(days=1), NOON):
        for number in range(120):
            for second in range(5):
                record(recorder, client, at=day + (5 * number + second) * SECOND)
            recorder.write()
        record(recorder, bystander, at=day)
    recorder.write()
    rows = kept(engine) - 2
    assert 400 <= rows < 1200
    assert len(recent(engine, bystander)) == 2
    with read_session(engine) as session:
        days = Counter(at.date() for at in session.scalars(select(TokenRequest.at)))
    assert min(days.values()) > 200


def test_requests_carry_account_and_request_id(engine: Engine, recorder: Recorder) -> None:
    """The account is read from the database where the request does not know it."""
    client = make_client(engine, account_id=OTHER_ACCOUNT)
    for account_id in (None, OTHER_ACCOUNT):
        recorder.record(
            client.id,
            AuthenticationFailure.WRONG_SECRET,
            None,
            client_id=client.client_id,
            at=NOON,
            address=None,
            scope="",
            account_id=account_id,
            request_id="4bf92f3577b34da6",
        )
    recorder.write()
    assert [(row.account_id, row.request_id) for row in recent(engine, client, OTHER_ACCOUNT)] == [
        (OTHER_ACCOUNT, "4bf92f3577b34da6")
    ] * 2


def test_the_queue_is_bounded(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of too many requests the oldest are only counted, and counts that do not fit are logged (L2)."""
    monkeypatch.setattr(pending, "REQUESTS_MAX", 3)
    monkeypatch.setattr(pending, "UNKNOWN_REQUESTS_MAX", 3)
    monkeypatch.setattr(pending, "COUNTS_MAX", 2)
    recorder.write()
    recorder._reset()
    clients = [make_client(engine) for _ in range(3)]
    for second in range(5):
        for client in clients:
            record(recorder, client, at=NOON + second * SECOND)
        record(recorder, None, AuthenticationFailure.UNKNOWN, None, client_id=f"unknown-{second}")
    recorder.write()
    assert [counts(engine, client) for client in clients] == [{(NOON.date(), "A", "issued"): 5}] * 2 + [{}]
    assert [[row.at for row in recent(engine, client)] for client in clients] == [[NOON + 4 * SECOND]] * 3
    assert "Token requests not counted, since too many clients made them at once: 5." in caplog.text
    assert "Token requests with unknown client IDs: 5, such as" in caplog.text


@pytest.mark.parametrize("clients_per_second", [2, 3])
def test_one_write_takes_a_bounded_number_of_clients(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch, clients_per_second: int
) -> None:
    """The others wait for the next write, with their requests; those that waited longest come first, none is lost."""
    monkeypatch.setattr(recorder_module, "COUNTS_PER_WRITE_MAX", clients_per_second)
    recorder._reset()
    clients = [make_client(engine) for _ in range(5)]
    for second in range(2):
        for client in clients:
            record(recorder, client, at=NOON + second * SECOND)
    recorder.write()
    written = [bool(counts(engine, client)) for client in clients]
    assert written == [index < clients_per_second for index in range(5)]
    assert [len(recent(engine, client)) for client in clients] == [2 * each for each in written]
    record(recorder, clients[-1], at=NOON + 2 * SECOND)
    recorder.write()
    recorder.write()
    assert [counts(engine, client) for client in clients] == [
        *[{(NOON.date(), "A", "issued"): 2}] * 4,
        {(NOON.date(), "A", "issued"): 3},
    ]
    assert [len(recent(engine, client)) for client in clients] == [2, 2, 2, 2, 3]


def test_one_write_takes_a_bounded_time(engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing is slow, the next write takes fewer clients, but never less than the minimum."""
    monkeypatch.setattr(recorder_module, "COUNTS_PER_WRITE_MAX", 4)
    monkeypatch.setattr(recorder_module, "COUNTS_PER_WRITE_MIN", 1)
    cpu_seconds = itertools.count(step=2 * recorder_module.WRITE_CPU_SECONDS)
    monkeypatch.setattr("time.thread_time", lambda: next(cpu_seconds))
    recorder._reset()
    clients = [make_client(engine) for _ in range(9)]
    for client in clients:
        record(recorder, client, at=NOON)
    written = []
    for _ in range(4):
        recorder.write()
        written.append(sum(bool(counts(engine, client)) for client in clients))
    assert written == [4, 6, 7, 8]


# Last used


def test_last_use_is_accurate_to_the_minute(engine: Engine, recorder: Recorder) -> None:
    """A busy secret is written once a minute, and the time never goes back."""
    for moments, expected in (
        ([NOON], NOON),
        ([NOON + 5 * SECOND, NOON + 59 * SECOND], NOON + 5 * SECOND),
        ([NOON + 5 * SECOND, NOON + MINUTE], NOON + MINUTE),
        ([NOON + MINUTE, NOON], NOON + MINUTE),
    ):
        client = make_client(engine)
        for moment in moments:
            record(recorder, client, at=moment)
            recorder.write()
        assert last_used(engine, client) == (expected, ADDRESS, "A"), moments


def test_last_use_of_a_client_is_the_latest_of_its_secrets(engine: Engine, recorder: Recorder) -> None:
    client, unused = make_client(engine), make_client(engine)
    add_secret(engine, client, "another-secret-of-the-client")
    record(recorder, client, label="B", at=NOON)
    record(recorder, client, label="A", at=NOON + MINUTE, address=OTHER_ADDRESS)
    record(recorder, client, label="B", at=NOON + 2 * SECOND)
    recorder.write()
    assert last_used(engine, client) == (NOON + MINUTE, OTHER_ADDRESS, "A")
    assert last_used(engine, unused) is None
    secrets = stored(engine, client.id).secrets
    assert {secret.label: secret.last_used_at for secret in secrets} == {"A": NOON + MINUTE, "B": NOON + 2 * SECOND}


def test_a_successful_authentication_is_a_use_of_the_secret(engine: Engine, recorder: Recorder) -> None:
    """A refused scope counts too; an ended secret or none that matches does not."""
    clients = {outcome: make_client(engine) for outcome in (*Outcome, *AuthenticationFailure)}
    for outcome, client in clients.items():
        record(recorder, client, outcome, "A")
        record(recorder, client, outcome, None, NOON + MINUTE)
    recorder.write()
    used = {outcome for outcome, client in clients.items() if last_used(engine, client) == (NOON, ADDRESS, "A")}
    assert used == set(Outcome)
    assert not any(last_used(engine, client) for outcome, client in clients.items() if outcome not in used)


# Caller addresses


def test_a_successful_authentication_records_the_caller(engine: Engine, recorder: Recorder) -> None:
    """A refused scope counts too; an ended secret or none that matches does not (A8)."""
    clients = {outcome: make_client(engine) for outcome in (*Outcome, *AuthenticationFailure)}
    for outcome, client in clients.items():
        record(recorder, client, outcome, "A")
        record(recorder, client, outcome, None, address=OTHER_ADDRESS)
        record(recorder, client, outcome, "A", address=None)
    recorder.write()
    assert {outcome for outcome, client in clients.items() if callers(engine, client)} == set(Outcome)
    assert callers(engine, clients[Outcome.ISSUED]) == {ADDRESS: NOON}


def test_a_callers_time_is_accurate_to_the_minute(engine: Engine, recorder: Recorder) -> None:
    """Each process writes it once a minute at most, and it never goes back."""
    client = make_client(engine)
    for moment, address, expected in (
        (NOON, ADDRESS, {ADDRESS: NOON}),
        (NOON + 59 * SECOND, ADDRESS, {ADDRESS: NOON}),
        (NOON + 59 * SECOND, OTHER_ADDRESS, {ADDRESS: NOON, OTHER_ADDRESS: NOON + 59 * SECOND}),
        (NOON + MINUTE, ADDRESS, {ADDRESS: NOON + MINUTE, OTHER_ADDRESS: NOON + 59 * SECOND}),
        (NOON, ADDRESS, {ADDRESS: NOON + MINUTE, OTHER_ADDRESS: NOON + 59 * SECOND}),
    ):
        record(recorder, client, at=moment, address=address)
        recorder.write()
        assert callers(engine, client) == expected


def test_about_200_addresses_of_a_client_are_kept(engine: Engine, recorder: Recorder) -> None:
    """Within one write and over many; those with the oldest calls are removed."""
    at_once, one_by_one = make_client(engine), make_client(engine)
    for number in range(260):
        record(recorder, at_once, at=NOON + number * SECOND, address=f"2001:db8::{number:x}")
    recorder.write()
    assert callers(engine, at_once) == {f"2001:db8::{number:x}": NOON + number * SECOND for number in range(60, 260)}
    for number in range(700):
        record(recorder, one_by_one, at=NOON + number * SECOND, address=f"2001:db8::{number:x}")
        recorder.write()
    known = callers(engine, one_by_one)
    assert 200 <= len(known) < 600
    assert known.keys() >= {f"2001:db8::{number:x}" for number in range(500, 700)}


# Other accounts


def test_another_account_sees_nothing(engine: Engine, recorder: Recorder) -> None:
    """Another account's queries return nothing (L2, A3)."""
    client = make_client(engine)
    make_client(engine, account_id=OTHER_ACCOUNT)
    record(recorder, client, at=datetime.now(UTC))
    recorder.write()
    with read_session(engine) as session:
        for account_id, seen in ((ACCOUNT, 1), (OTHER_ACCOUNT, 0), ("nobody", 0)):
            assert len(queries.recent_requests(session, account_id, client.id)) == seen
            assert len(queries.daily_counts(session, account_id, client.id)) == seen
            assert len(queries.last_uses(session, account_id, [client.id])) == seen
            assert len(queries.caller_addresses(session, account_id, client.id)) == seen


# Unknown client IDs


def everything_in(engine: Engine) -> str:
    """Return every row of every table of ours as text."""
    with engine.connect() as connection:
        tables = [table.name for table in IdentityClient.metadata.sorted_tables]
        return "".join(str(connection.execute(text(f"SELECT * FROM {table}")).all()) for table in tables)


def test_an_unknown_client_id_is_logged_as_four_characters_and_a_digest(
    engine: Engine, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """People paste secrets there. The digest is keyed, and equal in every process (L3)."""
    make_client(engine)
    caplog.set_level(logging.DEBUG)
    lines = []
    for one in (recorder, Recorder(engine, PEPPER), Recorder(engine, b"another pepper of 32 bytes or so")):
        record(one, None, AuthenticationFailure.UNKNOWN, None)
        record(one, None, AuthenticationFailure.UNKNOWN, None)
        record(one, None, AuthenticationFailure.UNKNOWN, None, client_id="hunter2-again", address=OTHER_ADDRESS)
        record(one, None, AuthenticationFailure.MALFORMED, None, client_id=f"{CANARY}\0\r\n")
        one.write()
        lines.append(next(line for line in caplog.messages[::-1] if "unknown client IDs" in line))
    assert lines[0] == lines[1] != lines[2]
    start, most, second, third = lines[0].replace("such as ", "").removesuffix(".").split(", ")
    assert start == "Token requests with unknown client IDs: 4"
    assert most.startswith("hunt...")
    assert most.endswith(f" from {ADDRESS} (2)")
    assert {second.partition("...")[0].partition(" ")[0], third} == {"hunt", f"malformed from {ADDRESS} (1)"}
    assert CANARY not in caplog.text + everything_in(engine)
    assert CANARY[4:12] not in caplog.text


def test_a_former_id_is_recorded_at_its_client(engine: Engine, recorder: Recorder) -> None:
    """The owner can find a caller that still sends a former ID, or other letter case."""
    client = make_client(engine, client_id="northwind-old")
    make_client(engine, client_id="northwind-ol2")
    with unit_of_work(engine) as session:
        session.add(ClaimedClientId(client_id_folded="northwind-new", client_key=client.id))
    change_client(engine, client, client_id="northwind-new")
    for second, sent in enumerate(["northwind-old", "NORTHWIND-old", "Northwind-New"]):
        record(
            recorder, None, AuthenticationFailure.UNKNOWN, None, client_id=sent, at=NOON + second * SECOND, scope="API"
        )
    record(recorder, None, AuthenticationFailure.MALFORMED, None, client_id="northwind-new", at=NOON + 3 * SECOND)
    recorder.write()
    assert [(row.outcome, row.secret_label, row.address, row.scope) for row in recent(engine, client)] == [
        ("malformed", None, ADDRESS, ""),
        *[("unknown", None, ADDRESS, "API")] * 3,
    ]
    assert sum(counts(engine, client).values()) == kept(engine) == 4
