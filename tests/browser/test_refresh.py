"""The token requests on a client's page, which refresh themselves."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Page, Request, expect

from tests.support.browser import Merchant, Visit
from tests.support.factories import make_requests
from tests.support.pages import ClientList, Details
from webapp.core.database.models import IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.host import BACKGROUND_HEADER

HALF_A_MINUTE = 30_000


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab of a separate browser, whose clock can be set."""
    return visit(merchant.admin, own=True)


@pytest.fixture
def client(merchant: Merchant) -> IdentityClient:
    """Return a client that got one token."""
    client = merchant.add_client(roles=["MerchantUser"])
    make_requests(merchant.engine, client, address="192.0.2.1")
    return client


@contextmanager
def background(tab: Page) -> Iterator[list[Request]]:
    """Collect the requests that the page sends by itself."""
    found: list[Request] = []
    tab.on("request", lambda request: found.append(request) if request.url.endswith("/usage") else None)
    yield found
    assert all(request.headers[BACKGROUND_HEADER.lower()] == "true" for request in found)


def advance_half_a_minute(tab: Page) -> None:
    """Advance the page's clock, and wait for its requests."""
    with tab.expect_response("**/usage"):
        tab.clock.fast_forward(HALF_A_MINUTE)


def open_details(tab: Page, client: IdentityClient) -> Details:
    """Open the page of the client with a clock that can be advanced."""
    tab.clock.install()
    return Details.open(tab, client.id)


def test_a_new_request_appears_and_nothing_else_changes(tab: Page, merchant: Merchant, client: IdentityClient) -> None:
    """Without moving the focus, closing what is open, or counting as activity (W3)."""
    screen = open_details(tab, client)
    section = screen.section("Token requests")
    section.get_by_text("Show as a table").click()
    link = section.get_by_role("link", name="See all requests")
    link.focus()
    session = tab.context.cookies()
    make_requests(
        merchant.engine, client, outcome=AuthenticationFailure.WRONG_SECRET, secret_label=None, address="198.51.100.20"
    )
    with background(tab) as requests:
        advance_half_a_minute(tab)
        expect(section.get_by_text("198.51.100.20")).to_be_visible()
    assert len(requests) == 1
    expect(section).to_contain_text("1 issued, 1 refused")
    expect(section.get_by_role("table", name="Token requests per day")).to_be_visible()
    expect(link).to_be_focused()
    assert tab.context.cookies() == session


def test_a_refresh_moves_no_focus_and_closes_no_dialog(tab: Page, client: IdentityClient) -> None:
    """Focus that was moved away stays; a pending dialog opens, and returns the focus to its opener."""
    screen = open_details(tab, client)
    form = screen.edit()
    form.field("name").fill("typed")
    advance_half_a_minute(tab)
    expect(form.field("name")).to_have_value("typed")
    expect(form.field("name")).to_be_focused()
    form.discard()
    opener = screen.root.get_by_role("link", name="Edit", exact=True)
    expect(opener).to_be_focused()
    advance_half_a_minute(tab)
    expect(opener).to_be_focused()
    opener.evaluate("link => link.blur()")
    advance_half_a_minute(tab)
    tab.clock.run_for(100)
    assert tab.evaluate("document.activeElement === document.body")


def test_refreshing_pauses_while_the_page_is_hidden(tab: Page, client: IdentityClient) -> None:
    """It resumes as soon as the page is visible again."""
    screen = open_details(tab, client)
    hide = "hidden => Object.defineProperty(document, 'hidden', {value: hidden, configurable: true})"
    with background(tab) as requests:
        tab.evaluate(hide, True)
        for _ in range(3):
            tab.clock.fast_forward(HALF_A_MINUTE)
        tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
        tab.wait_for_timeout(300)
        assert requests == []
        tab.evaluate(hide, False)
        with tab.expect_response("**/usage"):
            tab.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    expect(screen.section("Token requests")).to_be_visible()


def test_refreshing_stops_with_a_notice_after_sign_out(tab: Page, client: IdentityClient) -> None:
    """Values typed in a dialog stay, and the page is not left (W11)."""
    screen = open_details(tab, client)
    form = screen.edit().fill(description="typed and not saved")
    tab.context.clear_cookies()
    with background(tab) as requests:
        advance_half_a_minute(tab)
        expect(screen.section("Token requests")).to_contain_text("You were signed out")
        for _ in range(3):
            tab.clock.fast_forward(HALF_A_MINUTE)
        tab.wait_for_timeout(300)
    assert len(requests) == 1
    expect(form.field("description")).to_have_value("typed and not saved")
    expect(screen.section("Token requests").get_by_role("row")).not_to_have_count(0)


def test_a_failed_refresh_changes_nothing_and_is_repeated(
    tab: Page, merchant: Merchant, client: IdentityClient
) -> None:
    """The figures stay as they are, and nothing is announced."""
    screen = open_details(tab, client)
    tab.route("**/usage", lambda route: route.abort())
    tab.clock.fast_forward(HALF_A_MINUTE)
    tab.unroute("**/usage")
    tab.route("**/usage", lambda route: route.fulfill(status=503, body="busy"))
    advance_half_a_minute(tab)
    expect(screen.section("Token requests")).to_contain_text("1 issued")
    expect(tab.locator("#ic-say")).to_be_empty()
    tab.unroute("**/usage")
    make_requests(merchant.engine, client)
    advance_half_a_minute(tab)
    expect(screen.section("Token requests")).to_contain_text("2 issued")


def test_a_message_goes_after_a_while_and_links_to_another_page_only(tab: Page, client: IdentityClient) -> None:
    """It stays while it has the focus; on the page of its client it does not offer to view it."""
    screen = open_details(tab, client)
    toast = tab.get_by_role("status").filter(has_text="Saved.")
    view = toast.get_by_role("link", name="View")
    screen = screen.edit().fill(description="Changed.").save(then=Details)
    expect(toast).to_be_visible()
    expect(view).to_have_count(0)
    tab.mouse.move(5, 5)
    toast.get_by_role("button", name="Close message").focus()
    tab.clock.run_for(HALF_A_MINUTE)
    expect(toast).to_be_visible()
    screen.heading.evaluate("heading => { heading.tabIndex = -1; heading.focus(); }")
    tab.clock.run_for(HALF_A_MINUTE)
    expect(toast).to_have_count(0)
    menu = ClientList.open(tab).menu(client.client_id)
    menu.disable().confirm(then=ClientList)
    expect(tab.get_by_role("status").get_by_role("link", name="View")).to_be_visible()
