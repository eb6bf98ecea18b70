"""The forms in Chromium: the values that they keep and send, and their messages."""

import re

import pytest
from playwright.sync_api import Page, Request, Route, expect

from tests.support.browser import Merchant
from tests.support.pages import PREFIX, ClientList, Details, EditClient, Handover, NewClient

SECRET = "canary-secret-that-was-typed"


def fill_with_own_secret(form: NewClient, merchant: Merchant) -> NewClient:
    """Fill in New Client with a chosen secret."""
    return form.fill(client_id=merchant.new_id, client_secret=SECRET, name="Typed name").choose({"MerchantUser"})


def test_the_secret_is_sent_only_where_needed(tab: Page, merchant: Merchant) -> None:
    """With its own check and with Create; not with other checks, Generate or a preset (S6)."""
    sent: dict[str, bool] = {}

    def look(request: Request) -> None:
        if request.method == "POST":
            sent[request.url.rpartition("/")[2]] = "client_secret" in (request.post_data or "")

    form = ClientList.open(tab).new()
    tab.on("request", look)
    fill_with_own_secret(form, merchant)
    form.field("description").fill("x")
    form.press("Read only")
    expect(form.root.locator("[data-chosen]")).to_have_text("4")
    form.press("Generate new")
    expect(form.secret).not_to_have_value(SECRET)
    form.create()
    assert sent == {
        "check?field=client_id": False,
        "check?field=client_secret": True,
        "check?field=name": False,
        "check?field=description": False,
        "roles": False,
        "form": False,
        "new": True,
    }


def test_the_error_summary_follows_the_fields(tab: Page, merchant: Merchant) -> None:
    """A field that was put right leaves it, and the last one takes it along."""
    form = ClientList.open(tab).new()
    form.fill(client_id="x").create_with_errors()
    items = form.summary.get_by_role("listitem")
    expect(items).to_have_count(2)
    form.field("client_id").fill(merchant.new_id)
    form.field("client_id").press("Tab")
    expect(items).to_have_count(1)
    form.choose({"MerchantUser"})
    expect(form.summary).to_have_count(0)


def test_a_field_is_checked_and_announced_when_it_loses_focus(tab: Page, merchant: Merchant) -> None:
    """The message is announced in the dialog, and the field's state follows it both ways (WCAG 4.1.3)."""
    merchant.add_client("Taken-client-" + merchant.new_id)
    form = ClientList.open(tab).new()
    field = form.field("client_id")
    field.fill("taken-client-" + merchant.new_id)
    field.press("Tab")
    expect(form.message("client_id")).to_contain_text("already in use")
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_have_accessible_description(re.compile("already in use"))
    expect(tab.locator("dialog").get_by_role("status")).to_contain_text("already in use")
    field.fill(merchant.new_id)
    field.press("Tab")
    expect(form.message("client_id")).to_be_empty()
    expect(field).not_to_have_attribute("aria-invalid", "true")


def test_enter_creates_and_an_unchanged_generated_secret_stays(tab: Page, merchant: Merchant) -> None:
    """Enter presses Create, not the first button of the form; a 422 leaves the secret in its field."""
    form = ClientList.open(tab).new()
    secret = form.secret.input_value()
    form.field("client_id").fill(merchant.new_id)
    form.field("client_id").press("Enter")
    expect(form.summary).to_contain_text("Roles")
    expect(form.summary).to_be_focused()
    expect(form.secret).to_have_value(secret)
    form.summary.get_by_role("link", name="Roles: choose at least one").click()
    expect(form.root.get_by_role("group", name="Roles")).to_be_focused()
    assert tab.url.endswith(PREFIX)
    form.choose({"MerchantUser"}).field("name").press("Enter")
    assert Handover(tab).secret == secret


