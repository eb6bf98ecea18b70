"""The stand-alone MAS in Chromium: keyboard, narrow screens, without JavaScript, and after sign-out."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from tests.support.servers import LiveServer
from webapp.standalone.demo import USERS

ADMIN = USERS[0]


@pytest.fixture
def plain_page(browser: Browser, live_server: LiveServer) -> Iterator[Page]:
    """Return an empty tab with JavaScript switched off."""
    with browser.new_context(base_url=live_server.url, java_script_enabled=False) as context:
        yield context.new_page()


def sign_in(page: Page, password: str) -> None:
    """Sign in by keyboard alone; the first field has the focus."""
    page.goto("/login")
    page.keyboard.type(ADMIN.email)
    page.keyboard.press("Tab")
    page.keyboard.type(password)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Welcome, {ADMIN.name}")).to_be_visible()


def test_signing_in_and_out_by_keyboard(page: Page, live_server: LiveServer) -> None:
    """After sign-out, Back shows the sign-in page and no earlier content (W7)."""
    problems: list[str] = []

    def record(message: ConsoleMessage) -> None:
        if message.type == "error":
            problems.append(message.text)

    page.on("console", record)
    sign_in(page, live_server.password)
    expect(page.get_by_role("navigation", name="Main").get_by_role("link")).to_have_text(["Home", "Identity Clients"])
    page.get_by_role("button", name=ADMIN.name).focus()
    page.keyboard.press("Enter")
    sign_out = page.get_by_role("button", name="Sign out")
    expect(sign_out).to_be_visible()
    page.keyboard.press("Escape")
    expect(sign_out).to_be_hidden()
    page.keyboard.press("Enter")
    for name in ("English", "Deutsch", "Sign out"):
        page.keyboard.press("Tab")
        expect(page.get_by_role("button", name=name)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sign in to MAS")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sign in to MAS")).to_be_visible()
    expect(page.get_by_text(ADMIN.name)).to_have_count(0)
    assert problems == []


def test_the_skip_link_leads_past_the_navigation(page: Page, live_server: LiveServer) -> None:
    """The first Tab reaches it, and it moves the focus to the content."""
    sign_in(page, live_server.password)
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("main :focus")).to_have_count(1)


def test_a_refused_sign_in_moves_the_focus_and_keeps_the_address(page: Page) -> None:
    """The message is read aloud; the e-mail address is kept, the password is not."""
    page.goto("/login")
    page.get_by_label("E-mail address").fill("nobody@company.example")
    page.get_by_label("Password", exact=True).fill("a wrong password")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_be_focused()
    expect(page).to_have_title("Error: Sign in – Vitesse MAS")
    expect(page.get_by_label("E-mail address")).to_have_value("nobody@company.example")
    expect(page.get_by_label("Password", exact=True)).to_have_value("")


def test_the_password_can_be_shown(page: Page) -> None:
    page.goto("/login")
    field = page.get_by_label("Password", exact=True)
    field.fill("something long")
    page.get_by_role("button", name="Show password").click()
    expect(field).to_have_attribute("type", "text")
    page.get_by_role("button", name="Hide password").click()
    expect(field).to_have_attribute("type", "password")


def test_without_javascript(plain_page: Page, live_server: LiveServer) -> None:
    """All works but Show, which is hidden."""
    plain_page.goto("/login")
    expect(plain_page.get_by_role("button", name="Show password")).to_be_hidden()
    plain_page.get_by_label("E-mail address").fill(ADMIN.email)
    plain_page.get_by_label("Password", exact=True).fill(live_server.password)
    plain_page.get_by_role("button", name="Sign in").click()
    plain_page.get_by_role("button", name=ADMIN.name).click()
    plain_page.get_by_role("button", name="Sign out").click()
    expect(plain_page.get_by_role("heading", name="Sign in to MAS")).to_be_visible()


def test_nothing_is_cut_off_at_any_width(page: Page, live_server: LiveServer) -> None:
    """No horizontal scrolling; on narrow screens the navigation opens by a button."""
    sign_in(page, live_server.password)
    for width in (320, 390, 864, 865, 1280):
        page.set_viewport_size({"width": width, "height": 844})
        for path in ("/", "/login", "/nowhere"):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (path, width)
        page.goto("/")
        link = page.get_by_role("navigation", name="Main").get_by_role("link", name="Identity Clients")
        if width <= 864:
            expect(link).to_be_hidden()
            page.get_by_role("button", name="Menu").click()
        expect(link).to_be_visible()
