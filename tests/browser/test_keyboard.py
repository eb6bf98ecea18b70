"""Keyboard operation and focus, as people without a mouse or without sight use the screens."""

import re
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Merchant
from tests.support.pages import (
    PREFIX,
    ClientList,
    Confirmation,
    Conflict,
    Details,
    EditClient,
    Handover,
    Menu,
    NewClient,
)
from webapp.core.database.models import utc_now


def press(tab: Page, *keys: str) -> None:
    """Press keys one after the other."""
    for key in keys:
        tab.keyboard.press(key)


def test_tab_order_of_the_list(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(f"{merchant.new_id}-a", created_at=utc_now() - timedelta(days=9))
    merchant.add_client(f"{merchant.new_id}-b")
    screen = ClientList.open(tab)
    screen.root.get_by_role("link", name="Token requests").focus()
    for name in (
        "Access review",
        "Activity",
        "Settings",
        "Notifications",
        "New Client",
        "1 client never used",
        "Search by client ID, name, description, owner or tag",
        "Status",
        "Role",
        "Needs attention",
        "Sort by",
        "Columns",
        "Select all clients on this page",
        "Client ID ↑",
        "Client name",
        "Last token",
        f"Select {merchant.new_id}-a",
        f"{merchant.new_id}-a",
        f"Actions for {merchant.new_id}-a",
        f"Select {merchant.new_id}-b",
        f"{merchant.new_id}-b",
        f"Actions for {merchant.new_id}-b",
    ):
        press(tab, "Tab")
        expect(tab.locator(":focus")).to_have_accessible_name(name)


def test_the_menu_by_enter_and_tab_returns_the_focus(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    button = screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}")
    expect(button).to_have_attribute("aria-expanded", "false")
    button.focus()
    press(tab, "Enter")
    menu = Menu(tab)
    expect(button).to_have_attribute("aria-expanded", "true")
    for verb in ("View", "Edit", "Change secret", "Duplicate", "Disable", "Replace leaked", "Revoke tokens", "Delete"):
        press(tab, "Tab")
        expect(menu.actions.filter(has_text=re.compile(f"^{verb}"))).to_be_focused()
    press(tab, "Escape")
    expect(menu.root).to_be_hidden()
    expect(button).to_be_focused()
    expect(button).to_have_attribute("aria-expanded", "false")


def test_the_menu_by_arrows_home_end_and_first_letters(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    button = ClientList.open(tab).root.get_by_role("link", name=f"Actions for {merchant.new_id}")
    button.focus()
    press(tab, "ArrowDown")
    menu = Menu(tab)
    focused = tab.locator(":focus")
    for key, verb in (
        ("", "View"),
        ("ArrowDown", "Edit"),
        ("ArrowUp", "View"),
        ("ArrowUp", "Delete"),
        ("ArrowDown", "View"),
        ("End", "Delete"),
        ("Home", "View"),
        ("c", "Change secret"),
        ("d", "Duplicate"),
        ("d", "Disable"),
        ("d", "Delete"),
        ("d", "Duplicate"),
        ("r", "Replace leaked"),
        ("r", "Revoke tokens"),
        ("x", "Revoke tokens"),
    ):
        if key:
            press(tab, key)
        expect(focused).to_have_text(re.compile(f"^{verb}"))
    press(tab, "Escape")
    expect(menu.root).to_be_hidden()
    expect(button).to_be_focused()
    more = Details.open(tab, client.id).root.get_by_role("button", name="More actions")
    more.focus()
    press(tab, "ArrowDown")
    expect(focused).to_have_text(re.compile("^Duplicate"))


@pytest.mark.parametrize("by", ["keyboard", "mouse"])
def test_pressing_the_menu_button_again_closes_the_menu(tab: Page, merchant: Merchant, by: str) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    button = screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}")
    menu = screen.menu(merchant.new_id)
    if by == "keyboard":
        press(tab, "Enter")
    else:
        button.click()
    expect(menu.root).to_be_hidden()
    expect(button).to_be_focused()
    expect(screen.root.locator(".htmx-request")).to_have_count(0)
    expect(menu.root).to_be_hidden()


def test_new_client_takes_the_focus_and_returns_it(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    link = screen.root.get_by_role("link", name="New Client")
    link.focus()
    press(tab, "Enter")
    form = NewClient(tab)
    expect(form.field("client_id")).to_be_focused()
    press(tab, "Escape")
    expect(form.root).to_have_count(0)
    expect(link).to_be_focused()
    press(tab, "Enter")
    form = NewClient(tab)
    form.root.get_by_role("link", name="Cancel").focus()
    press(tab, "Enter")
    expect(form.root).to_have_count(0)
    expect(link).to_be_focused()


def test_a_client_is_created_by_keyboard_alone(tab: Page, merchant: Merchant) -> None:
    """Enter in a field saves; the handover focuses its heading, and returns the focus to New Client."""
    merchant.add_client(f"{merchant.new_id}-other")
    screen = ClientList.open(tab)
    link = screen.root.get_by_role("link", name="New Client")
    link.focus()
    press(tab, "Enter")
    form = NewClient(tab)
    expect(form.field("client_id")).to_be_focused()
    tab.keyboard.type(merchant.new_id)
    for name in ("Client secret", "Show client secret", "Copy Client secret", "Generate new"):
        press(tab, "Tab")
        expect(tab.locator(":focus")).to_have_accessible_name(name)
    press(tab, "Tab")
    tab.keyboard.type("By keyboard")
    press(tab, "Tab")
    tab.keyboard.type("First line")
    press(tab, "Enter")
    tab.keyboard.type("Second line")
    press(tab, "Tab", "ArrowUp", "Tab", "Tab", "Tab", "Tab", "Tab", "Space", "Shift+Tab")
    expect(form.root.locator("[name=roles]:checked")).to_have_count(1)
    form.field("name").focus()
    press(tab, "Enter")
    handover = Handover(tab)
    expect(tab.get_by_role("heading", name="Client created and enabled")).to_be_focused()
    handover.saved.focus()
    press(tab, "Space", "Enter")
    expect(handover.root).to_have_count(0)
    expect(link).to_be_focused()
    client = merchant.client(merchant.new_id)
    assert (client.name, client.description) == ("By keyboard", "First line\nSecond line")
    assert client.token_duration_minutes == 16


def test_enter_in_a_field_saves_and_the_focus_returns_to_the_menu_button_of_the_renewed_row(
    tab: Page, merchant: Merchant
) -> None:
    merchant.add_client()
    merchant.add_client(f"{merchant.new_id}-other")
    screen = ClientList.open(tab)
    button = screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}", exact=True)
    button.focus()
    press(tab, "Enter")
    Menu(tab)
    press(tab, "Tab", "Tab", "Enter")
    form = EditClient(tab)
    expect(form.field("client_id")).to_be_focused()
    form.field("name").focus()
    tab.keyboard.type("Saved by Enter")
    press(tab, "Enter")
    expect(form.root).to_have_count(0)
    expect(screen.row(merchant.new_id)).to_contain_text("Saved by Enter")
    expect(button).to_be_focused()
    screen.expect_message("Saved. Changes to")


def test_focus_returns_even_if_the_row_moved_meanwhile(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    merchant.add_client(f"{merchant.new_id}-other")
    screen = ClientList.open(tab)
    form = screen.menu(merchant.new_id).edit()
    renamed = f"zz-{merchant.new_id}"
    form.fill(client_id=renamed).save(then=ClientList)
    expect(screen.client_ids).to_have_text([f"{merchant.new_id}-other", renamed])
    expect(screen.root.get_by_role("link", name=f"Actions for {renamed}")).to_be_focused()


def test_focus_falls_back_if_the_opener_of_the_dialog_is_gone(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    screen = ClientList.open(tab, "?status=enabled")
    screen.menu(merchant.new_id).disable().confirm(then=ClientList)
    expect(screen.client_ids).to_have_count(0)
    expect(tab.locator("#ic-results")).to_be_focused()


def test_disable_focuses_cancel_and_announces_the_result(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    details = Details.open(tab, client.id)
    button = details.root.get_by_role("button", name="More actions")
    button.focus()
    press(tab, "Enter")
    Menu(tab)
    press(tab, "Tab", "Tab", "Enter")
    confirmation = Confirmation(tab)
    expect(confirmation.root.get_by_role("link", name="Cancel")).to_be_focused()
    press(tab, "Escape")
    expect(confirmation.root).to_have_count(0)
    expect(button).to_be_focused()
    press(tab, "Enter", "Tab", "Tab", "Enter")
    confirmation = Confirmation(tab)
    press(tab, "Tab", "Enter")
    expect(confirmation.root).to_have_count(0)
    details.expect_message("gets no new tokens")
    expect(button).to_be_focused()


def test_enable_needs_no_confirmation_and_returns_the_focus(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(enabled=False)
    screen = ClientList.open(tab)
    button = screen.root.get_by_role("link", name=f"Actions for {merchant.new_id}", exact=True)
    button.focus()
    press(tab, "Enter")
    menu = Menu(tab)
    press(tab, "Tab", "Tab", "Tab", "Tab", "Tab", "Enter")
    expect(menu.root).to_be_hidden()
    screen.expect_message("can ask for tokens again")
    expect(screen.row(merchant.new_id)).to_contain_text("Enabled")
    expect(button).to_be_focused()


def test_change_secret_focuses_its_heading_and_delete_its_field(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    details = Details.open(tab, client.id)
    form = details.change_secret()
    expect(form.root.get_by_role("heading", name="Change secret of")).to_be_focused()
    press(tab, "Escape")
    confirmation = details.more().delete()
    expect(confirmation.root.get_by_label("Type")).to_be_focused()
    tab.keyboard.type("something else")
    press(tab, "Enter")
    expect(confirmation.root).to_be_visible()
    assert confirmation.root.get_by_label("Type").evaluate("field => field.validity.patternMismatch")
    press(tab, "Control+a")
    tab.keyboard.type(client.client_id)
    press(tab, "Enter")
    ClientList(tab).expect_message("its client ID stays taken")


def test_an_error_summary_takes_the_focus_and_links_to_the_fields(tab: Page, merchant: Merchant) -> None:
    form = ClientList.open(tab).new()
    form.field("client_id").focus()
    tab.keyboard.type("short")
    press(tab, "Enter")
    expect(form.summary).to_be_focused()
    expect(form.summary).to_contain_text("There is a problem")
    press(tab, "Tab")
    expect(tab.locator(":focus")).to_have_text(re.compile("^Client ID"))
    press(tab, "Enter")
    expect(form.field("client_id")).to_be_focused()
    expect(form.field("client_id")).to_have_accessible_description(re.compile(r"6 to 100 characters.*Error: .*5 char"))
    form.summary.get_by_role("link").last.focus()
    press(tab, "Enter")
    expect(form.root.get_by_role("group", name="Roles")).to_be_focused()
    expect(tab).to_have_title(re.compile("Identity Clients"))


def test_a_page_with_errors_focuses_its_summary_and_has_a_title_for_it(tab: Page) -> None:
    form = NewClient.open(tab)
    expect(form.field("client_id")).to_be_focused()
    form.create_with_errors()
    expect(form.summary).to_be_focused()
    expect(tab).to_have_title(re.compile("^Error: New Client"))


def test_a_conflict_takes_the_focus(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client()
    form = ClientList.open(tab).menu(merchant.new_id).edit().fill(name="Mine")
    merchant.change(client, name="Theirs")
    conflict: Conflict = form.save_stale()
    expect(conflict.root.get_by_role("alert")).to_be_focused()


def test_generate_and_presets_keep_the_focus(tab: Page) -> None:
    form = ClientList.open(tab).new()
    for label in ("Generate new", "Create payments", "Read only"):
        button = form.root.get_by_role("button", name=label)
        button.focus()
        with tab.expect_response(re.compile("/new/form$")):
            press(tab, "Enter")
        expect(form.root.locator(".htmx-request")).to_have_count(0)
        expect(button).to_be_focused()


def test_search_results_are_announced(tab: Page, merchant: Merchant) -> None:
    merchant.add_client()
    screen = ClientList.open(tab)
    screen.search.focus()
    tab.keyboard.type("nothing at all")
    expect(screen.client_ids).to_have_count(0)
    expect(screen.search).to_be_focused()
    screen.expect_message("No client matches")
    screen.search.fill(merchant.new_id)
    expect(screen.client_ids).to_have_count(1)
    screen.expect_message("Showing 1–1 of 1")


def test_sorting_and_paging_keep_the_focus_in_the_list(tab: Page, merchant: Merchant) -> None:
    merchant.add_clients(51)
    screen = ClientList.open(tab)
    heading = screen.root.get_by_role("link", name="Client name")
    heading.focus()
    press(tab, "Enter")
    expect(screen.root.get_by_role("columnheader", name="Client name")).to_have_attribute("aria-sort", "ascending")
    expect(heading).to_be_focused()
    screen.root.get_by_role("link", name="Next").focus()
    press(tab, "Enter")
    expect(screen.root).to_contain_text("Showing 51–51 of 51")
    expect(tab.locator("#ic-results :focus, #ic-results:focus")).to_have_count(1)


def test_the_skip_link_leads_to_the_content(tab: Page) -> None:
    tab.goto(PREFIX)
    press(tab, "Tab", "Enter", "Tab")
    expect(tab.get_by_role("link", name="Token requests")).to_be_focused()
