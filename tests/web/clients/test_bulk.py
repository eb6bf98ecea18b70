"""Changes of several clients of the list: one confirmation that lists them, then all or those that can be changed."""

from typing import Any

import pytest

from tests.support.factories import make_client
from tests.support.host import PREFIX, Host
from tests.support.markup import Markup, read
from tests.support.screens import save, stored
from webapp.core.database.models import IdentityClient


@pytest.fixture
def clients(host: Host) -> list[IdentityClient]:
    return [make_client(host.engine, client_id=f"acme-{number}", enabled=number != 3) for number in (1, 2, 3)]


def open_bulk(host: Host, action: str, clients: list[IdentityClient], *, htmx: bool = False) -> Markup:
    """Open the confirmation for these clients."""
    return read(host.get(f"/bulk?action={action}" + "".join(f"&client={one.id}" for one in clients), htmx=htmx))


def post(host: Host, page: Markup, *, htmx: bool = False, **values: Any) -> Any:
    return host.post("/bulk", page.form(**values), htmx=htmx, token=False)


def test_the_list_has_a_check_box_for_each_row_with_the_edit_permission(
    host: Host, clients: list[IdentityClient]
) -> None:
    text = host.get().text
    for client in clients:
        assert f'value="{client.id}"' in text
        assert f"Select {client.client_id}" in text


def test_clients_are_disabled_after_one_confirmation(host: Host, htmx: bool, clients: list[IdentityClient]) -> None:
    """The page names every client and those that are disabled already."""
    page = open_bulk(host, "disable", clients, htmx=htmx)
    text = " ".join(page.text.split())
    assert "acme-1 acme-2 acme-3 is disabled already" in text
    assert "Disable 3 clients" in text
    answer = post(host, page, htmx=htmx)
    if htmx:
        assert answer.headers["HX-Trigger"] == "ic-changed"
        assert "2 clients disabled." in answer.text
    else:
        assert answer.status_code == 303
        assert answer.headers["Location"] == f"{PREFIX}?done=bulk"
        assert "Saved. Each change is in the activity." in host.client.get(answer.headers["Location"]).text
    assert [stored(host, one).enabled for one in clients] == [False, False, False]


def test_a_tag_is_added(host: Host, htmx: bool, clients: list[IdentityClient]) -> None:
    page = open_bulk(host, "add-tag", clients[:2], htmx=htmx)
    missing = post(host, page, htmx=htmx)
    assert missing.status_code == 422
    assert "Enter a tag of 1 to 30 characters." in missing.text
    assert post(host, read(missing), htmx=htmx, tag="Live").status_code == (200 if htmx else 303)
    assert [stored(host, one).tags for one in clients] == [{"live"}, {"live"}, set()]


def test_a_refused_form_is_shown_again_with_the_other_clients(
    host: Host, htmx: bool, clients: list[IdentityClient]
) -> None:
    """While one is stale, nothing is changed (I7)."""
    page = open_bulk(host, "disable", clients[:2], htmx=htmx)
    save(host, clients[0], name="Newer")
    answer = post(host, page, htmx=htmx)
    assert answer.status_code == 409
    assert "Nothing is changed yet" in answer.text
    assert "Somebody changed it after you opened the list." in answer.text
    assert "Disable 1 client<" in answer.text
    assert [stored(host, one).enabled for one in clients[:2]] == [True, True]
    post(host, read(answer), htmx=htmx)
    assert [stored(host, one).enabled for one in clients[:2]] == [True, False]


def test_clients_of_other_accounts_are_left_out(host: Host) -> None:
    """They are neither listed nor changed (A3)."""
    foreign = make_client(host.engine, account_id="harbour", client_id="foreign-1")
    page = open_bulk(host, "disable", [foreign])
    assert "foreign-1" not in page.text
    assert "No client is selected." in page.text
    answer = post(host, page, clients=f"{foreign.id}:1")
    assert answer.status_code == 409
    assert "foreign-1" not in answer.text


@pytest.mark.parametrize("query", ["?action=delete", "?action=disable&client=x", "?client=%00&action=enable"])
def test_a_forged_address_is_not_found(host: Host, query: str) -> None:
    assert host.get(f"/bulk{query}").status_code == 404


@pytest.mark.parametrize("clients", ["x", "x:1", "00000000-0000-0000-0000-000000000000", ":1"])
def test_a_forged_form_is_not_found(host: Host, clients: str) -> None:
    assert host.post("/bulk", {"action": "disable", "clients": clients}).status_code == 404
