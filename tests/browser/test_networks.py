"""Allowed networks, changed by an administrator with and without JavaScript."""

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.support.browser import Merchant, Visit
from tests.support.factories import make_requests
from tests.support.pages import Details
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import IdentityClient

CALLER = "203.0.113.7"
LONDON = AllowedNetwork("203.0.113.0/28", "London")


@pytest.fixture
def client(merchant: Merchant) -> IdentityClient:
    """Return a client with one allowed network, from which it has sent requests."""
    client = merchant.add_client(allowed_networks=[LONDON])
    make_requests(merchant.engine, client, address=CALLER)
    return client


@pytest.mark.parametrize("options", [{}, {"java_script_enabled": False}], ids=["script", "plain"])
def test_check_add_and_remove(
    merchant: Merchant, visit: Visit, client: IdentityClient, options: dict[str, Any]
) -> None:
    """Check an address; a warning is shown before an address with recent requests is refused."""
    screen = Details.open(visit(merchant.admin, **options), client.id)
    screen.check_address("192.0.2.7", "Would be refused. It did not ask")
    form = screen.add_address("192.0.2.7")
    expect(form.text_field).to_have_value("203.0.113.0/28 London\n192.0.2.7")
    screen = form.save()
    screen.expect_message("Saved.")
    assert merchant.client(client.client_id).allowed_networks == (LONDON, AllowedNetwork("192.0.2.7/32", ""))
    screen.check_address("192.0.2.7", "Would be accepted.")
    Details.open(screen.page, client.id)
    form = screen.remove_network(LONDON.network)
    expect(form.alert).to_contain_text(CALLER)
    form.save_with_errors()
    form.root.get_by_role("checkbox", name="Refuse this address").check()
    screen = form.save()
    expect(screen.section("Allowed addresses").get_by_role("rowheader")).to_have_text(["192.0.2.7/32"])
    assert merchant.client(client.client_id).allowed_networks == (AllowedNetwork("192.0.2.7/32", ""),)


def test_a_confirmation_is_for_the_named_address_only(merchant: Merchant, visit: Visit, client: IdentityClient) -> None:
    """The box is unticked for another address."""
    form = Details.open(visit(merchant.admin), client.id).remove_network(LONDON.network)
    form.root.get_by_role("checkbox").check()
    form.text_field.fill("192.0.2.0/24")
    make_requests(merchant.engine, client, address="203.0.113.8")
    form.save_with_errors()
    expect(form.alert).to_contain_text("2 addresses")
    expect(form.alert).to_be_focused()
    expect(form.root.get_by_role("checkbox")).not_to_be_checked()
    expect(form.text_field).to_have_value("192.0.2.0/24")


def test_focus_returns_to_the_opener_of_the_list(merchant: Merchant, visit: Visit, client: IdentityClient) -> None:
    """To the link, or to the button that added a line."""
    screen = Details.open(visit(merchant.admin), client.id)
    screen.add_address("192.0.2.7")
    expect(screen.page.get_by_role("dialog").get_by_label("Allowed addresses")).to_be_focused()
    screen.page.keyboard.press("Escape")
    expect(screen.root.get_by_role("button", name="Add", exact=True)).to_be_focused()
    expect(screen.address).to_have_value("192.0.2.7")
