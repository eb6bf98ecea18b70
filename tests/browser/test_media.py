"""Sizes, forced colours and print, in hosts with other styles and in other media."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.browser import CHROMIUM_ARGUMENTS, Merchant, Visit, headless_chromium, sign_in
from tests.support.pages import PREFIX, ClientList, Details, NewClient
from tests.support.servers import LiveServer

GEOMETRY = """root => [...root.querySelectorAll('*')].filter(element => element.checkVisibility()).map(element => {
  const box = element.getBoundingClientRect(), origin = root.getBoundingClientRect();
  return [element.tagName, getComputedStyle(element).fontSize,
    Math.round(box.x - origin.x), Math.round(box.y - origin.y), Math.round(box.width), Math.round(box.height)];
})"""


def style(element: Locator, name: str) -> str:
    """Return the computed value of a CSS property."""
    return str(element.evaluate("(element, name) => getComputedStyle(element).getPropertyValue(name)", name))


# Sizes


@pytest.fixture
def many(merchant: Merchant) -> Merchant:
    """Return a merchant with a few clients."""
    merchant.add_clients(3, name=lambda number: f"Claims payments, region {number}")
    return merchant


@pytest.mark.parametrize("screen", ["list", "dialog", "details"])
def test_sizes_do_not_depend_on_the_hosts_root_font_size(tab: Page, many: Merchant, screen: str) -> None:
    """Bootstrap 3 has `html { font-size: 10px }` (E2)."""
    client = many.client(f"{many.new_id}-000")
    found = {}
    for size in ("10px", "16px", "20px"):
        tab.goto(PREFIX if screen != "details" else f"{PREFIX}/{client.id}")
        tab.evaluate("size => { document.documentElement.style.fontSize = size }", size)
        # The width available to the screens depends on the host's own sizes.
        tab.evaluate("document.querySelector('.ic-page').style.width = '900px'")
        if screen == "dialog":
            root = ClientList(tab).new().root
        else:
            root = tab.locator(".ic-page")
            expect(root).to_be_visible()
        found[size] = root.evaluate(GEOMETRY)
    assert found["10px"] == found["16px"] == found["20px"]


@pytest.fixture
def large_print(browser: Browser, live_server: LiveServer, merchant: Merchant) -> Iterator[Page]:
    """Return a tab of a browser with a default font size of 24 px."""
    arguments = [*CHROMIUM_ARGUMENTS, "--blink-settings=defaultFontSize=24"]
    own = browser.browser_type.launch(executable_path=headless_chromium(), args=arguments)
    context = own.new_context(base_url=live_server.url, viewport={"width": 1920, "height": 1350})
    sign_in(context, merchant.admin, live_server.password)
    yield context.new_page()
    own.close()


SIZED = {
    "h1": ("font-size", 24.0),
    "h1 + p": ("font-size", 14.0),
    ".ic-btn": ("font-size", 14.0),
    "#ic-q": ("min-height", 34.0),
    "tbody td": ("padding-top", 8.0),
    ".ic-btn svg": ("width", 16.0),
}


@pytest.mark.parametrize("root_size", ["", "62.5%"])
def test_sizes_follow_the_browsers_font_size(large_print: Page, many: Merchant, root_size: str) -> None:
    """1.5 times as large at 24 px, whatever the host's root size is (E2)."""
    root = ClientList.open(large_print).root
    large_print.evaluate("size => { document.documentElement.style.fontSize = size }", root_size)
    for selector, (name, pixels) in SIZED.items():
        assert float(style(root.locator(selector).first, name).removesuffix("px")) == pytest.approx(pixels * 1.5)


@pytest.mark.parametrize("scale", [0.75, 1, 1.25])
def test_a_host_scales_all_sizes_by_one_property(tab: Page, many: Merchant, scale: float) -> None:
    """`--ic-scale` on `.ic` (E2)."""
    root = ClientList.open(tab).root
    tab.evaluate("scale => document.getElementById('ic').style.setProperty('--ic-scale', scale)", str(scale))
    for selector, (name, pixels) in SIZED.items():
        assert float(style(root.locator(selector).first, name).removesuffix("px")) == pytest.approx(pixels * scale)


# Forced colours


