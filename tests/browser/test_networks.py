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
def test_check_add_remove_and_undo(
    merchant: Merchant, visit: Visit, client: IdentityClient, options: dict[str, Any]
) -> None:
    """Check an address; rows change without a save; a caller is refused only after a box; nothing typed is lost."""
    screen = Details.open(visit(merchant.admin, **options), client.id)
    screen.check_address("192.0.2.7", "Would be refused. It did not ask")
    form = screen.add_address("192.0.2.7/24")
    expect(form.networks).to_have_count(2)
    expect(form.root).to_contain_text("192.0.2.7/24 is not the start of a range. Use 192.0.2.0/24.")
    form.networks.last.fill("192.0.2.0/24")
    form.root.get_by_label("Label 2").fill("Leeds")
    form.press_in_row("Remove", LONDON.network)
    expect(form.alert.filter(has_text=CALLER)).to_be_visible()
    form.press_in_row("Undo", LONDON.network)
    expect(form.alert).to_have_count(0)
    form.press_in_row("Add")
    form.networks.last.fill("2001:db8::/32")
    form.press_in_row("Remove", LONDON.network)
    expect(form.root.get_by_label("Label 2")).to_have_value("Leeds")
    assert merchant.client(client.client_id).allowed_networks == (LONDON,)
    form.save_with_errors()
    expect(form.alert.filter(has_text="There is a problem")).to_be_focused()
    form.root.get_by_role("link", name="Nothing is saved yet.").click()
    expect(form.root.locator("#f-confirmed")).to_be_focused()
    form.root.get_by_role("checkbox", name="Refuse this address").check()
    screen = form.save()
    screen.expect_message("Saved.")
    saved = (AllowedNetwork("192.0.2.0/24", "Leeds"), AllowedNetwork("2001:db8::/32", ""))
    assert merchant.client(client.client_id).allowed_networks == saved
    screen.check_address("192.0.2.7", "Would be accepted.")


def test_a_confirmation_is_for_the_named_address_only(merchant: Merchant, visit: Visit, client: IdentityClient) -> None:
    """The box is unticked for another address."""
    form = Details.open(visit(merchant.admin), client.id).remove_network(LONDON.network)
    form.root.get_by_role("checkbox").check()
    form.press_in_row("Add")
    form.networks.last.fill("192.0.2.0/24")
    make_requests(merchant.engine, client, address="203.0.113.8")
    form.save_with_errors()
    expect(form.alert.last).to_contain_text("2 addresses")
    expect(form.root.get_by_role("checkbox")).not_to_be_checked()
    expect(form.networks).to_have_value("192.0.2.0/24")


def test_focus_in_the_rows_and_back_at_the_opener(merchant: Merchant, visit: Visit, client: IdentityClient) -> None:
    """Focus is on what was added, stays on the button of a row, and returns to what opened the dialog."""
    screen = Details.open(visit(merchant.admin), client.id)
    form = screen.add_address("192.0.2.7")
    expect(form.networks.last).to_be_focused()
    form.root.get_by_role("button", name=f"Remove {LONDON.network}").press("Enter")
    expect(form.root.get_by_role("button", name="Undo")).to_be_focused()
    form.root.get_by_role("button", name="Add an address or range").press("Enter")
    expect(form.networks).to_have_count(2)
    expect(form.networks.last).to_be_focused()
    screen.page.keyboard.press("Escape")
    expect(screen.root.get_by_role("button", name="Add", exact=True)).to_be_focused()
    expect(screen.address).to_have_value("192.0.2.7")
