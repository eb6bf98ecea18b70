"""The list in Chromium: search, filters, order and pages, with the state in the URL."""

from datetime import timedelta
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Merchant, Visit
from tests.support.factories import insert_clients
from tests.support.pages import ClientList, Details
from webapp.core.database.models import utc_now


@pytest.fixture
def clients(merchant: Merchant) -> list[str]:
    """Return the IDs of 120 clients; every tenth is disabled, every third may read reports."""
    return merchant.add_clients(
        120,
        name=lambda number: f"Name {number * 7 % 120:03}",
        description=lambda number: "Pays for hail damage" if number == 57 else "",
        roles=lambda number: ("MerchantUser", "ReportViewer") if number % 3 == 0 else ("MerchantUser",),
        enabled=lambda number: number % 10 != 0,
    )


def state(page: Page) -> dict[str, str]:
    """Return the state of the list in the address bar, without default values."""
    return {
        name: value for name, value in parse_qsl(urlsplit(page.url).query) if (name, value) != ("sort", "client_id")
    }


def go(page: Page, steps: int) -> None:
    """Go back or forward in the history, and wait until the page has been loaded again."""
    with page.expect_event("load"):
        page.evaluate("steps => history.go(steps)", steps)
    ClientList(page)


def test_search_filter_order_and_pages_are_combined_in_the_url(tab: Page, clients: list[str]) -> None:
    """Back, Forward and reload show the whole page in the state of the URL (W13)."""
    screen = ClientList.open(tab)
    tab.evaluate("window.untouched = true")
    expect(screen.client_ids).to_have_text(clients[:50])
    expect(screen.root).to_contain_text("Showing 1–50 of 120")

    screen.root.get_by_role("link", name="Next").click()
    expect(screen.client_ids).to_have_text(clients[50:100])
    second_page = tab.url
    screen.search.press_sequentially("hail")
    expect(screen.client_ids).to_have_text([clients[57]])
    assert state(tab) == {"q": "hail"}
    screen.search.fill("")
    expect(screen.root).to_contain_text("Showing 1–50 of 120")

    screen.root.get_by_label("Status").select_option("disabled")
    expect(screen.client_ids).to_have_text(clients[::10])
    screen.root.get_by_label("Role", exact=True).select_option("ReportViewer")
    expect(screen.client_ids).to_have_text(clients[::30])
    assert state(tab) == {"status": "disabled", "role": "ReportViewer"}
    screen.root.get_by_role("link", name="Client name").click()
    by_name = [clients[number] for number in sorted(range(0, 120, 30), key=lambda number: number * 7 % 120)]
    expect(screen.client_ids).to_have_text(by_name)
    screen.root.get_by_role("link", name="Client name").click()
    expect(screen.client_ids).to_have_text(by_name[::-1])
    expect(screen.root.get_by_role("columnheader", name="Client name")).to_have_attribute("aria-sort", "descending")
    screen.search.fill("-03")
    expect(screen.client_ids).to_have_text([client_id for client_id in by_name[::-1] if "-03" in client_id])
    assert state(tab) == {"q": "-03", "status": "disabled", "role": "ReportViewer", "sort": "-name"}
    assert tab.evaluate("window.untouched")

    for _ in range(2):  # as shown, and reloaded
        expect(screen.search).to_have_value("-03")
        expect(screen.root.get_by_label("Status")).to_have_value("disabled")
        expect(screen.root.get_by_label("Role", exact=True)).to_have_value("ReportViewer")
        expect(screen.client_ids).to_have_text([client_id for client_id in by_name[::-1] if "-03" in client_id])
        tab.reload()
        screen = ClientList(tab)

    go(tab, -1)
    expect(screen.client_ids).to_have_text(by_name[::-1])
    expect(screen.search).to_have_value("")
    expect(screen.root.get_by_label("Role", exact=True)).to_have_value("ReportViewer")
    expect(tab.get_by_role("navigation", name="Main")).to_be_visible()
    go(tab, -3)
    expect(screen.client_ids).to_have_text(clients[::10])
    expect(screen.root.get_by_label("Role", exact=True)).to_have_value("")
    expect(screen.root.get_by_label("Status")).to_have_value("disabled")
    go(tab, 1)
    expect(screen.client_ids).to_have_text(clients[::30])
    expect(screen.root.get_by_label("Role", exact=True)).to_have_value("ReportViewer")

    tab.goto(second_page)
    expect(screen.client_ids).to_have_text(clients[50:100])
    screen.root.get_by_role("link", name="Next").click()
    expect(screen.client_ids).to_have_text(clients[100:])
    screen.root.get_by_role("link", name="Previous").click()
    expect(screen.client_ids).to_have_text(clients[50:100])


def test_the_page_of_a_client_links_back_to_the_list_in_its_state(tab: Page, clients: list[str]) -> None:
    """Search, filters and page are kept (W13)."""
    screen = ClientList.open(tab)
    screen.search.fill("-05")
    expect(screen.client_ids).to_have_text(clients[50:60])
    screen.view(clients[57])
    tab.go_back()
    screen = ClientList(tab)
    expect(screen.client_ids).to_have_text(clients[50:60])
    expect(screen.search).to_have_value("-05")


