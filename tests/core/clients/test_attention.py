"""Which clients need attention and why: rows, filter, summary and signal agree."""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any

import pytest
import time_machine
from flask import Flask
from sqlalchemy import Engine, create_engine, delete, event, insert, select, text, update

from tests.support.attention import DAY, HOUR, NOON, SECOND, make_client_in_use
from tests.support.clients import stored
from tests.support.factories import ACCOUNT, CATALOGUE, OTHER_ACCOUNT, PEPPER, insert_clients
from webapp.core.audit import signals
from webapp.core.clients import attention, attention_queries
from webapp.core.clients.attention import FILTERS, Attention, AttentionReason
from webapp.core.clients.attention_queries import Summary
from webapp.core.clients.listing import ListQuery, list_clients
from webapp.core.database import migrations
from webapp.core.database.models import Account, AttentionNotice, ClientSecret, IdentityClient, KeysOnlyRole
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.notifications import attention as notices
from webapp.core.notifications.attention import send_attention_signals
from webapp.core.usage.recorder import Recorder
from webapp.host import EXTENSION

NEW = {"created_at": NOON - DAY}


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def reasons(engine: Engine, *clients: IdentityClient) -> list[list[Attention]]:
    """Return the reasons of each client that needs attention, as its row shows them."""
    with read_session(engine) as session:
        rows = [session.get_one(IdentityClient, client.id) for client in clients]
        found = attention.reasons(session, ACCOUNT, rows)
    return [found.get(client.id, []) for client in clients]


def filtered(engine: Engine, reason: str, account_id: str = ACCOUNT) -> list[str]:
    """Return the client IDs that the list shows with a filter."""
    query = ListQuery.from_arguments({"attention": reason}, CATALOGUE)
    assert query.attention == reason
    with read_session(engine) as session:
        page = list_clients(session, account_id=account_id, query=query)
    assert page.total == len(page.clients)
    return [client.client_id for client in page.clients]


def summary(engine: Engine, account_id: str = ACCOUNT) -> Summary:
    """Return the counts above the list."""
    with read_session(engine) as session:
        return attention_queries.summary(session, account_id)


def forbid_secrets(engine: Engine, roles: Collection[str]) -> None:
    """Let clients with these roles have no secret in both accounts."""
    with unit_of_work(engine) as session:
        session.execute(delete(KeysOnlyRole))
        session.add_all(KeysOnlyRole(account_id=one, role=role) for one in (ACCOUNT, OTHER_ACCOUNT) for role in roles)


