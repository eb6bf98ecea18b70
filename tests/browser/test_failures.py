"""Requests that fail: no network, a time-out, a proxy's error page, a redirect to a sign-in page.

Nothing is swapped, no input is lost, and a notice with Retry is shown at the place of the action.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from playwright.sync_api import Dialog, Locator, Page, Route, expect

from tests.support.browser import Merchant, Visit
from tests.support.pages import PREFIX, ClientList, Details, EditClient, Handover, NewClient

SECRET = "a secret of our own 1"
BAD_GATEWAY = "<html><body><h1>502 Bad Gateway</h1><hr>nginx</body></html>"
SIGN_IN = "<!doctype html><html><body><h1>Sign in to the portal</h1></body></html>"
SCREENS = re.compile(re.escape(PREFIX))


@dataclass(frozen=True)
class Failure:
    """A way in which a request can fail.

    :param begin: a function that makes the requests of a tab fail.
    :param reason: the text of the notice.
    """

    begin: Callable[[Page], object]
    reason: str


def _time_out(tab: Page) -> None:
    tab.route(SCREENS, lambda route: None)
    tab.evaluate("htmx.config.defaultTimeout = 300")


FAILURES = {
    "offline": Failure(lambda tab: tab.context.set_offline(True), "could not be reached"),
    "server stopped": Failure(
        lambda tab: tab.route(SCREENS, lambda route: route.abort("connectionrefused")), "could not be reached"
    ),
    "time-out": Failure(_time_out, "did not answer in time"),
    "bad gateway": Failure(
        lambda tab: tab.route(
            SCREENS, lambda route: route.fulfill(status=502, content_type="text/html", body=BAD_GATEWAY)
        ),
        "cannot answer right now",
    ),
    "another page": Failure(
        lambda tab: tab.route(SCREENS, lambda route: route.fulfill(status=200, content_type="text/html", body=SIGN_IN)),
        "you may be signed out",
    ),
}


def restore(tab: Page) -> None:
    """Let the requests of a tab reach the server again."""
    tab.context.set_offline(False)
    tab.unroute_all(behavior="ignoreErrors")
    tab.evaluate("htmx.config.defaultTimeout = 60_000")


def notice(where: Locator) -> Locator:
    """Return the notice of a failure within an element."""
    return where.get_by_role("alert").filter(has=where.page.get_by_role("button", name="Retry"))


def check_no_foreign_content(tab: Page) -> None:
    expect(tab.locator("body")).not_to_contain_text("Bad Gateway")
    expect(tab.locator("body")).not_to_contain_text("Sign in to the portal")
    expect(tab.get_by_label("Password")).to_have_count(0)


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab of a separate browser, whose network can fail."""
    return visit(merchant.admin, own=True)


@pytest.fixture(params=FAILURES)
def failure(request: pytest.FixtureRequest) -> Failure:
    """Return each kind of failure in turn."""
    return FAILURES[request.param]


def test_a_failed_search_leaves_the_list_and_is_announced(tab: Page, merchant: Merchant, failure: Failure) -> None:
    ids = merchant.add_clients(2)
    screen = ClientList.open(tab)
    failure.begin(tab)
    screen.search.fill(ids[1])
    message = notice(screen.root)
    expect(message).to_contain_text("not filtered")
    expect(message).to_contain_text(failure.reason)
    expect(screen.client_ids).to_have_text(ids)
    expect(screen.root.locator("#ic-results")).not_to_have_attribute("aria-busy", "true")
    check_no_foreign_content(tab)
    assert tab.url.endswith(PREFIX)
    message.get_by_role("button", name="Retry").click()
    tab.wait_for_timeout(600)  # longer than a request may take here, so that none is pending
    expect(message).to_contain_text(failure.reason)
    restore(tab)
    message.get_by_role("button", name="Retry").click()
    expect(screen.client_ids).to_have_text(ids[1:])
    expect(message).to_have_count(0)
    expect(screen.search).to_have_value(ids[1])


