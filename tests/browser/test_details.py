"""The page of a client by keyboard: its sections, what needs attention, and exact times."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Locator, expect

from tests.support.browser import Merchant, Visit
from tests.support.pages import Details
from webapp.core.database.models import utc_now

NOT_COVERED = """element => {
    const box = element.getBoundingClientRect();
    const bar = document.querySelector('.ic-toc').getBoundingClientRect();
    return box.top >= bar.bottom - 1 && box.bottom <= innerHeight;
}"""
BUBBLE = "element => getComputedStyle(element, '::after').content"


def expect_in_view(element: Locator) -> None:
    """Wait until an element stands below the sticky bar, within the window."""
    expect(element).to_be_in_viewport()
    element.page.wait_for_function(NOT_COVERED, arg=element.element_handle())


@pytest.mark.parametrize("width", [1280, 390])
def test_sections_attention_and_exact_times_by_keyboard(merchant: Merchant, visit: Visit, width: int) -> None:
    """Nothing that has the focus is behind the sticky bar (WCAG 2.2, success criterion 2.4.11)."""
    client = merchant.add_client(last_token_at=utc_now() - timedelta(minutes=3))
    merchant.set_secret_columns(
        client, "A", ends_at=utc_now() + timedelta(days=2), last_used_at=utc_now() - timedelta(minutes=3)
    )
    tab = visit(merchant.admin)
    tab.set_viewport_size({"width": width, "height": 700})
    screen = Details.open(tab, client.id)
    contents = screen.root.get_by_role("navigation", name="On this page")
    names = contents.get_by_role("link").all_inner_texts()
    assert names == screen.root.get_by_role("heading", level=2).all_inner_texts()
    assert names.index("Ask for a token") == names.index("Secrets") + 1
    contents.get_by_role("link", name="Allowed addresses").press("Enter")
    expect_in_view(screen.root.get_by_role("heading", name="Allowed addresses"))
    expect(contents).to_be_in_viewport()
    for _ in range(12):
        tab.keyboard.press("Shift+Tab")
        if tab.evaluate(
            "!document.activeElement.closest('.ic-toc, nav, header') && !!document.activeElement.closest('.ic')"
        ):
            expect_in_view(tab.locator(":focus"))
    screen.root.get_by_role("link", name="See secret A").press("Enter")
    expect(tab.locator(":focus")).to_have_text(re.compile("Secret A"))
    expect_in_view(tab.locator(":focus"))
    last_used = screen.secret("A").locator("time").nth(1)
    assert last_used.evaluate(BUBBLE) in ("none", "normal")
    tab.keyboard.press("Tab")
    tab.keyboard.press("Tab")
    expect(last_used).to_be_focused()
    title = last_used.get_attribute("title") or ""
    assert re.search(r"20\d\d, \d\d:\d\d:\d\d", title)
    assert last_used.evaluate(BUBBLE) == f'"{title}"'
