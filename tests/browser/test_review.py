"""The access review in Chromium: a person reviews the clients of an account, and prints the result."""

from datetime import timedelta

from playwright.sync_api import Page, expect

from tests.support.browser import Merchant
from tests.support.pages import ClientList
from webapp.core.database.models import utc_now


def test_clients_are_reviewed_one_after_the_other_and_printed(tab: Page, merchant: Merchant) -> None:
    """From the strip to the review; for each client Keep, a note, the box and Keep again, and the page is refreshed."""
    ids = merchant.add_clients(2, created_at=utc_now() - timedelta(days=200), last_token_at=utc_now())
    screen = ClientList.open(tab)
    screen.attention_strip.get_by_role("link", name="2 clients overdue for review").click()
    rows = tab.locator("#ic-results tbody tr")
    expect(rows).to_have_count(2)
    for number, client_id in enumerate(ids):
        expect(tab.get_by_text(f"Overdue: {2 - number}.")).to_be_visible()
        expect(rows.first).to_contain_text(client_id)
        tab.get_by_role("link", name=f"Keep {client_id}").click()
        dialog = tab.get_by_role("dialog")
        dialog.get_by_label("What did you find?").fill("Still used by the claims platform.")
        dialog.get_by_role("checkbox").check()
        dialog.get_by_role("button", name="Keep").click()
        expect(dialog).to_be_hidden()
    expect(tab.get_by_text("Overdue:")).to_be_hidden()
    tab.get_by_role("link", name="Printable page").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text(f"Access review of {merchant.name}")
    expect(tab.get_by_text("Still used by the claims platform.")).to_have_count(2)
    expect(tab.get_by_role("link", name="Keep")).to_have_count(0)
