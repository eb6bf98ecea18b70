"""`flask identity-clients purge`: rows past their retention are deleted, and no others (L1, T13)."""

import sqlite3
from contextlib import closing
from datetime import date, timedelta
from typing import Any

import pytest
from click.testing import Result
from sqlalchemy import Engine, func, insert, select, text

from tests.support.endpoint import Endpoint, settings
from tests.support.factories import make_client
from tests.support.notifications import make_target
from webapp.core import retention
from webapp.core.database.models import (
    AuditEvent,
    CallerAddress,
    IdentityClient,
    Notification,
    RevokedToken,
    TokenRequest,
    TokenRequestCount,
    utc_now,
)
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.notifications.outbox import add_message
from webapp.settings import Settings, SettingsError

DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def purge(engine: Engine, **overrides: Any) -> Result:
    """Run the command, with one retention for single token requests and their counts."""
    overrides = {"REQUEST_LOG_DAYS": overrides.get("TOKEN_REQUEST_RETENTION_DAYS", 90)} | overrides
    return Endpoint(engine, **overrides).app.test_cli_runner().invoke(args=["identity-clients", "purge"])


def add_event(engine: Engine, age: timedelta, number: int = 0) -> None:
    """Add an audit event of this age."""
    row = {"account_id": "northwind", "actor_id": "42", "actor_label": "Hannah", "action": "edited", "changes": {}}
    with unit_of_work(engine) as session:
        session.execute(insert(AuditEvent).values(at=utc_now() - age, request_id=str(number), **row))


def add_request(engine: Engine, client: IdentityClient, age: timedelta, number: int = 0) -> None:
    """Add a token request of this age from an address of its own, and a count of its day."""
    at = utc_now() - age
    with unit_of_work(engine) as session:
        session.merge(CallerAddress(client_key=client.id, address=f"day {age.days}", last_at=at))
        session.add(TokenRequest(client_key=client.id, at=at, number=number, outcome="issued", scope=""))
        session.merge(
            TokenRequestCount(day=at.date(), client_key=client.id, secret_label="A", outcome="issued", count=1)
        )


