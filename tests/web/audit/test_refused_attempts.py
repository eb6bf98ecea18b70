"""Refused attempts in the audit log: who tried what, and why it was refused (L2)."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import Engine, select

from tests.support.factories import OTHER_ACCOUNT, make_client
from tests.support.host import HARBOUR, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import read
from tests.support.screens import VALUES, timeline
from webapp.core.audit.actions import RefusalReason
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.web.audit.event_labels import ATTEMPTS
from webapp.web.routes import PERMISSIONS

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)
ABSENT_KEY = "01a212f7-44cb-7140-9b72-8bbba6544ca2"


def refusals(engine: Engine) -> list[AuditEvent]:
    """Return the refused attempts of Northwind, the oldest first."""
    with read_session(engine) as session:
        wanted = (AuditEvent.account_id == "northwind", AuditEvent.action == "refused")
        return list(session.scalars(select(AuditEvent).where(*wanted).order_by(AuditEvent.at, AuditEvent.id)))


def summarize(event: AuditEvent) -> tuple[str, str, bool]:
    """Return why and what was refused, and whether the client is named."""
    changes = event.changes
    assert changes.keys() == {"refusal", "attempt"}
    return changes["refusal"][1], changes["attempt"][1], event.client_key is not None


def _no_role(host: Host, client: IdentityClient) -> None:
    host.actor = replace(NORTHWIND, roles=frozenset({"MerchantUser"}))
    assert host.get(f"/{client.id}").status_code == 403


def _only_views(host: Host, client: IdentityClient) -> None:
    data = {"csrf_token": host.csrf_token(), "version": "1"}
    host.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    assert host.post(f"/{client.id}/disable", data, token=False).status_code == 403


def _feature_off(host: Host, _client: IdentityClient) -> None:
    host.actor = replace(NORTHWIND, feature_enabled=False)
    assert host.get().status_code == 403


def _other_site(host: Host, client: IdentityClient) -> None:
    data = {"csrf_token": host.csrf_token(), "version": "1"}
    for header in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
        assert host.client.post(f"{PREFIX}/{client.id}/disable", data=data, headers=header).status_code == 403


def _no_token(host: Host, client: IdentityClient) -> None:
    assert host.post(f"/{client.id}/disable", {"version": "1"}, token=False).status_code == 422


def _stale_disable(host: Host, client: IdentityClient) -> None:
    assert host.post(f"/{client.id}/disable", {"version": "7"}).status_code == 409


def _stale_edit(host: Host, client: IdentityClient) -> None:
    form = read(host.get(f"/{client.id}/edit")).form(version="7", name="New")
    assert host.post(f"/{client.id}/edit", form, token=False).status_code == 409


def _old_sign_in(host: Host, client: IdentityClient) -> None:
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=31))
    form = read(host.get(f"/{client.id}/edit")).form(client_secret="a secret of our own")
    assert host.post(f"/{client.id}/edit", form, token=False).status_code == 401


def _too_many_exports(host: Host, client: IdentityClient) -> None:
    for status in (200, 429):
        assert host.get(f"/activity.csv?key={client.id}").status_code == status


def _too_many_clients(host: Host, _client: IdentityClient) -> None:
    for number, status in enumerate((200, 429)):
        assert host.post("/new", {**VALUES, "client_id": f"acme-claims-{number}"}).status_code == status


CAUSES: list[tuple[Callable[[Host, IdentityClient], None], list[tuple[str, str, bool]]]] = [
    (_no_role, [(RefusalReason.FORBIDDEN, "details", True)]),
    (_only_views, [(RefusalReason.FORBIDDEN, "disable", True)]),
    (_feature_off, [(RefusalReason.FEATURE_OFF, "list", False)]),
    (_other_site, [(RefusalReason.OTHER_SITE, "disable", True)] * 2),
    (_no_token, [(RefusalReason.FORM_EXPIRED, "disable", True)]),
    (_stale_disable, [(RefusalReason.STALE_VERSION, "disable", True)]),
    (_stale_edit, [(RefusalReason.STALE_VERSION, "edit", True)]),
    (_old_sign_in, [(RefusalReason.SIGN_IN_TOO_OLD, "edit", True)]),
    (_too_many_exports, [(RefusalReason.THROTTLED, "activity_csv", False)]),
    (_too_many_clients, [(RefusalReason.THROTTLED, "new", False)]),
]


@pytest.fixture
def strict(host: Host) -> Host:
    """Return a host where the role Auditor may view, and every quota is one an hour."""
    return make_host(
        host.engine, viewer_roles=("Auditor",), exports_per_actor_and_hour=1, new_clients_per_account_and_hour=1
    )


@pytest.mark.parametrize(("attempt", "expected"), CAUSES, ids=[attempt.__name__.strip("_") for attempt, _ in CAUSES])
@time_machine.travel(NOW, tick=False)
def test_each_cause_is_recorded_once_and_changes_nothing(
    strict: Host, attempt: Callable[[Host, IdentityClient], None], expected: list[tuple[str, str, bool]]
) -> None:
    """403, CSRF and version refusals, and quotas, with actor, address and request ID (L2)."""
    client = make_client(strict.engine, client_id="northwind-1")
    attempt(strict, client)
    found = refusals(strict.engine)
    assert [summarize(event) for event in found] == expected
    assert {(event.actor_id, event.actor_label, event.address) for event in found} == {
        ("user-1", "Priya Nair", "127.0.0.1")
    }
    assert all(event.request_id for event in found)
    with read_session(strict.engine) as session:
        assert session.get_one(IdentityClient, client.id).version == 1
    strict.actor = NORTHWIND
    assert "Priya Nair tried to " in timeline(strict.get("/activity?action=refused").text)[0]


def test_every_reason_is_tested_here() -> None:
    assert {refusal for _, expected in CAUSES for refusal, _, _ in expected} == set(RefusalReason)


def test_a_foreign_client_is_not_named(host: Host) -> None:
    """Neither this account's audit log nor the other account's mentions it (A3)."""
    foreign = make_client(host.engine, account_id=OTHER_ACCOUNT, client_id="harbour-1")
    host.actor = replace(NORTHWIND, roles=frozenset())
    for key in (str(foreign.id), ABSENT_KEY, "nonsense"):
        assert host.get(f"/{key}").status_code == 403
    assert [summarize(event) for event in refusals(host.engine)] == [(RefusalReason.FORBIDDEN, "details", False)] * 3
    host.actor = HARBOUR
    assert len(timeline(host.get("/activity").text)) == 1


def test_signed_out_requests_and_absent_clients_are_not_recorded(host: Host) -> None:
    """A signed-out person has no account to record it in; an absent client is no refusal (A3)."""
    host.actor = None
    host.get()
    host.actor = NORTHWIND
    assert host.get(f"/{ABSENT_KEY}").status_code == 404
    assert host.post(f"/{ABSENT_KEY}/disable", {"version": "1"}).status_code == 404
    assert refusals(host.engine) == []


def test_at_most_20_refusals_an_hour_are_recorded(host: Host) -> None:
    """For each person and kind (L2)."""
    client = make_client(host.engine, client_id="northwind-1")
    with time_machine.travel(NOW, tick=False) as clock:
        for _ in range(25):
            host.post(f"/{client.id}/disable", {"version": "7"})
        host.post(f"/{client.id}/disable", {"version": "7"}, token=False)
        assert [event.changes["refusal"][1] for event in refusals(host.engine)] == [
            *[RefusalReason.STALE_VERSION] * 20,
            RefusalReason.FORM_EXPIRED,
        ]
        clock.shift(3601)
        host.post(f"/{client.id}/disable", {"version": "7"})
        assert len(refusals(host.engine)) == 22


def test_every_attempt_has_a_description() -> None:
    assert set(PERMISSIONS) - {"asset"} <= set(ATTEMPTS)


def test_views_write_in_transactions_that_record_refusals() -> None:
    """A view that opened a unit of work itself would not record its refusal (L2)."""
    folder = Path(__file__).parents[3] / "webapp" / "web"
    found = {path.name for path in folder.rglob("*.py") if re.search(r"\bunit_of_work\(", path.read_text("utf-8"))}
    assert found == {"refusals.py", "transactions.py"}
