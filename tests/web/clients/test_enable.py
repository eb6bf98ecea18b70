"""Enable and disable."""

from datetime import UTC, datetime, timedelta

import time_machine
from sqlalchemy import select

from tests.support.factories import make_client
from tests.support.host import Host
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session

NOW = datetime(2026, 11, 23, 10, 42, tzinfo=UTC)


def stored(host: Host, client: IdentityClient) -> IdentityClient:
    with read_session(host.engine) as session:
        return session.scalars(select(IdentityClient).where(IdentityClient.id == client.id)).one()


def test_disable_says_what_will_happen_and_until_when(host: Host) -> None:
    """No new tokens from now on; issued tokens stay valid until the time that is shown."""
    old = NOW - timedelta(days=1)
    client = make_client(host.engine, client_id="alpha-claims", token_duration=30, updated_at=old, last_token_at=NOW)
    fresh = make_client(
        host.engine,
        client_id="bravo-claims",
        token_duration=10,
        updated_at=NOW - timedelta(minutes=5),
        last_token_at=NOW - timedelta(minutes=4),
    )
    with time_machine.travel(NOW, tick=False):
        assert "others accept them until <b>11:12 GMT</b>." in host.get(f"/{client.id}/disable").text
        # Edited minutes ago: its tokens may have had the longest duration before.
        assert "others accept them until <b>11:39 GMT</b>." in host.get(f"/{fresh.id}/disable").text
    assert "No new tokens from now" in host.get(f"/{client.id}/disable", htmx=True).text


def test_disable_and_enable_without_javascript(host: Host) -> None:
    client = make_client(host.engine, client_id="alpha-claims")
    answer = host.post(f"/{client.id}/disable", {"version": client.version})
    assert (answer.status_code, answer.location.endswith(f"/{client.id}?done=disabled")) == (303, True)
    assert stored(host, client).enabled is False
    page = host.get(f"/{client.id}?done=disabled").text
    assert "gets no new tokens" in page
    assert "Disabled" in page
    version = stored(host, client).version
    assert host.post(f"/{client.id}/enable", {"version": version}).status_code == 303
    assert stored(host, client).enabled is True
    with read_session(host.engine) as session:
        actions = session.scalars(
            select(AuditEvent.action).where(AuditEvent.client_key == client.id).order_by(AuditEvent.id)
        ).all()
    assert list(actions) == ["created", "disabled", "enabled"]


def test_disable_with_htmx_closes_the_dialog_and_updates_the_page(host: Host) -> None:
    """The row is updated in place, with a status message; response headers hold constants only (W17)."""
    client = make_client(host.engine, client_id="alpha-claims")
    answer = host.post(f"/{client.id}/disable", {"version": client.version}, htmx=True)
    assert answer.status_code == 200
    assert answer.headers["HX-Retarget"] == "#ic-dialog"
    assert answer.headers["HX-Trigger"] == "ic-changed"
    assert "alpha-claims" in answer.text
    assert f'value="{client.id}"' in answer.text
    assert "<html" not in answer.text


def test_a_stale_version_changes_nothing_and_says_who_changed_it(host: Host) -> None:
    """A missing or impossible version is stale too (I7)."""
    client = make_client(host.engine, client_id="alpha-claims")
    host.post(f"/{client.id}/disable", {"version": client.version})
    answer = host.post(f"/{client.id}/enable", {"version": client.version}, htmx=True)
    assert answer.status_code == 409
    assert stored(host, client).enabled is False
    assert "Priya Nair changed this client" in answer.text
    assert "<html" not in answer.text
    again = host.post(f"/{client.id}/enable", {"version": stored(host, client).version})
    assert again.status_code == 303
    for bad in ("", "one", "-1"):
        assert host.post(f"/{client.id}/disable", {"version": bad}).status_code == 409
    assert stored(host, client).enabled is True


def test_without_csrf_token_nothing_changes(host: Host) -> None:
    """A missing or forged token is refused (W8)."""
    client = make_client(host.engine, client_id="alpha-claims")
    for data in ({}, {"csrf_token": "forged"}):
        answer = host.post(f"/{client.id}/disable", {"version": client.version, **data}, token=False)
        assert answer.status_code == 422
        assert "again" in answer.text
    assert stored(host, client).enabled is True