def left(engine: Engine, table: type[Any]) -> int:
    """Return the number of rows of a table."""
    with read_session(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def events(engine: Engine, action: str) -> list[AuditEvent]:
    """Return the events with this action."""
    with read_session(engine) as session:
        return list(session.scalars(select(AuditEvent).where(AuditEvent.action == action)))


def test_only_rows_past_their_retention_are_deleted(engine: Engine) -> None:
    """Events after 400 days, token requests and counts after 90, by default (L1)."""
    for age in (1000 * DAY, 401 * DAY, 400 * DAY + MINUTE, 399 * DAY, 30 * DAY, 0 * DAY):
        add_event(engine, age)
    client, other = make_client(engine), make_client(engine)
    for age in (0 * DAY, 90 * DAY - MINUTE, 90 * DAY + MINUTE, 91 * DAY, 500 * DAY):
        add_request(engine, client, age)
        add_request(engine, other, age)
    result = purge(engine)
    assert result.exit_code == 0
    assert result.output.startswith("Deleted: 2 events, 6 token requests, ")
    assert "6 addresses of callers" in result.output
    now = utc_now()
    with read_session(engine) as session:
        ages = {(now - at).days for at in session.scalars(select(AuditEvent.at).where(AuditEvent.action == "edited"))}
        requests = [(now - at).days for at in session.scalars(select(TokenRequest.at))]
        days = set(session.scalars(select(TokenRequestCount.day)))
        callers = sorted(session.scalars(select(CallerAddress.address)))
    assert ages == {0, 30, 399, 400}
    assert sorted(requests) == [0, 0, 89, 89]
    assert callers == ["day 0", "day 0", "day 89", "day 89"]
    # Counts are kept by whole days, so near midnight the last day includes requests that are a minute too old.
    asked = {(now - age).date() for age in (0 * DAY, 90 * DAY - MINUTE, 90 * DAY + MINUTE)}
    assert days == {day for day in asked if day >= (now - 90 * DAY).date()}
    assert len(events(engine, "created")) == 2


def test_purging_writes_an_event(engine: Engine) -> None:
    """The event belongs to no account, and is written even if nothing is deleted (L1)."""
    for number in range(3):
        add_event(engine, 500 * DAY, number)
    purge(engine)
    purge(engine)
    first, second = sorted(events(engine, "purged"), key=lambda event: event.at)
    assert first.account_id is None
    assert first.actor_id.startswith("command")
    assert first.changes["events"] == [3, 0]
    assert second.changes["events"] == [0, 0]
    assert date.fromisoformat(first.changes["events_since"][1][:10]) == utc_now().date() - 400 * DAY
    assert date.fromisoformat(first.changes["token_requests_since"][1][:10]) == utc_now().date() - 90 * DAY


def test_nothing_is_deleted_if_the_event_fails(engine: Engine) -> None:
    """If the event cannot be written, the purge is rolled back (L1)."""
    client = make_client(engine)
    add_request(engine, client, 91 * DAY)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE identity_client_events RENAME TO elsewhere"))
    assert purge(engine).exit_code == 1
    assert left(engine, TokenRequest) == left(engine, TokenRequestCount) == 1


def test_rows_are_deleted_in_batches(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other writes do not wait long; a batch may end within a client's rows."""
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 3)
    for number in range(7):
        add_event(engine, 500 * DAY, number)
    clients = [make_client(engine) for _ in range(3)]
    for client in clients:
        for number in range(4):
            add_request(engine, client, (90 + number) * DAY + MINUTE, number)
            add_request(engine, client, number * DAY, number)
    result = purge(engine)
    assert result.output.startswith("Deleted: 7 events, 12 token requests, ")
    assert left(engine, TokenRequest) == 12
    assert left(engine, TokenRequestCount) in (12, 15)  # the 90th day is deleted after it has ended
    assert len(events(engine, "edited")) == 0


@pytest.mark.parametrize(
    ("attempts", "deleted", "exit_code"),
    [(1, 0, 1), (2, 3, 0)],
    ids=["the lock stays", "the lock is released"],
)
def test_locked_database_delays_each_batch(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, attempts: int, deleted: int, exit_code: int
) -> None:
    """Another process holds the lock at the first attempt of each batch, and releases it before the second (L1)."""
    purge(sqlite_engine)  # creates the signing keys
    for number in range(3):
        add_event(sqlite_engine, 500 * DAY, number)
    for _ in range(3):
        add_request(sqlite_engine, make_client(sqlite_engine), 91 * DAY)
    sqlite_engine.dispose()
    monkeypatch.setattr("webapp.core.database.sqlite.BUSY_TIMEOUT_SECONDS", 0)
    monkeypatch.setattr(retention, "ROWS_AT_ONCE", 1)
    monkeypatch.setattr(retention, "ATTEMPTS", attempts)
    with closing(sqlite3.connect(str(sqlite_engine.url.database), isolation_level=None)) as other:

        def sleep(_seconds: float) -> None:
            other.execute("ROLLBACK" if other.in_transaction else "BEGIN IMMEDIATE")

        sleep(0)
        monkeypatch.setattr("webapp.core.retention.time.sleep", sleep)
        result = purge(sqlite_engine)
    assert result.exit_code == exit_code, result.output
    assert left(sqlite_engine, TokenRequest) == 3 - deleted
    assert len(events(sqlite_engine, "edited")) == 3 - deleted


def test_revocations_of_expired_tokens_are_deleted(engine: Engine) -> None:
    """Never before the token's `exp` (T13)."""
    now = utc_now()
    with unit_of_work(engine) as session:
        session.add(RevokedToken(jti="ended", expires_at=now - timedelta(hours=1)))
        session.add(RevokedToken(jti="not yet", expires_at=now + MINUTE))
    assert " 1 records of revoked tokens" in purge(engine).output
    with read_session(engine) as session:
        assert session.scalars(select(RevokedToken.jti)).all() == ["not yet"]


def test_notifications_are_deleted_after_thirty_days(engine: Engine) -> None:
    """Delivered or not."""
    target, _ = make_target(engine)
    with unit_of_work(engine) as session:
        for age in (30 * DAY + MINUTE, 30 * DAY - MINUTE):
            message = add_message(session, target=target, recipient=target.address, kind="test", facts={})
            message.created_at -= age
    assert "1 notifications" in purge(engine).output
    assert left(engine, Notification) == 1


def test_retention_may_be_longer(engine: Engine) -> None:
    add_event(engine, 450 * DAY)
    client = make_client(engine)
    add_request(engine, client, 95 * DAY)
    purge(engine, EVENT_RETENTION_DAYS=500, TOKEN_REQUEST_RETENTION_DAYS=100)
    assert (len(events(engine, "edited")), left(engine, TokenRequest)) == (1, 1)
    purge(engine, EVENT_RETENTION_DAYS=440, TOKEN_REQUEST_RETENTION_DAYS=94)
    assert (len(events(engine, "edited")), left(engine, TokenRequest)) == (0, 0)


def test_single_requests_are_deleted_before_their_counts(engine: Engine) -> None:
    """After 30 days, unless a setting says otherwise (L2)."""
    client = make_client(engine)
    for age in (7 * DAY - MINUTE, 7 * DAY + MINUTE, 31 * DAY):
        add_request(engine, client, age)
    assert Settings.from_config(settings(DATABASE_URL="sqlite://")).request_log_days == 30
    purge(engine, REQUEST_LOG_DAYS=30)
    assert (left(engine, TokenRequest), left(engine, TokenRequestCount)) == (2, 2)
    purge(engine, REQUEST_LOG_DAYS=7)
    assert (left(engine, TokenRequest), left(engine, TokenRequestCount)) == (1, 2)


@pytest.mark.parametrize(
    ("name", "least"), [("EVENT_RETENTION_DAYS", 400), ("TOKEN_REQUEST_RETENTION_DAYS", 30), ("REQUEST_LOG_DAYS", 1)]
)
def test_retention_is_never_shorter(name: str, least: int) -> None:
    """Audit events are kept for at least 400 days (L1)."""
    Settings.from_config(settings(DATABASE_URL="sqlite://", **{name: least}))
    with pytest.raises(SettingsError, match=f"IDENTITY_CLIENTS_{name} must be {least} or more"):
        Settings.from_config(settings(DATABASE_URL="sqlite://", **{name: least - 1}))