LATER, EARLIER = NOON + 10 * DAY, NOON - 10 * DAY
CASES: list[tuple[tuple[dict[str, Any], ...], dict[str, Any], list[Attention]]] = [
    ((), {}, []),
    # A secret that ends: within 30, 14, 7 and 1 days
    (({"ends_at": NOON + 30 * DAY + SECOND},), {}, []),
    *(
        (
            ({"ends_at": NOON + later}, {}),
            {},
            [Attention(AttentionReason.ENDING, "A", NOON + later, days)],
        )
        for later, days in ((30 * DAY, 30), (29 * DAY + SECOND, 30), (4 * DAY, 4), (DAY, 1), (SECOND, 1))
    ),
    (({"ends_at": NOON},), {}, []),
    (({"ends_at": LATER, "paused_at": NOON}, {}), {}, []),
    (
        ({"ends_at": LATER}, {"ends_at": NOON + DAY}),
        {},
        [
            Attention(AttentionReason.ENDING, "B", NOON + DAY, 1),
            Attention(AttentionReason.ENDING, "A", LATER, 10),
        ],
    ),
    # Never used
    ((), {"created_at": NOON - 7 * DAY + SECOND, "last_token_at": None}, []),
    (
        (),
        {"created_at": NOON - 7 * DAY, "last_token_at": None},
        [Attention(AttentionReason.UNUSED, None, NOON - 7 * DAY, 7)],
    ),
    # Idle
    ((), {"last_token_at": NOON - 90 * DAY + SECOND}, []),
    ((), {"last_token_at": NOON - 90 * DAY}, [Attention(AttentionReason.IDLE, None, NOON - 90 * DAY, 90)]),
    # An old secret
    (({"created_at": NOON - 365 * DAY + SECOND},), {}, []),
    (
        ({"created_at": NOON - 365 * DAY},),
        {},
        [Attention(AttentionReason.OLD, "A", NOON - 365 * DAY, 365)],
    ),
    (({"created_at": NOON - 366 * DAY, "ends_at": NOON}, {}), {}, []),
    (
        ({"created_at": NOON - 400 * DAY, "paused_at": NOON}, {}),
        {},
        [Attention(AttentionReason.OLD, "A", NOON - 400 * DAY, 400)],
    ),
    # Two secrets
    (({"created_at": NOON - 40 * DAY}, {"created_at": NOON - 30 * DAY + SECOND}), {}, []),
    (
        ({"created_at": NOON - 40 * DAY}, {"created_at": NOON - 30 * DAY, "paused_at": NOON}),
        {},
        [Attention(AttentionReason.TWO, None, NOON - 30 * DAY, 30)],
    ),
    (({"created_at": NOON - 40 * DAY, "ends_at": NOON}, {"created_at": NOON - 35 * DAY}), {}, []),
    # Refusals
    ((), {"counts": {(0, "issued"): 0, (0, "wrong secret"): 4}}, []),
    (
        (),
        {"counts": {(0, "wrong secret"): 3, (1, "disabled"): 2}},
        [Attention(AttentionReason.REFUSED, refused=5, requests=5)],
    ),
    ((), {"counts": {(0, "issued"): 8, (0, "throttled"): 2}}, []),
    (
        (),
        {"counts": {(0, "issued"): 7, (0, "scope not allowed"): 2}},
        [Attention(AttentionReason.REFUSED, refused=2, requests=9)],
    ),
    ((), {"counts": {(2, "wrong secret"): 100}}, []),
    # A secret, with a role whose clients may have none
    ((), {"roles": ["MerchantUser", "CreatePayment"]}, [Attention(AttentionReason.SECRET)]),
    (({"paused_at": NOON},), {"roles": ["CreatePayment"]}, [Attention(AttentionReason.SECRET)]),
    (({"ends_at": NOON},), {"roles": ["CreatePayment"]}, []),
    # Not reviewed
    ((), {"reviewed_at": NOON - 180 * DAY + SECOND}, []),
    ((), {"reviewed_at": NOON - 180 * DAY}, [Attention(AttentionReason.OVERDUE, None, NOON - 180 * DAY, 180)]),
    ((), {"reviewed_at": None}, [Attention(AttentionReason.OVERDUE, None, NOON - 500 * DAY, 500)]),
    ((), {"reviewed_at": None, "created_at": NOON - 180 * DAY + SECOND}, []),
    # Several reasons, the most urgent first
    (
        ({"created_at": NOON - 400 * DAY, "ends_at": LATER}, {"created_at": NOON - 40 * DAY}),
        {"last_token_at": NOON - 100 * DAY, "counts": {(0, "ended secret"): 5}},
        [
            Attention(AttentionReason.ENDING, "A", LATER, 10),
            Attention(AttentionReason.REFUSED, refused=5, requests=5),
            Attention(AttentionReason.IDLE, None, NOON - 100 * DAY, 100),
            Attention(AttentionReason.OLD, "A", NOON - 400 * DAY, 400),
            Attention(AttentionReason.TWO, None, NOON - 40 * DAY, 40),
        ],
    ),
]


