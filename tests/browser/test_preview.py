"""The token preview on a client's page."""

import re

from playwright.sync_api import expect

from tests.support.browser import Merchant, Visit
from tests.support.pages import Details

ROLES = ["MerchantUser", "CreatePayment"]


def test_a_selected_scope_is_applied_at_once_and_kept(merchant: Merchant, visit: Visit) -> None:
    """The focus stays on the box; a change of the client appears in the claims for the same scope."""
    client = merchant.add_client(roles=ROLES)
    screen = Details.open(visit(merchant.admin), client.id)
    section = screen.section("Token preview")
    claims = section.get_by_role("region", name="Token claims")
    expect(claims).to_contain_text('"scope": "API payment-requests stored-recipients"')
    box = section.get_by_role("checkbox", name="payment-requests")
    box.check()
    expect(claims).to_contain_text('"scope": "payment-requests"')
    expect(box).to_be_focused()
    screen.edit().fill(client_id=f"{client.client_id}-new").save(then=Details)
    expect(claims).to_contain_text(f'"sub": "{client.client_id}-new"')
    expect(claims).to_contain_text('"scope": "payment-requests"')
    expect(box).to_be_checked()


def test_without_javascript_a_button_applies_the_scopes(merchant: Merchant, visit: Visit) -> None:
    client = merchant.add_client(roles=ROLES)
    section = Details.open(visit(merchant.admin, java_script_enabled=False), client.id).section("Token preview")
    section.get_by_role("checkbox", name="API").check()
    section.get_by_role("button", name="Show").click()
    expect(section.page).to_have_title(re.compile("^Token preview of "))
    claims = section.page.get_by_role("region", name="Token claims")
    expect(claims).to_contain_text('"scope": "API"')