def test_create_waits_for_a_pending_secret(tab: Page, merchant: Merchant) -> None:
    """Otherwise the saved secret would not be the one in the field."""
    form = fill_with_own_secret(ClientList.open(tab).new(), merchant)
    held: list[Route] = []
    tab.route("**/new/form", lambda route: held.append(route))
    form.press("Generate new")
    create = form.root.get_by_role("button", name="Create", exact=True)
    expect(create).to_be_disabled()
    form.field("name").press("Enter")
    assert merchant.client_ids == []
    held[0].continue_()
    expect(create).to_be_enabled()
    expect(form.secret).not_to_have_value(SECRET)


def test_a_shown_secret_stays_shown(tab: Page, merchant: Merchant) -> None:
    form = fill_with_own_secret(ClientList.open(tab).new(), merchant).fill(name="x")
    form.root.get_by_role("button", name="Show client secret").click()
    form.create_with_errors()
    expect(form.secret).to_have_attribute("type", "text")
    expect(form.root.get_by_role("button", name="Hide client secret")).to_be_visible()
    form.press("Generate new")
    expect(form.secret).not_to_have_value(SECRET)
    expect(form.secret).to_have_attribute("type", "text")


@pytest.mark.parametrize("where", [(3, 3), (1277, 897)])
def test_a_click_beside_a_form_keeps_its_values(tab: Page, merchant: Merchant, where: tuple[int, int]) -> None:
    form = fill_with_own_secret(ClientList.open(tab).new(), merchant)
    tab.mouse.click(*where)
    expect(form.field("name")).to_have_value("Typed name")
    form.discard()
    expect(form.root).to_have_count(0)
    expect(tab.locator("#ic-new-link")).to_be_focused()


def test_edit_opens_without_a_secret_and_the_slider_sets_the_number(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client(token_duration=30)
    form = Details.open(tab, client.id).edit()
    switch = form.root.get_by_role("switch", name="Enabled")
    expect(switch).to_be_checked()
    expect(switch).not_to_have_css("background-image", "none")
    form.root.get_by_label("slider").press("ArrowRight")
    expect(form.field("token_duration")).to_have_value("35")
    expect(form.secret).to_have_value("")
    form.save(then=Details)
    after = merchant.client(client.client_id)
    assert (after.token_duration_minutes, after.version) == (35, 2)


def test_a_typed_secret_survives_a_conflict_and_an_error_after_it(tab: Page, merchant: Merchant) -> None:
    """From the form to the conflict, back to the form, and saved (I7, S6)."""
    client = merchant.add_client(name="Before")
    form = Details.open(tab, client.id).edit().fill(name="xx", client_secret=SECRET)
    other = tab.context.new_page()
    EditClient.open(other, client.id).fill(description="Theirs").save(then=Details)
    conflict = form.save_stale()
    expect(conflict.root.locator("#f-client_secret")).to_have_value(SECRET)
    conflict.root.get_by_role("button", name="Save my choices").click()
    form = EditClient(tab)
    expect(form.summary).to_contain_text("too short")
    expect(form.secret).to_have_value(SECRET)
    expect(form.field("description")).to_have_value("Theirs")
    assert form.fill(name="Mine").save(then=Handover).secret == SECRET


def test_the_difference_of_roles_is_announced(merchant: Merchant, tab: Page) -> None:
    """On each selection, without a further step; roles that move money are marked."""
    client = merchant.add_client(roles=["MerchantUser"])
    form = EditClient.open(tab, client.id)
    difference = form.root.locator("#f-roles-difference")
    expect(difference).to_be_hidden()
    box = form.field("roles-CreatePayment")
    box.check()
    expect(difference).to_contain_text("Added when you save: + Create single payments Moves money")
    expect(box).to_be_focused()
    form.expect_message("Create single payments")
    box.uncheck()
    expect(difference).to_be_hidden()
    form.press("Read only")
    expect(difference).to_contain_text("Added when you save: + Read accounts + Read transactions + Read reports")
    form.choose(["MerchantUser", "CreatePayment"]).fill(name="ab").press("Save")
    expect(form.summary.first).to_be_visible()
    expect(difference).to_contain_text("+ Create single payments")