def test_rows_filters_and_summary_agree_on_every_case(engine: Engine) -> None:
    """Both sides of each limit; disabled and deleted clients and other accounts are left out (I4, A3)."""
    clients = []
    for secrets, columns, found in CASES:
        forbid_secrets(engine, ())
        clients.append(client := make_client_in_use(engine, *secrets, **columns))
        make_client_in_use(engine, *secrets, **columns, enabled=False)
        make_client_in_use(engine, *secrets, **columns, deleted_at=NOON)
        make_client_in_use(engine, *secrets, **columns, account_id=OTHER_ACCOUNT)
        forbid_secrets(engine, ["CreatePayment"])
        assert reasons(engine, client) == [found], (secrets, columns)
    assert reasons(engine, *clients) == [found for _, _, found in CASES]
    expected: dict[str, list[str]] = {reason: [] for reason in FILTERS}
    for client, (_, _, found) in zip(clients, CASES, strict=True):
        for reason in {"any" if found else None, *(one.reason for one in found)} - {None}:
            expected[str(reason)].append(client.client_id)
    for reason, ids in expected.items():
        assert filtered(engine, reason) == ids, reason
        assert len(filtered(engine, reason, OTHER_ACCOUNT)) == len(ids)
    counted = summary(engine)
    assert counted.by_reason == {reason: len(expected[reason]) for reason in AttentionReason}
    assert counted.first_end_at == NOON + SECOND
    assert (counted.ending, counted.keys_end) == (
        sum(one.reason == AttentionReason.ENDING for _, _, those in CASES for one in those),
        False,
    )


def test_the_setting_says_when_a_review_is_overdue(engine: Engine) -> None:
    client = make_client_in_use(engine, reviewed_at=NOON - 90 * DAY)
    stricter = attention.with_review_days(engine, 90)
    assert reasons(engine, client) == [[]]
    assert reasons(stricter, client) == [[Attention(AttentionReason.OVERDUE, None, NOON - 90 * DAY, 90)]]
    assert filtered(stricter, AttentionReason.OVERDUE) == filtered(stricter, "any") == [client.client_id]
    assert summary(stricter) == Summary({AttentionReason.OVERDUE: 1})


def test_an_account_without_findings(engine: Engine) -> None:
    make_client_in_use(engine)
    make_client_in_use(engine, {"ends_at": LATER}, account_id=OTHER_ACCOUNT)
    assert summary(engine) == Summary({})
    assert summary(engine, "nobody") == Summary({})


@pytest.mark.parametrize(("days", "within"), [(1, 1), (2, 7), (7, 7), (8, 14), (14, 14), (15, 30), (30, 30)])
def test_an_end_date_is_reported_again_at_each_threshold(days: int, within: int) -> None:
    one = Attention(AttentionReason.ENDING, "A", NOON, days)
    assert (one.within_days, one.key) == (within, f"ending A {within}")


def test_a_page_of_rows_takes_four_statements(engine: Engine) -> None:
    clients = [make_client_in_use(engine, {"ends_at": LATER}) for _ in range(3)]
    statements: list[str] = []
    with read_session(engine) as session:
        rows = [session.get_one(IdentityClient, client.id) for client in clients]
        event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        assert len(attention.reasons(session, ACCOUNT, rows)) == 3
    assert len(statements) == 4