def test_a_dialog_that_cannot_be_loaded_shows_a_notice(tab: Page, merchant: Merchant, failure: Failure) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    link = screen.root.get_by_role("link", name="New Client")
    failure.begin(tab)
    link.click()
    dialog = tab.get_by_role("dialog")
    expect(notice(dialog)).to_contain_text(failure.reason)
    expect(dialog.get_by_role("button", name="Retry")).to_be_focused()
    check_no_foreign_content(tab)
    tab.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()
    tab.keyboard.press("Enter")
    expect(notice(dialog)).to_be_visible()
    restore(tab)
    dialog.get_by_role("button", name="Retry").click()
    expect(NewClient(tab).field("client_id")).to_be_focused()


def test_a_form_that_cannot_be_sent_keeps_its_values(tab: Page, merchant: Merchant, failure: Failure) -> None:
    merchant.add_client(f"{merchant.new_id}-other")
    form = ClientList.open(tab).new()
    form.fill(client_id=merchant.new_id, name="Claims payments", client_secret=SECRET)
    form.choose({"MerchantUser"})
    failure.begin(tab)
    form.press("Create")
    message = notice(form.root)
    expect(message).to_contain_text(failure.reason)
    expect(message).to_be_in_viewport()
    for name, value in {"client_id": merchant.new_id, "name": "Claims payments", "client_secret": SECRET}.items():
        expect(form.field(name)).to_have_value(value)
    assert form.chosen_roles == ["MerchantUser"]
    check_no_foreign_content(tab)
    assert merchant.new_id not in merchant.client_ids
    restore(tab)
    message.get_by_role("button", name="Retry").click()
    expect(Handover(tab).root).to_contain_text(merchant.new_id)


def test_a_menu_that_cannot_be_loaded_shows_a_notice(tab: Page, merchant: Merchant, failure: Failure) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    failure.begin(tab)
    screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}").click()
    menu = tab.locator(".ic-menu:popover-open")
    expect(notice(menu)).to_contain_text(failure.reason)
    check_no_foreign_content(tab)
    restore(tab)
    menu.get_by_role("button", name="Retry").click()
    expect(menu.get_by_role("link", name=f"Edit {merchant.new_id}")).to_be_visible()


def test_a_confirmation_that_cannot_be_sent_stays_open(tab: Page, merchant: Merchant, failure: Failure) -> None:
    client = merchant.add_client()
    confirmation = Details.open(tab, client.id).more().disable()
    failure.begin(tab)
    confirmation.root.get_by_role("button", name="Disable").click()
    message = notice(confirmation.root)
    expect(message).to_contain_text(failure.reason)
    assert merchant.client(client.client_id).enabled
    restore(tab)
    message.get_by_role("button", name="Retry").click()
    expect(confirmation.root).to_have_count(0)
    assert not merchant.client(client.client_id).enabled


def test_a_page_form_that_cannot_be_sent_stays(tab: Page, merchant: Merchant, failure: Failure) -> None:
    """Otherwise the browser would replace the page by its error page, and lose the form."""
    form = NewClient.open(tab)
    form.fill(client_id=merchant.new_id, name="Claims payments", client_secret=SECRET).choose({"MerchantUser"})
    failure.begin(tab)
    if failure.reason == FAILURES["time-out"].reason:
        tab.evaluate("AbortSignal.timeout = () => AbortSignal.abort(new DOMException('', 'TimeoutError'))")
    form.press("Create")
    message = notice(form.root)
    expect(message).to_contain_text(failure.reason)
    for name, value in {"client_id": merchant.new_id, "name": "Claims payments", "client_secret": SECRET}.items():
        expect(form.field(name)).to_have_value(value)
    restore(tab)
    if failure.reason == FAILURES["time-out"].reason:
        tab.evaluate("AbortSignal.timeout = () => new AbortController().signal")
    message.get_by_role("button", name="Retry").click()
    expect(Handover(tab).root).to_contain_text(merchant.new_id)


