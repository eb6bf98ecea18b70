"""Delete: confirmed by typing the client ID; the ID stays taken and the audit log stays."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, PREFIX, Host
from tests.support.markup import read
from tests.support.screens import actions, set_columns
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)


@pytest.fixture(autouse=True)
def now() -> Iterator[None]:
    """Stop the clock."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(
        host.engine,
        client_id="acme.claims (prod)",
        last_token_at=NOW - timedelta(minutes=10),
        updated_at=NOW - timedelta(days=1),
        token_duration=30,
    )


def is_deleted(host: Host, client: IdentityClient) -> bool:
    with read_session(host.engine) as session:
        return session.get_one(IdentityClient, client.id).deleted_at is not None


def test_the_confirmation(host: Host, client: IdentityClient, htmx: bool) -> None:
    """It shows the consequences and the last use, and offers to disable instead."""
    page = read(host.get(f"/{client.id}/delete", htmx=htmx))
    assert "It was never used." in page.text
    assert "others accept them until 11:06 GMT" in page.text
    assert "Type acme.claims (prod) to confirm" in page.text
    assert "disable it" not in page.text
    field = page.inputs["confirm"]
    assert (field["pattern"], field["value"]) == (r"\s*acme\.claims \(prod\)\s*", "")
    assert "required" in field
    set_columns(host, client, "A", last_used_at=NOW - timedelta(minutes=3), last_used_address="203.0.113.7")
    page = read(host.get(f"/{client.id}/delete", htmx=htmx))
    assert "It was last used 3 minutes ago from 203.0.113.7. If you are not sure, disable it first." in " ".join(
        page.text.split()
    )


@pytest.mark.parametrize("typed", ["", "acme.claims", "ACME.claims (prod)", "acme.claims (prod) x"])
def test_something_else_typed_deletes_nothing(host: Host, client: IdentityClient, htmx: bool, typed: str) -> None:
    form = read(host.get(f"/{client.id}/delete")).form(confirm=typed)
    answer = host.post(f"/{client.id}/delete", form, htmx=htmx, token=False)
    assert answer.status_code == 422
    assert "exactly" in read(answer).described("confirm")
    assert read(answer).value("confirm") == typed
    assert not is_deleted(host, client)


def test_it_leaves_the_list_and_its_id_stays_taken(host: Host, client: IdentityClient) -> None:
    """A deleted client gets no tokens, and its ID cannot be used again (T3)."""
    form = read(host.get(f"/{client.id}/delete")).form(confirm=" acme.claims (prod) ")
    answer = host.post(f"/{client.id}/delete", form, token=False)
    assert (answer.status_code, answer.location) == (303, f"{PREFIX}?done=deleted")
    assert is_deleted(host, client)
    page = host.get("?done=deleted").text
    assert "its client ID stays taken" in page
    assert "acme.claims" not in page
    assert actions(host, client) == ["created", "deleted"]
    for path in ("/edit", "/secret", "/delete", "/leaked"):
        assert host.get(f"/{client.id}{path}").status_code == 404
    assert host.post(f"/{client.id}/delete", form, token=False).status_code == 404
    values = {"client_id": "acme.claims (prod)", "client_secret": "a-secret-of-acme-claims", "roles": "MerchantUser"}
    assert "already in use" in host.post("/new", values).text


def test_the_address_of_a_deleted_client(host: Host, htmx: bool, client: IdentityClient) -> None:
    """It says who deleted the client, and leads to its past; for another account it is as absent as any (A3)."""
    host.post(
        f"/{client.id}/delete", read(host.get(f"/{client.id}/delete")).form(confirm=client.client_id), token=False
    )
    answer = host.get(f"/{client.id}", htmx=htmx)
    assert answer.status_code == 410
    assert "This client is deleted." in answer.text
    assert "Priya Nair" in answer.text
    for path in ("activity", "requests"):
        assert f'href="{PREFIX}/{client.id}/{path}"' in answer.text
        assert host.get(f"/{client.id}/{path}").status_code == 200
    host.actor = HARBOUR
    assert host.get(f"/{client.id}", htmx=htmx).status_code == 404


def test_with_htmx_the_list_is_refreshed_and_the_clients_own_page_is_left(host: Host, client: IdentityClient) -> None:
    """The address in the header is one of ours (W17)."""
    form = read(host.get(f"/{client.id}/delete")).form(confirm=client.client_id)
    list_url, page_url = f"http://localhost{PREFIX}?q=acme", f"http://localhost{PREFIX}/{client.id}?done=edited"
    other = make_client(host.engine, client_id="another-client")
    answer = host.client.post(f"{PREFIX}/{client.id}/delete", data=form, headers=HTMX | {"HX-Current-URL": list_url})
    assert answer.headers["HX-Trigger"] == "ic-changed"
    assert answer.headers["HX-Retarget"] == "#ic-dialog"
    assert "its client ID stays taken" in answer.text
    assert f"/{client.id}" not in answer.text, "no link to the deleted client"
    form = read(host.get(f"/{other.id}/delete")).form(confirm=other.client_id)
    page_url = page_url.replace(str(client.id), str(other.id))
    answer = host.client.post(f"{PREFIX}/{other.id}/delete", data=form, headers=HTMX | {"HX-Current-URL": page_url})
    assert answer.headers["HX-Redirect"] == f"{PREFIX}?done=deleted"
    assert answer.text == ""


def test_stale_or_without_token_it_deletes_nothing(host: Host, client: IdentityClient, htmx: bool) -> None:
    """The version and the CSRF token are required (I7, W8)."""
    data = {"confirm": client.client_id, "version": client.version}
    assert host.post(f"/{client.id}/delete", data, htmx=htmx, token=False).status_code == 422
    answer = host.post(f"/{client.id}/delete", {**data, "version": "0"}, htmx=htmx)
    assert answer.status_code == 409
    assert "changed this client" in answer.text
    assert not is_deleted(host, client)


def test_delete_needs_a_recent_sign_in(host: Host, client: IdentityClient, htmx: bool) -> None:
    """Deleting ends the secrets (W5)."""
    form = read(host.get(f"/{client.id}/delete")).form(confirm=client.client_id)
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=30, seconds=1))
    assert host.post(f"/{client.id}/delete", form, htmx=htmx, token=False).status_code == 401
    assert not is_deleted(host, client)
