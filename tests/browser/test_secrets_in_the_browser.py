"""What the browser stores of a secret, and open forms when a session ends or is renewed."""

import json
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Error, Page, Route, expect

from tests.support.browser import CHROMIUM_ARGUMENTS, Merchant, Visit, chromium, sign_in
from tests.support.identity import request_token
from tests.support.pages import PREFIX, ClientList, Details, Handover, Home, NewClient, SignIn
from tests.support.servers import LiveServer

CANARY = "canary-in-a-coal-mine"
STORED_DATA_SCRIPT = """async () => JSON.stringify({
    page: document.documentElement.outerHTML,
    values: [...document.querySelectorAll('input, textarea')].map(field => field.value),
    local: {...localStorage},
    session: {...sessionStorage},
    history: history.state,
    address: location.href,
    cookies: document.cookie,
    caches: await caches.keys(),
    databases: await indexedDB.databases(),
})"""


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab of a separate browser, without stored data of other tests."""
    return visit(merchant.admin, own=True)


def stored_data(tab: Page) -> str:
    """Return all data that a page can read, and all that would be sent in another session."""
    return str(tab.evaluate(STORED_DATA_SCRIPT)) + json.dumps(tab.context.storage_state())


def create(form: NewClient, client_id: str) -> Handover:
    """Create a client whose secret is the canary."""
    form.fill(client_id=client_id, client_secret=CANARY).choose(["MerchantUser"])
    return form.create()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
def test_after_the_handover_the_secret_is_stored_nowhere(tab: Page, merchant: Merchant, closed: bool) -> None:
    """Back, Forward, reload and a reopened tab, from the dialog (W14, S6)."""
    tab.goto("/")
    handover = create(ClientList.open(tab).new(), merchant.new_id)
    assert CANARY in stored_data(tab)
    assert CANARY not in tab.url
    if closed:
        handover.done(then=ClientList)
        assert CANARY not in stored_data(tab)
    tab.goto("/")
    assert CANARY not in stored_data(tab)
    tab.go_back()
    ClientList(tab)
    assert CANARY not in stored_data(tab)
    tab.reload()
    assert CANARY not in stored_data(tab)
    tab.go_back()
    tab.go_forward()
    ClientList(tab)
    assert CANARY not in stored_data(tab)
    reopened = tab.context.new_page()
    for path in ("", f"/{merchant.client(merchant.new_id).id}", f"/{merchant.client(merchant.new_id).id}/edit"):
        reopened.goto(PREFIX + path)
        assert CANARY not in stored_data(reopened)


def test_after_the_handover_page_the_secret_is_stored_nowhere(tab: Page, merchant: Merchant) -> None:
    """The same from the page, whose URL is that of the form (W14, S6)."""
    handover = create(NewClient.open(tab), merchant.new_id)
    assert CANARY in stored_data(tab)
    handover.done(then=Details)
    assert CANARY not in stored_data(tab)
    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # a browser asks before it posts a form again
        tab.go_back()
    tab = tab.context.new_page()
    NewClient.open(tab)
    assert CANARY not in stored_data(tab)
    assert merchant.client_ids == [merchant.new_id]


def test_the_back_forward_cache_holds_no_secret(
    browser_with_cache: Browser, merchant: Merchant, live_server: LiveServer
) -> None:
    """A page restored from it has been wiped, and reloads itself (W14).

    Chromium heeds `no-store`; other browsers may not, so the header is removed here.
    """
    with browser_with_cache.new_context(base_url=live_server.url) as context:
        sign_in(context, merchant.admin, live_server.password)
        context.route("**/identity-clients", without_no_store)
        context.add_init_script(
            "addEventListener('pageshow', event => console.log(event.persisted, document.body.innerHTML))"
        )
        tab = context.new_page()
        create(ClientList.open(tab).new(), merchant.new_id)
        tab.goto("/healthz")
        with (
            tab.expect_console_message(lambda message: message.text.startswith("true ")) as kept,
            tab.expect_event("load"),
        ):
            tab.evaluate("history.back()")
        assert merchant.new_id in kept.value.text
        assert CANARY not in kept.value.text
        screen = ClientList(tab)
        expect(screen.client_ids).to_have_text([merchant.new_id])
        assert CANARY not in stored_data(tab)


@pytest.fixture
def browser_with_cache(browser: Browser) -> Iterator[Browser]:
    """Return a browser with the back/forward cache, which the other tests disable."""
    kind = browser.browser_type
    keeping = kind.launch(
        executable_path=chromium(), args=CHROMIUM_ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield keeping
    keeping.close()


def without_no_store(route: Route) -> None:
    """Pass a response on without its `no-store`."""
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "cache-control"}
    route.fulfill(response=answer, headers=headers)


def test_a_typed_secret_is_discarded_with_its_dialog(tab: Page, merchant: Merchant) -> None:
    """It is in no element and no store afterwards (S6, W14)."""
    screen = ClientList.open(tab)
    form = screen.new().fill(client_secret=CANARY)
    form.discard()
    expect(form.root).to_have_count(0)
    assert CANARY not in stored_data(tab)
    form = screen.new()
    expect(form.secret).not_to_have_value(CANARY)


def test_after_sign_out_back_shows_the_sign_in_page(tab: Page, merchant: Merchant) -> None:
    """No page of the session is shown from a cache (W7)."""
    client = merchant.add_client()
    ClientList.open(tab)
    Details.open(tab, client.id)
    sign_out(tab)
    for _ in range(2):
        tab.go_back()
        SignIn(tab)
        assert client.client_id not in tab.content()
        assert merchant.name not in tab.content()


def test_a_form_that_was_open_while_the_session_was_renewed_is_saved_at_the_second_press(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """New sign-in in tab 2, save in tab 1, then once more (W10)."""
    form = ClientList.open(tab).new()
    form.fill(client_id=merchant.new_id, client_secret=CANARY, name="As typed").choose(["MerchantUser"])
    SignIn.open(tab.context.new_page()).sign_in(merchant.admin, merchant.password, then=Home)
    with tab.expect_response(re.compile("/new$")) as refusal:
        form.create_with_errors()
    assert (refusal.value.status, CANARY in refusal.value.text()) == (422, False)
    expect(form.summary).to_contain_text("Please press Create again.")
    expect(tab.locator("#ic-form-message")).to_be_focused()
    expect(form.secret).to_have_value(CANARY)
    expect(form.field("name")).to_have_value("As typed")
    assert form.create().secret == CANARY
    assert request_token(live_server.url, merchant.new_id, CANARY).ok


def test_edit_is_saved_at_the_second_press(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    """After a new sign-in in another tab (W10)."""
    client = merchant.add_client()
    form = Details.open(tab, client.id).edit().fill(name="As typed", client_secret=CANARY)
    SignIn.open(tab.context.new_page()).sign_in(merchant.admin, merchant.password, then=Home)
    form.save_with_errors()
    expect(form.secret).to_have_value(CANARY)
    form.press("Save")
    assert Handover(tab).secret == CANARY
    assert merchant.client(merchant.new_id).name == "As typed"


def test_a_dialog_is_kept_after_sign_out_and_saved_after_the_next_sign_in(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """Signed out in tab 2, the dialog in tab 1 keeps all values; sign in in tab 2, save in tab 1 (W11)."""
    screen = ClientList.open(tab)
    form = screen.new()
    form.fill(client_id=merchant.new_id, client_secret=CANARY, description="As typed").choose(["MerchantUser"])
    second = tab.context.new_page()
    ClientList.open(second)
    sign_out(second)
    form.create_with_errors()
    expect(form.summary).to_contain_text("You were signed out")
    expect(tab.locator("input[type=password]:not([name=client_secret])")).to_have_count(0)
    expect(tab.get_by_role("heading", name="Sign in to MAS")).to_have_count(0)
    expect(form.root.get_by_role("button", name="Create", exact=True)).to_be_focused()
    with tab.context.expect_page() as opened:
        form.summary.get_by_role("link").click()
    SignIn(opened.value).sign_in(merchant.admin, merchant.password, then=ClientList)
    expect(form.secret).to_have_value(CANARY)
    expect(form.field("description")).to_have_value("As typed")
    form.create_with_errors()
    expect(form.summary).to_contain_text("Please press Create again.")
    assert form.create().secret == CANARY
    assert request_token(live_server.url, merchant.new_id, CANARY).ok


def test_links_after_a_sign_out_lead_to_the_sign_in_page(tab: Page, merchant: Merchant) -> None:
    """Never within a dialog; afterwards the requested page is shown (W11)."""
    screen = ClientList.open(tab)
    second = tab.context.new_page()
    ClientList.open(second)
    sign_out(second)
    screen.root.get_by_role("link", name="New Client").first.click()
    SignIn(tab).sign_in(merchant.admin, merchant.password, then=NewClient)


def sign_out(tab: Page) -> None:
    """Sign out by the menu in the header."""
    tab.get_by_role("button", name="Ann Example").click()
    tab.get_by_role("button", name="Sign out").click()
    SignIn(tab)