def test_in_forced_colours_dialogs_menus_and_selects_keep_their_edges(visit: Visit, merchant: Merchant) -> None:
    merchant.add_client()
    tab = visit(merchant.admin, forced_colors="active")
    screen = ClientList.open(tab)
    assert style(screen.root.get_by_label("Status"), "appearance") == "auto"
    assert style(screen.menu(merchant.new_id).root, "border-top-width") == "1px"
    tab.keyboard.press("Escape")
    screen.new()
    dialog = tab.get_by_role("dialog")
    for side in ("top", "right", "bottom", "left"):
        assert style(dialog, f"border-{side}-width") == "1px"
        assert style(dialog, f"border-{side}-style") == "solid"
    button = dialog.get_by_role("button", name="Create", exact=True)
    assert style(button, "border-top-color") != style(dialog, "background-color")


# Print


def luminance(colour: str) -> float:
    """Return the luminance of `rgb(...)`, from 0 to 1."""
    numbers = [float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]
    return (0.299 * numbers[0] + 0.587 * numbers[1] + 0.114 * numbers[2]) / 255


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["list", "details"])
def test_a_printed_page_is_dark_on_white_and_has_no_controls(
    visit: Visit, many: Merchant, screen: str, scheme: Any
) -> None:
    client = many.client(f"{many.new_id}-000")
    tab = visit(many.admin, color_scheme=scheme, viewport={"width": 700, "height": 990})
    tab.goto(PREFIX if screen == "list" else f"{PREFIX}/{client.id}")
    tab.emulate_media(media="print")
    root = tab.locator(".ic-page")
    for control in ("button", "searchbox", "combobox", "textbox"):
        expect(root.get_by_role(control).filter(visible=True)).to_have_count(0)
    for text in ("h1", "td", "th[scope=row]", ".ic-soft"):
        assert luminance(style(root.locator(text).first, "color")) < 0.35, text
    if screen == "list":
        assert style(root.locator("tbody tr").first, "display") == "table-row"
        assert style(root.locator("thead"), "position") == "static"
        expect(root.get_by_role("columnheader", name="Status")).to_be_visible()


# Screen readers


def test_the_first_heading_of_every_page_is_its_h1(tab: Page, many: Merchant) -> None:
    client = many.client(f"{many.new_id}-000")
    for path in ("", "/new", "/activity", *(f"/{client.id}{part}" for part in ("", "/edit", "/secret", "/disable"))):
        tab.goto(PREFIX + path)
        first = tab.locator("h1, h2, h3, [role=heading]").filter(visible=True).first
        assert first.evaluate("heading => heading.tagName") == "H1", path


def test_a_row_without_a_name_keeps_its_column(visit: Visit, merchant: Merchant) -> None:
    """In the table, and where rows are shown as cards."""
    merchant.add_client(name="")
    for width in (1280, 390):
        tab = visit(merchant.admin, viewport={"width": width, "height": 844})
        cells = ClientList.open(tab).row(merchant.new_id).get_by_role("cell")
        expect(cells).to_have_count(7)  # the first one has the box that selects the row
        expect(cells.nth(1)).to_have_text("No name")


def test_a_required_box_is_not_invalid_before_it_was_checked(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(f"{merchant.new_id}-other")
    form = ClientList.open(tab).new()
    expect(form.field("client_id")).to_have_attribute("aria-invalid", "false")
    form.fill(client_id=merchant.new_id).choose({"MerchantUser"}).create()
    box = tab.get_by_role("checkbox", name="I have saved the secret")
    expect(box).to_have_attribute("aria-invalid", "false")
    tab.get_by_role("button", name="Done").click()
    expect(box).to_have_attribute("aria-invalid", "true")
    box.check()
    expect(box).to_have_attribute("aria-invalid", "false")


def test_copy_buttons_have_unambiguous_names(tab: Page, merchant: Merchant) -> None:
    handover = NewClient.open(tab).fill(client_id=merchant.new_id).choose({"MerchantUser"}).create()
    for name in ("Copy Client ID", "Copy Client secret", "Copy cURL"):
        expect(handover.root.get_by_role("button", name=name, exact=True)).to_be_visible()
    snippets = Details.open(tab, merchant.client(merchant.new_id).id).section("Ask for a token")
    expect(snippets.get_by_role("button", name="Copy cURL", exact=True)).to_be_visible()