def test_an_error_of_ours_does_not_replace_the_list(tab: Page, merchant: Merchant, visit: Visit) -> None:
    """Its fragment is shown in the notice (W12)."""
    ids = merchant.add_clients(2)
    screen = ClientList.open(tab)

    def busy(route: Route) -> None:
        body = '<div class="ic-note"><p><b>The service is busy.</b> Try again in a few seconds.</p></div>'
        route.fulfill(status=503, headers={"X-Identity-Clients": "1"}, content_type="text/html", body=body)

    tab.route(SCREENS, busy)
    screen.search.fill(ids[1])
    expect(notice(screen.root)).to_contain_text("The service is busy. Try again in a few seconds.")
    expect(screen.client_ids).to_have_text(ids)


def test_a_section_that_refreshes_itself_ignores_a_proxys_page(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    tab.clock.install()
    screen = Details.open(tab, client.id)
    before = screen.section("Token requests").inner_text()
    FAILURES["bad gateway"].begin(tab)
    with tab.expect_response(lambda response: response.status == 502):
        tab.clock.fast_forward(60_000)
    expect(screen.section("Token requests")).to_have_text(before, use_inner_text=True)
    check_no_foreign_content(tab)
    expect(tab.get_by_role("alert")).to_have_count(0)


# Copying


@pytest.mark.parametrize("clipboard", ["absent", "refused"])
def test_a_failed_copy_shows_a_message_and_selects_the_text(visit: Visit, merchant: Merchant, clipboard: str) -> None:
    """Without https a browser has no clipboard; a policy or a person may refuse it."""
    merchant.add_client(f"{merchant.new_id}-other")
    tab = visit(merchant.admin, own=True)
    refuse = "{ writeText: () => Promise.reject(new DOMException('', 'NotAllowedError')) }"
    value = "undefined" if clipboard == "absent" else refuse
    tab.add_init_script(f"Object.defineProperty(Navigator.prototype, 'clipboard', {{ get: () => ({value}) }})")
    form = ClientList.open(tab).new()
    form.fill(client_id=merchant.new_id, client_secret=SECRET).choose({"MerchantUser"})
    form.press("Copy Client secret")
    expect(form.root.get_by_role("alert")).to_contain_text("Client secret could not be copied")
    expect(form.secret).to_be_focused()
    assert tab.evaluate("getSelection().toString() || document.activeElement.value") == SECRET
    handover = form.create()
    handover.root.get_by_role("button", name="Copy Client secret").click()
    expect(handover.root.get_by_role("alert")).to_contain_text("Client secret could not be copied")
    assert tab.evaluate("getSelection().toString()") == SECRET
    expect(handover.root.get_by_role("button", name="Copy Client secret")).to_be_visible()
    handover.root.get_by_role("button", name="Copy cURL", exact=True).click()
    expect(handover.root.get_by_role("alert")).to_have_count(2)
    expect(handover.root).to_be_visible()


# Pending requests


def hold(tab: Page) -> list[Route]:
    """Hold back the requests of a tab to the screens; return the list that they are added to."""
    held: list[Route] = []
    tab.route(SCREENS, lambda route: held.append(route))
    return held


def test_a_pending_form_is_marked_keeps_the_focus_and_is_sent_once(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(f"{merchant.new_id}-other")
    form = ClientList.open(tab).new()
    form.fill(client_id=merchant.new_id, client_secret=SECRET).choose({"MerchantUser"})
    held = hold(tab)
    button = form.root.locator("#f-go")
    button.focus()
    tab.keyboard.press("Enter")
    tab.keyboard.press("Enter")
    expect(button).to_have_text("Creating…")
    expect(button).to_be_focused()
    expect(tab.get_by_role("dialog").get_by_role("status")).to_have_text("Creating…")
    [request] = held
    request.continue_()
    Handover(tab)


@pytest.mark.parametrize("what", ["dialog", "menu"])
def test_a_pending_dialog_or_menu_is_marked_at_its_button(tab: Page, merchant: Merchant, what: str) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    held = hold(tab)
    name = {"dialog": "New Client", "menu": f"Actions for {merchant.new_id}"}[what]
    link = screen.root.get_by_role("link", name=name)
    link.focus()
    tab.keyboard.press("Enter")
    expect(link).to_have_class(re.compile("ic-busy"))
    expect(link).to_be_focused()
    [request] = held
    request.continue_()
    expect(tab.locator("dialog[open], .ic-menu:popover-open")).to_be_visible()
    expect(link).not_to_have_class(re.compile("ic-busy"))


def test_a_quick_response_shows_no_mark(tab: Page, merchant: Merchant) -> None:
    """Below 150 ms it would only flicker."""
    merchant.add_client()
    screen = ClientList.open(tab)
    tab.evaluate(
        """() => {
          window.seen = 0;
          new MutationObserver(() => { window.seen += document.querySelectorAll('.ic-busy').length })
            .observe(document.body, { attributes: true, subtree: true, attributeFilter: ['class'] });
          const wait = window.setTimeout;
          window.setTimeout = (task, delay) => wait(task, delay === 150 ? 5000 : delay);
        }"""
    )
    screen.menu(merchant.new_id)
    assert tab.evaluate("window.seen") == 0


# Leaving a form


@pytest.mark.parametrize("way", ["Escape", "Cancel", "Close"])
def test_closing_a_changed_dialog_asks_first(tab: Page, merchant: Merchant, way: str) -> None:
    merchant.add_client()
    form = ClientList.open(tab).new()
    form.fill(name="Claims payments")

    def leave() -> None:
        if way == "Escape":
            form.field("name").press("Escape")
        else:
            form.root.get_by_role("link", name=way, exact=True).click()

    confirmation = tab.get_by_role("dialog", name="Discard what you typed?")
    leave()
    expect(confirmation.get_by_role("button", name="Keep editing")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(confirmation).to_have_count(0)
    expect(form.field("name")).to_have_value("Claims payments")
    leave()
    confirmation.get_by_role("button", name="Keep editing").click()
    expect(form.field("name")).to_have_value("Claims payments")
    leave()
    confirmation.get_by_role("button", name="Discard").click()
    expect(form.root).to_have_count(0)
    expect(ClientList(tab).root.get_by_role("link", name="New Client")).to_be_focused()


def test_an_untouched_dialog_closes_at_once(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    form = ClientList.open(tab).new()
    tab.keyboard.press("Escape")
    expect(form.root).to_have_count(0)
    expect(tab.get_by_role("dialog")).to_have_count(0)


def test_opening_another_dialog_over_a_changed_one_asks_first(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    form = Details.open(tab, client.id).edit()
    form.fill(name="Typed")
    form.root.get_by_role("link", name="Change secret").click()
    confirmation = tab.get_by_role("dialog", name="Discard what you typed?")
    confirmation.get_by_role("button", name="Keep editing").click()
    expect(form.field("name")).to_have_value("Typed")


@pytest.mark.parametrize("way", ["reload", "back"])
@pytest.mark.parametrize("place", ["dialog", "page", "handover"])
def test_leaving_a_changed_form_asks_first(tab: Page, merchant: Merchant, way: str, place: str) -> None:
    """By the browser's own dialog; staying keeps all values."""
    merchant.add_client(f"{merchant.new_id}-other")
    screen = ClientList.open(tab)
    form = NewClient.open(tab) if place == "page" else screen.new()
    form.fill(client_id=merchant.new_id, client_secret=SECRET).choose({"MerchantUser"})
    form.field("name").press_sequentially("Claims")
    if place == "handover":
        form.create()
    dialogs: list[str] = []

    def stay(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.dismiss()

    tab.on("dialog", stay)
    tab.evaluate("setTimeout(() => " + {"reload": "location.reload()", "back": "history.back()"}[way] + ")")
    tab.wait_for_timeout(500)
    assert dialogs == ["beforeunload"]
    if place == "handover":
        expect(Handover(tab).root).to_contain_text(SECRET)
    else:
        expect(form.field("name")).to_have_value("Claims")


def test_leaving_after_saving_does_not_ask(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    dialogs: list[str] = []

    def leave(dialog: Dialog) -> None:
        dialogs.append(dialog.type)
        dialog.accept()

    tab.on("dialog", leave)
    form = Details.open(tab, client.id).edit()
    form.field("name").press_sequentially("x name")
    form.save(then=Details)
    tab.reload()
    page_form = EditClient.open(tab, client.id)
    page_form.field("name").press_sequentially(" on a page")
    page_form.save(then=Details)
    tab.reload()
    assert dialogs == []
