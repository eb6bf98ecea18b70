"""Requests that fail on the way: no network, a time-out, a proxy's error page, a redirect to a sign-in page.

Nothing is swapped, nothing typed is lost, and a notice with Retry stands where the person looks.
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

    :param begin: makes the requests of a tab fail.
    :param reason: what the notice says.
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


def end(tab: Page) -> None:
    """Let the requests of a tab reach the server again."""
    tab.context.set_offline(False)
    tab.unroute_all(behavior="ignoreErrors")
    tab.evaluate("htmx.config.defaultTimeout = 60_000")


def notice(where: Locator) -> Locator:
    """Return the notice of a failure within an element."""
    return where.get_by_role("alert").filter(has=where.page.get_by_role("button", name="Retry"))


def check_nothing_foreign(tab: Page) -> None:
    expect(tab.locator("body")).not_to_contain_text("Bad Gateway")
    expect(tab.locator("body")).not_to_contain_text("Sign in to the portal")
    expect(tab.get_by_label("Password")).to_have_count(0)


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab of a browser of its own, whose network can fail."""
    return visit(merchant.admin, own=True)


@pytest.fixture(params=FAILURES)
def failure(request: pytest.FixtureRequest) -> Failure:
    """Return each way to fail in turn."""
    return FAILURES[request.param]


def test_a_search_that_fails_leaves_the_list_and_says_that_it_is_not_filtered(
    tab: Page, merchant: Merchant, failure: Failure
) -> None:
    ids = merchant.add_clients(2)
    screen = ClientList.open(tab)
    failure.begin(tab)
    screen.search.fill(ids[1])
    message = notice(screen.root)
    expect(message).to_contain_text("not filtered")
    expect(message).to_contain_text(failure.reason)
    expect(screen.client_ids).to_have_text(ids)
    expect(screen.root.locator("#ic-results")).not_to_have_attribute("aria-busy", "true")
    check_nothing_foreign(tab)
    assert tab.url.endswith(PREFIX)
    message.get_by_role("button", name="Retry").click()
    tab.wait_for_timeout(600)  # longer than a request may take here, so that none is under way
    expect(message).to_contain_text(failure.reason)
    end(tab)
    message.get_by_role("button", name="Retry").click()
    expect(screen.client_ids).to_have_text(ids[1:])
    expect(message).to_have_count(0)
    expect(screen.search).to_have_value(ids[1])


def test_new_client_that_does_not_open_says_so_in_a_dialog(tab: Page, merchant: Merchant, failure: Failure) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    link = screen.root.get_by_role("link", name="New Client")
    failure.begin(tab)
    link.click()
    dialog = tab.get_by_role("dialog")
    expect(notice(dialog)).to_contain_text(failure.reason)
    expect(dialog.get_by_role("button", name="Retry")).to_be_focused()
    check_nothing_foreign(tab)
    tab.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()
    tab.keyboard.press("Enter")
    expect(notice(dialog)).to_be_visible()
    end(tab)
    dialog.get_by_role("button", name="Retry").click()
    expect(NewClient(tab).field("client_id")).to_be_focused()


def test_a_form_that_is_not_saved_keeps_what_was_typed(tab: Page, merchant: Merchant, failure: Failure) -> None:
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
    check_nothing_foreign(tab)
    assert merchant.new_id not in merchant.client_ids
    end(tab)
    message.get_by_role("button", name="Retry").click()
    expect(Handover(tab).root).to_contain_text(merchant.new_id)


def test_a_menu_that_does_not_open_says_so_in_its_place(tab: Page, merchant: Merchant, failure: Failure) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    failure.begin(tab)
    screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}").click()
    menu = tab.locator(".ic-menu:popover-open")
    expect(notice(menu)).to_contain_text(failure.reason)
    check_nothing_foreign(tab)
    end(tab)
    menu.get_by_role("button", name="Retry").click()
    expect(menu.get_by_role("link", name=f"Edit {merchant.new_id}")).to_be_visible()


def test_a_confirmation_that_is_not_sent_stays_open(tab: Page, merchant: Merchant, failure: Failure) -> None:
    client = merchant.add_client()
    question = Details.open(tab, client.id).more().disable()
    failure.begin(tab)
    question.root.get_by_role("button", name="Disable").click()
    message = notice(question.root)
    expect(message).to_contain_text(failure.reason)
    assert merchant.client(client.client_id).enabled
    end(tab)
    message.get_by_role("button", name="Retry").click()
    expect(question.root).to_have_count(0)
    assert not merchant.client(client.client_id).enabled


def test_the_form_of_a_page_that_is_not_sent_stays(tab: Page, merchant: Merchant, failure: Failure) -> None:
    """Without the check the browser would replace the page by its error page, and the form by an empty one."""
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
    end(tab)
    if failure.reason == FAILURES["time-out"].reason:
        tab.evaluate("AbortSignal.timeout = () => new AbortController().signal")
    message.get_by_role("button", name="Retry").click()
    expect(Handover(tab).root).to_contain_text(merchant.new_id)


def test_an_error_of_ours_does_not_replace_the_list(tab: Page, merchant: Merchant, visit: Visit) -> None:
    """Its fragment is told in the notice (W12)."""
    ids = merchant.add_clients(2)
    screen = ClientList.open(tab)

    def busy(route: Route) -> None:
        body = '<div class="ic-note"><p><b>The service is busy.</b> Try again in a few seconds.</p></div>'
        route.fulfill(status=503, headers={"X-Identity-Clients": "1"}, content_type="text/html", body=body)

    tab.route(SCREENS, busy)
    screen.search.fill(ids[1])
    expect(notice(screen.root)).to_contain_text("The service is busy. Try again in a few seconds.")
    expect(screen.client_ids).to_have_text(ids)