def test_no_match_names_the_search_and_offers_to_clear_it(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    screen.search.fill("<b>nothing</b>")
    expect(screen.root.get_by_role("heading", level=2)).to_have_text("No client matches “<b>nothing</b>”")
    screen.root.get_by_role("link", name="Clear search and filters").click()
    expect(screen.client_ids).to_have_count(1)
    expect(screen.search).to_have_value("")


def test_the_first_client_replaces_the_empty_state(tab: Page, merchant: Merchant) -> None:
    screen = ClientList.open(tab)
    expect(screen.search).to_be_hidden()
    form = screen.new()
    form.fill(client_id=merchant.new_id).choose(["MerchantUser"])
    screen = form.create().done(then=ClientList)
    expect(screen.client_ids).to_have_text([merchant.new_id])
    expect(screen.search).to_be_visible()


def test_the_attention_filter_and_strip_follow_a_change(tab: Page, merchant: Merchant) -> None:
    """A resolved client leaves the strip, the filter and the mark on its row at once."""
    merchant.add_client(f"{merchant.new_id}-used", last_token_at=utc_now())
    merchant.add_client(f"{merchant.new_id}-never", created_at=utc_now() - timedelta(days=9))
    screen = ClientList.open(tab)
    expect(screen.attention_strip).to_have_text("Needs attention: 1 client never used")
    expect(screen.row(f"{merchant.new_id}-never")).to_contain_text("Never used")
    screen.root.get_by_role("combobox", name="Needs attention").select_option("unused")
    expect(screen.client_ids).to_have_text([f"{merchant.new_id}-never"])
    screen = ClientList.open(tab)
    screen.attention_strip.get_by_role("link", name="1 client never used").click()
    expect(screen.client_ids).to_have_text([f"{merchant.new_id}-never"])
    screen.menu(f"{merchant.new_id}-never").disable().confirm(then=ClientList)
    expect(screen.attention_strip).to_have_count(0)
    expect(screen.client_ids).to_have_count(0)


def test_a_large_account_loads_its_strip_after_the_page(tab: Page, merchant: Merchant) -> None:
    insert_clients(merchant.engine, merchant.account_id, 2_001)
    merchant.add_client(f"{merchant.new_id}-never", created_at=utc_now() - timedelta(days=9))
    expect(ClientList.open(tab).attention_strip).to_have_text("Needs attention: 1 client never used")


def test_changes_keep_search_and_order(tab: Page, merchant: Merchant) -> None:
    for word in ("alpha", "beta", "gamma"):
        merchant.add_client(f"{merchant.new_id}-{word}", name=f"Common {word}")
    screen = ClientList.open(tab, "?q=common&sort=-name")
    menu = screen.menu(f"{merchant.new_id}-beta")
    screen = menu.disable().confirm(then=ClientList)
    expect(screen.row(f"{merchant.new_id}-beta")).to_contain_text("Disabled")
    expect(screen.client_ids).to_have_text([f"{merchant.new_id}-{word}" for word in ("gamma", "beta", "alpha")])
    expect(screen.search).to_have_value("common")


def test_a_client_named_like_code_is_inert_on_every_screen(tab: Page, merchant: Merchant) -> None:
    """Names are shown as text (W17)."""
    code = '"><img src=x hx-get=/y onerror=z>'
    client = merchant.add_client(code, name=code, description=code)
    requested: list[str] = []
    tab.on("request", lambda request: requested.append(urlsplit(request.url).path))
    screen = ClientList.open(tab)
    expect(screen.client_ids).to_have_text([code])
    form = screen.menu(code).edit()
    expect(form.field("client_id")).to_have_value(code)
    form.fill(token_duration="20").save(then=ClientList).expect_message("apply to its next token")
    screen = ClientList.open(tab)
    screen.menu(code).disable().confirm(then=ClientList).expect_message("gets no new tokens")
    details = Details.open(tab, client.id)
    expect(details.heading).to_have_text(code)
    assert not {"/x", "/y"} & {path[-2:] for path in requested}
    expect(tab.locator("img")).to_have_count(0)


def test_the_list_without_javascript(visit: Visit, merchant: Merchant, clients: list[str]) -> None:
    tab = visit(merchant.admin, java_script_enabled=False)
    screen = ClientList.open(tab)
    screen.root.get_by_role("link", name="Next").click()
    expect(screen.client_ids).to_have_text(clients[50:100])
    screen.search.fill("hail")
    screen.root.get_by_label("Status").select_option("enabled")
    screen.root.get_by_role("button", name="Search").click()
    expect(screen.client_ids).to_have_text([clients[57]])
    screen.search.fill("")
    screen.root.get_by_label("Status").select_option("disabled")
    screen.search.press("Enter")
    expect(screen.client_ids).to_have_text(clients[::10])
    screen.root.get_by_role("link", name="Last token").click()
    expect(screen.root.get_by_role("columnheader", name="Last token")).to_have_attribute("aria-sort", "descending")


def test_a_whole_card_leads_to_the_client_on_a_phone(visit: Visit, merchant: Merchant) -> None:
    """A tap beside the texts of a card opens the client; the roles behind the number open by themselves."""
    client = merchant.add_client(roles=("MerchantUser", "AccountViewer", "TransactionViewer", "ReportViewer"))
    page = visit(merchant.admin, viewport={"width": 390, "height": 800}, has_touch=True)
    screen = ClientList.open(page)
    row = screen.row(client.client_id)
    row.get_by_text("+2").tap()
    expect(row.get_by_text("Read transactions, Read reports")).to_be_visible()
    box = row.bounding_box()
    assert box
    page.touchscreen.tap(box["x"] + box["width"] - 20, box["y"] + box["height"] - 8)
    Details(page)
