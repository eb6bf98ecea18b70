"""What the browser keeps of a secret, and what becomes of an open form when the session ends or is renewed."""

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
EVERYTHING = """async () => JSON.stringify({
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
    """Return a tab of a browser of its own, which keeps nothing of other tests."""
    return visit(merchant.admin, own=True)


def everything(tab: Page) -> str:
    """Return all that the browser lets a page see, and what it would carry into another session."""
    return str(tab.evaluate(EVERYTHING)) + json.dumps(tab.context.storage_state())


def create(form: NewClient, client_id: str) -> Handover:
    """Create a client whose secret is the canary."""
    form.fill(client_id=client_id, client_secret=CANARY).choose(["MerchantUser"])
    return form.create()


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "left open"])
def test_after_the_hand_over_the_secret_is_nowhere(tab: Page, merchant: Merchant, closed: bool) -> None:
    """Back, Forward, reload and a reopened tab; from the dialog (W14, S6)."""
    tab.goto("/")
    hand_over = create(ClientList.open(tab).new(), merchant.new_id)
    assert CANARY in everything(tab)
    assert CANARY not in tab.url
    if closed:
        hand_over.done(then=ClientList)
        assert CANARY not in everything(tab)
    tab.goto("/")
    assert CANARY not in everything(tab)
    tab.go_back()
    ClientList(tab)
    assert CANARY not in everything(tab)
    tab.reload()
    assert CANARY not in everything(tab)
    tab.go_back()
    tab.go_forward()
    ClientList(tab)
    assert CANARY not in everything(tab)
    reopened = tab.context.new_page()
    for path in ("", f"/{merchant.client(merchant.new_id).id}", f"/{merchant.client(merchant.new_id).id}/edit"):
        reopened.goto(PREFIX + path)
        assert CANARY not in everything(reopened)


def test_after_the_hand_over_page_the_secret_is_nowhere(tab: Page, merchant: Merchant) -> None:
    """The same from the page, whose address is the one of the form (W14, S6)."""
    hand_over = create(NewClient.open(tab), merchant.new_id)
    assert CANARY in everything(tab)
    hand_over.done(then=Details)
    assert CANARY not in everything(tab)
    with pytest.raises(Error, match="ERR_CACHE_MISS"):  # a browser asks before it sends a form again
        tab.go_back()
    tab = tab.context.new_page()
    NewClient.open(tab)
    assert CANARY not in everything(tab)
    assert merchant.client_ids == [merchant.new_id]


def test_a_browser_that_keeps_whole_pages_keeps_none_with_a_secret(
    keeping_browser: Browser, merchant: Merchant, live_server: LiveServer
) -> None:
    """A page that comes back as it was left has been wiped, and loads itself again (W14).

    Chromium heeds `no-store`; others may not, so that the header is taken away here.
    """
    with keeping_browser.new_context(base_url=live_server.url) as context:
        sign_in(context, merchant.admin, live_server.password)
        context.route("**/identity-clients", without_no_store)
        context.add_init_script(
            "addEventListener('pageshow', event => console.log(event.persisted, document.body.innerHTML))"
        )
        tab = context.new_page()
        create(ClientList.open(tab).new(), merchant.new_id)
        tab.goto("/healthz")
        with tab.expect_console_message(lambda said: said.text.startswith("true ")) as kept, tab.expect_event("load"):
            tab.evaluate("history.back()")
        assert merchant.new_id in kept.value.text
        assert CANARY not in kept.value.text
        screen = ClientList(tab)
        expect(screen.client_ids).to_have_text([merchant.new_id])
        assert CANARY not in everything(tab)


@pytest.fixture
def keeping_browser(browser: Browser) -> Iterator[Browser]:
    """Return a browser that shows a page again as it was left, which the tests' usual one is told not to do."""
    kind = browser.browser_type
    keeping = kind.launch(
        executable_path=chromium(), args=CHROMIUM_ARGUMENTS, ignore_default_args=["--disable-back-forward-cache"]
    )
    yield keeping
    keeping.close()


def without_no_store(route: Route) -> None:
    """Let a page through without the header that forbids to keep it."""
    answer = route.fetch()
    headers = {name: value for name, value in answer.headers.items() if name.lower() != "cache-control"}
    route.fulfill(response=answer, headers=headers)


def test_a_secret_that_was_typed_and_not_saved_goes_with_the_dialog(tab: Page, merchant: Merchant) -> None:
    """A secret that was typed and not saved goes with the dialog (S6, W14)."""
    screen = ClientList.open(tab)
    form = screen.new().fill(client_secret=CANARY)
    form.discard()
    expect(form.root).to_have_count(0)
    assert CANARY not in everything(tab)
    form = screen.new()
    expect(form.secret).not_to_have_value(CANARY)


def test_after_sign_out_back_shows_the_sign_in_page(tab: Page, merchant: Merchant) -> None:
    """After sign out back shows the sign in page (W7)."""
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
    """Edit is saved at the second press (W10)."""
    client = merchant.add_client()
    form = Details.open(tab, client.id).edit().fill(name="As typed", client_secret=CANARY)
    SignIn.open(tab.context.new_page()).sign_in(merchant.admin, merchant.password, then=Home)
    form.save_with_errors()
    expect(form.secret).to_have_value(CANARY)
    form.press("Save")
    assert Handover(tab).secret == CANARY
    assert merchant.client(merchant.new_id).name == "As typed"


def test_a_dialog_outlives_a_sign_out_and_is_saved_after_the_next_sign_in(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """Signed out in tab 2, the dialog in tab 1 keeps all; sign in in tab 2, save in tab 1 (W11)."""
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


def test_what_is_opened_after_a_sign_out_leads_to_the_sign_in_page(tab: Page, merchant: Merchant) -> None:
    """Never a sign-in page within a dialog; afterwards the page that was asked for (W11)."""
    screen = ClientList.open(tab)
    second = tab.context.new_page()
    ClientList.open(second)
    sign_out(second)
    screen.root.get_by_role("link", name="New Client").first.click()
    SignIn(tab).sign_in(merchant.admin, merchant.password, then=NewClient)


def sign_out(tab: Page) -> None:
    """Sign out by the menu in the bar."""
    tab.get_by_role("button", name="Ann Example").click()
    tab.get_by_role("button", name="Sign out").click()
    SignIn(tab)