def test_a_panel_that_refreshes_itself_takes_nothing_from_a_proxy(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    tab.clock.install()
    screen = Details.open(tab, client.id)
    before = screen.section("Token requests").inner_text()
    FAILURES["bad gateway"].begin(tab)
    with tab.expect_response(lambda response: response.status == 502):
        tab.clock.fast_forward(60_000)
    expect(screen.section("Token requests")).to_have_text(before, use_inner_text=True)
    check_nothing_foreign(tab)
    expect(tab.get_by_role("alert")).to_have_count(0)


# Copying


@pytest.mark.parametrize("clipboard", ["absent", "refused"])
def test_a_copy_that_fails_says_so_and_selects_the_text(visit: Visit, merchant: Merchant, clipboard: str) -> None:
    """Without https a browser offers no clipboard; a policy or a person may refuse it."""
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
    hand_over = form.create()
    hand_over.root.get_by_role("button", name="Copy Client secret").click()
    expect(hand_over.root.get_by_role("alert")).to_contain_text("Client secret could not be copied")
    assert tab.evaluate("getSelection().toString()") == SECRET
    expect(hand_over.root.get_by_role("button", name="Copy Client secret")).to_be_visible()
    hand_over.root.get_by_role("button", name="Copy cURL", exact=True).click()
    expect(hand_over.root.get_by_role("alert")).to_have_count(2)
    expect(hand_over.root).to_be_visible()


# Pending requests


def hold(tab: Page) -> list[Route]:
    """Hold back the requests of a tab to the screens; return the list that they are added to."""
    held: list[Route] = []
    tab.route(SCREENS, lambda route: held.append(route))
    return held


def test_a_pending_form_shows_it_keeps_the_focus_and_is_sent_once(tab: Page, merchant: Merchant) -> None:
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
def test_a_dialog_or_menu_on_its_way_is_shown_at_what_opens_it(tab: Page, merchant: Merchant, what: str) -> None:
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


def test_a_quick_answer_shows_nothing(tab: Page, merchant: Merchant) -> None:
    """Below 150 ms a sign of work would only flicker."""
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


# Forms that are left


@pytest.mark.parametrize("way", ["Escape", "Cancel", "Close"])
def test_a_half_filled_dialog_is_not_discarded_unasked(tab: Page, merchant: Merchant, way: str) -> None:
    merchant.add_client()
    form = ClientList.open(tab).new()
    form.fill(name="Claims payments")

    def leave() -> None:
        if way == "Escape":
            form.field("name").press("Escape")
        else:
            form.root.get_by_role("link", name=way, exact=True).click()

    question = tab.get_by_role("dialog", name="Discard what you typed?")
    leave()
    expect(question.get_by_role("button", name="Keep editing")).to_be_focused()
    tab.keyboard.press("Escape")
    expect(question).to_have_count(0)
    expect(form.field("name")).to_have_value("Claims payments")
    leave()
    question.get_by_role("button", name="Keep editing").click()
    expect(form.field("name")).to_have_value("Claims payments")
    leave()
    question.get_by_role("button", name="Discard").click()
    expect(form.root).to_have_count(0)
    expect(ClientList(tab).root.get_by_role("link", name="New Client")).to_be_focused()


def test_an_untouched_dialog_closes_at_once(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    form = ClientList.open(tab).new()
    tab.keyboard.press("Escape")
    expect(form.root).to_have_count(0)
    expect(tab.get_by_role("dialog")).to_have_count(0)


def test_another_dialog_does_not_take_the_place_of_a_half_filled_one_unasked(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    form = Details.open(tab, client.id).edit()
    form.fill(name="Typed")
    form.root.get_by_role("link", name="Change secret").click()
    question = tab.get_by_role("dialog", name="Discard what you typed?")
    question.get_by_role("button", name="Keep editing").click()
    expect(form.field("name")).to_have_value("Typed")


@pytest.mark.parametrize("way", ["reload", "back"])
@pytest.mark.parametrize("place", ["dialog", "page", "hand-over"])
def test_leaving_a_half_filled_form_asks(tab: Page, merchant: Merchant, way: str, place: str) -> None:
    """The browser asks in its own words; whoever stays keeps everything."""
    merchant.add_client(f"{merchant.new_id}-other")
    screen = ClientList.open(tab)
    form = NewClient.open(tab) if place == "page" else screen.new()
    form.fill(client_id=merchant.new_id, client_secret=SECRET).choose({"MerchantUser"})
    form.field("name").press_sequentially("Claims")
    if place == "hand-over":
        form.create()
    asked: list[str] = []

    def stay(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.dismiss()

    tab.on("dialog", stay)
    tab.evaluate("setTimeout(() => " + {"reload": "location.reload()", "back": "history.back()"}[way] + ")")
    tab.wait_for_timeout(500)
    assert asked == ["beforeunload"]
    if place == "hand-over":
        expect(Handover(tab).root).to_contain_text(SECRET)
    else:
        expect(form.field("name")).to_have_value("Claims")


def test_leaving_after_saving_does_not_ask(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    asked: list[str] = []

    def leave(dialog: Dialog) -> None:
        asked.append(dialog.type)
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
    assert asked == []
