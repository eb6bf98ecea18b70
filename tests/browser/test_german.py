"""The screens in German: a person whose browser asks for it creates a client, and corrects and changes it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_accessibility import AXE, REFLOW_WIDTHS, RULES, TOO_WIDE, VIOLATIONS
from tests.support.browser import Merchant, Visit
from tests.support.pages import PREFIX
from tests.support.screenshots import appearances

ENGLISH_WORDS = re.compile(r"\b(?:the|is|are|of|you|your|this|Save|Edit|Show|Never|None|any)\b")
"""Words that no German text contains."""
TEXTS = """() => [document.title, document.body.innerText, ...[...document.querySelectorAll('*')].flatMap(
    element => ['aria-label', 'title', 'placeholder', 'data-l'].map(name => element.getAttribute(name) ?? ''))]
    .join('\\n')"""


def check(page: Page, name: str) -> None:
    """Assert that a screen is accessible, in German, and as wide as the window, and take screenshots if asked to."""
    found: list[tuple[object, ...]] = []
    for width, scheme in appearances(page, f"german_{name}"):
        page.evaluate(AXE.read_text("utf-8"))
        found += [(width, scheme, violation["id"]) for violation in page.evaluate(VIOLATIONS, RULES[scheme])]
    assert found == [], name
    for width in REFLOW_WIDTHS:
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(TOO_WIDE) == [], (name, width)
    page.set_viewport_size({"width": 1280, "height": 900})
    assert page.locator("html").get_attribute("lang") == "de"
    assert [line for line in page.evaluate(TEXTS).split("\n") if ENGLISH_WORDS.search(line)] == []


@pytest.mark.parametrize("scripted", [True, False], ids=["script", "no script"])
def test_create_correct_and_change_a_client(merchant: Merchant, visit: Visit, scripted: bool) -> None:
    """Each screen of the story; without JavaScript only that it works and the language stays."""
    page = visit(merchant.admin, locale="de-AT", java_script_enabled=scripted)

    def look(name: str) -> None:
        if scripted:
            check(page, name)

    page.goto(PREFIX)
    expect(page.get_by_role("heading", name="Noch keine Clients")).to_be_visible()
    page.get_by_role("link", name="Neuer Client").first.click()
    form = page.locator("form", has=page.locator("#f-client_id"))
    form.get_by_label("Client-ID", exact=True).fill("kurz")
    form.get_by_role("button", name="Anlegen").last.click()
    expect(page.get_by_role("alert")).to_contain_text("Client-ID ist zu kurz: mindestens 6 Zeichen")
    expect(form).to_contain_text("Diese Client-ID hat 4 Zeichen. Verwenden Sie 6 bis 100.")
    look("new_with_errors")
    form.get_by_label("Client-ID", exact=True).fill(merchant.new_id)
    form.get_by_label("Konten lesen").check()
    form.get_by_role("button", name="Anlegen").last.click()
    expect(page.get_by_text("Client angelegt und aktiviert")).to_be_visible()
    look("handover")
    page.get_by_label("Ich habe das Secret gespeichert").check()
    page.get_by_role("button", name="Fertig").click()
    page.goto(PREFIX)
    look("list")
    page.get_by_role("link", name=merchant.new_id, exact=True).click()
    expect(page.get_by_role("heading", name="Konfiguration")).to_be_visible()
    look("details")
    page.get_by_role("link", name="Bearbeiten", exact=True).first.click()
    form = page.locator("form", has=page.locator("#f-client_id"))
    form.get_by_label("Client-Name").fill("x")
    form.get_by_role("button", name="Speichern").last.click()
    expect(page.get_by_role("alert")).to_contain_text("Client-Name ist zu kurz")
    expect(form).to_contain_text("Dieser Name hat 1 Zeichen.")
    form.get_by_label("Client-Name").fill("Schadenzahlungen")
    form.get_by_role("button", name="Speichern").last.click()
    expect(page.get_by_role("status").filter(has_text="gelten ab dem nächsten Token")).to_have_count(1)
    page.goto(f"{PREFIX}/activity")
    expect(page.locator("#ic")).to_contain_text("hat den Client-Namen geändert")
    look("activity")
    page.get_by_role("button", name="Ann Example").click()
    if scripted:
        look("user_menu")
    page.get_by_role("button", name="English").click()
    expect(page.get_by_role("heading", name="Activity", exact=True)).to_be_visible()
    assert page.url.endswith(f"{PREFIX}/activity")
    page.goto(PREFIX)
    expect(page.get_by_role("link", name="New Client").first).to_be_visible()