def test_the_cost_does_not_grow_with_other_accounts(engine: Engine) -> None:
    """Filter and summary use the indexes of the account, of secrets and of counts."""
    unlimited = create_engine(engine.url)  # filling takes longer than a statement of ours may
    with unlimited.begin() as connection:
        connection.execute(insert(Account).values([{"id": ACCOUNT, "feature_enabled": True}]))
    insert_clients(unlimited, OTHER_ACCOUNT, 20_000)
    insert_clients(unlimited, ACCOUNT, 500)
    secret = "SELECT id, id, 'A', '', 1, created_at, '', NULL, NULL, NULL, NULL FROM identity_clients"
    columns = (
        "id, client_key, label, secret_hash, pepper_version, created_at, created_by,"
        " ends_at, paused_at, last_used_at, last_used_address"
    )
    with unlimited.begin() as connection:
        connection.execute(text("DELETE FROM identity_client_secrets"))
        connection.execute(text(f"INSERT INTO identity_client_secrets ({columns}) {secret}"))
        connection.execute(
            text(
                "INSERT INTO identity_client_token_request_counts (day, client_key, secret_label, outcome, count)"
                " SELECT '2026-03-01', id, 'A', 'issued', 1 FROM identity_clients"
            )
        )
        connection.execute(
            text(
                "INSERT INTO identity_client_refusal_days (account_id, day, client_key, refused, requests)"
                " SELECT account_id, '2026-03-01', id, 1, 100 FROM identity_clients"
            )
        )
        key = "id, client_key, label, thumbprint, algorithm, public_jwk, created_at, created_by"
        connection.execute(
            text(
                f"INSERT INTO identity_client_keys ({key})"
                " SELECT id, id, '1', client_id, 'ES256', '', created_at, '' FROM identity_clients"
            )
        )
        others: list[dict[str, Any]] = [{"id": f"account-{number}", "feature_enabled": True} for number in range(5_000)]
        connection.execute(insert(Account), others)
        rules = [{"account_id": one["id"], "role": "CreatePayment"} for one in [*others, {"id": ACCOUNT}]]
        connection.execute(insert(KeysOnlyRole), rules)
        connection.execute(text("ANALYZE"))
    unlimited.dispose()
    statements: list[tuple[str, Any]] = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append((arguments[2], arguments[3])))
    for reason in FILTERS:
        filtered(engine, reason)
    summary(engine)
    explain = {"sqlite": "EXPLAIN QUERY PLAN", "postgresql": "EXPLAIN"}[engine.dialect.name]
    with engine.connect() as connection:
        for statement, parameters in [each for each in statements if each[0].startswith("SELECT")]:
            plan = "\n".join(
                " ".join(str(column) for column in row)
                for row in connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
            assert "SCAN identity_client" not in plan, (statement, plan)  # SQLite
            assert "Seq Scan on" not in plan, (statement, plan)  # PostgreSQL


# The last token


def test_the_last_token_is_stored_once_a_minute(engine: Engine) -> None:
    """A request that authenticated but got no token counts as a use of the secret, not as a token."""
    client, other = make_client_in_use(engine, last_token_at=None), make_client_in_use(engine, last_token_at=None)
    recorder = Recorder(engine, PEPPER)

    def last_token_after(outcome: Outcome | AuthenticationFailure, label: str | None, at: datetime) -> datetime | None:
        recorder.record(client.id, outcome, label, client_id=client.client_id, at=at, address=None, scope="")
        recorder.write()
        return stored(engine, client.id).last_token_at

    assert last_token_after(Outcome.SCOPE_NOT_ALLOWED, "A", NOON) is None
    assert last_token_after(AuthenticationFailure.WRONG_SECRET, None, NOON) is None
    assert last_token_after(Outcome.ISSUED, "A", NOON) == NOON
    assert last_token_after(Outcome.ISSUED, "A", NOON + 59 * SECOND) == NOON
    assert last_token_after(Outcome.ISSUED, "B", NOON + 90 * SECOND) == NOON + 90 * SECOND
    assert last_token_after(Outcome.ISSUED, "A", NOON) == NOON + 90 * SECOND
    assert stored(engine, client.id).version == client.version
    assert stored(engine, other.id).last_token_at is None


def test_the_upgrade_takes_the_last_token_from_the_last_use(engine: Engine) -> None:
    """The migration fills the column from the last use of the client's secrets."""
    used = make_client_in_use(engine, {"last_used_at": NOON - DAY}, {"last_used_at": NOON - HOUR})
    unused = make_client_in_use(engine)
    migrations.downgrade(engine, "0004")
    migrations.upgrade(engine)
    assert [stored(engine, client.id).last_token_at for client in (used, unused)] == [NOON - HOUR, None]


# The signal


@pytest.fixture
def heard() -> Iterator[list[tuple[str, str]]]:
    """Return the signals that were sent: client and reason."""
    found: list[tuple[str, str]] = []

    def receive(_engine: Engine, *, client_id: str, attention: Attention, **facts: Any) -> None:
        assert facts.keys() == {"account_id", "client_key"}
        found.append((client_id, attention.key))

    with signals.attention.connected_to(receive):
        yield found


def test_a_reason_is_signalled_once_and_again_when_it_returns(
    engine: Engine, clock: time_machine.Traveller, heard: list[tuple[str, str]]
) -> None:
    client = make_client_in_use(engine, {"ends_at": NOON + 20 * DAY}, {}, client_id="acme-claims")
    make_client_in_use(engine, {"ends_at": LATER}, client_id="acme-foreign", account_id=OTHER_ACCOUNT)
    assert send_attention_signals(engine) == 2
    assert sorted(heard) == [("acme-claims", "ending A 30"), ("acme-foreign", "ending A 14")]
    assert send_attention_signals(engine) == 0
    clock.shift(6 * DAY)
    assert send_attention_signals(engine) == 2
    assert sorted(heard[2:]) == [("acme-claims", "ending A 14"), ("acme-foreign", "ending A 7")]

    def set_end(ends_at: datetime | None) -> None:
        with unit_of_work(engine) as session:
            session.execute(
                update(ClientSecret)
                .where(ClientSecret.client_key == client.id, ClientSecret.label == "A")
                .values(ends_at=ends_at)
            )

    set_end(None)
    assert send_attention_signals(engine) == 0
    set_end(NOON + 20 * DAY)
    assert send_attention_signals(engine) == 1
    assert heard[4:] == [("acme-claims", "ending A 14")]


def test_many_clients_are_notified_of_in_batches(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, heard: list[tuple[str, str]]
) -> None:
    """Memory does not grow with the account, and no client is left for the next run."""
    monkeypatch.setattr(notices, "CLIENTS_AT_ONCE", 2)
    monkeypatch.setattr(notices, "ROWS_MAX", 3)
    clients = [make_client_in_use(engine, {"ends_at": LATER}) for _ in range(7)]
    assert send_attention_signals(engine) == 7
    assert sorted(heard) == sorted((client.client_id, "ending A 14") for client in clients)
    with unit_of_work(engine) as session:
        session.execute(update(ClientSecret).values(ends_at=None))
    assert send_attention_signals(engine) == 0
    with read_session(engine) as session:
        assert session.scalars(select(AttentionNotice)).all() == []


def test_accounts_without_the_feature_send_no_signal(engine: Engine, heard: list[tuple[str, str]]) -> None:
    make_client_in_use(engine, {"ends_at": LATER})
    with unit_of_work(engine) as session:
        session.get_one(Account, ACCOUNT).feature_enabled = False
    assert send_attention_signals(engine) == 0
    assert heard == []


def test_a_failing_receiver_is_called_again(engine: Engine, heard: list[tuple[str, str]]) -> None:
    make_client_in_use(engine, {"ends_at": LATER}, client_id="acme-claims")
    make_client_in_use(engine, {"ends_at": LATER}, client_id="acme-others")

    def fail(_engine: Engine, *, client_id: str, **_: Any) -> None:
        if client_id == "acme-claims":
            raise OSError("no mail server")

    with signals.attention.connected_to(fail):
        assert send_attention_signals(engine) == 1
    assert send_attention_signals(engine) == 1
    assert [client_id for client_id, _ in heard].count("acme-others") == 1


def test_the_command_for_cron(app: Flask, heard: list[tuple[str, str]]) -> None:
    make_client_in_use(app.extensions[EXTENSION].engine, {"ends_at": LATER}, client_id="acme-claims")
    run = app.test_cli_runner().invoke
    for printed in ("New reasons for attention: 1.\n", "New reasons for attention: 0.\n"):
        result = run(args=["identity-clients", "attention"])
        assert (result.exit_code, result.output) == (0, printed)
    assert heard == [("acme-claims", "ending A 14")]
