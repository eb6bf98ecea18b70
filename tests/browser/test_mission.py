"""Every rule of the product in Chromium, with real token requests."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Merchant, Visit
from tests.support.factories import SECRET
from tests.support.identity import claims, is_refused, request_token
from tests.support.pages import (
    PREFIX,
    ChangeSecret,
    ClientList,
    Details,
    EditClient,
    Handover,
    NewClient,
    SignIn,
)
from tests.support.servers import LiveServer
from webapp.core.database.models import utc_now

VALUES = {
    "name": "Claims payments",
    "description": "Pays settled claims.\nContact: claims@company.test",
    "token_duration": "25",
}
ROLES = {"MerchantUser", "CreatePayment"}


def filled(form: NewClient, client_id: str, **values: str) -> NewClient:
    """Fill in New Client, with valid values unless `values` say otherwise."""
    form.fill(client_id=client_id, **(VALUES | values)).choose(ROLES)
    return form


# Create, handover, token


def test_create_shows_the_secret_once_and_it_gets_a_token(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    clients = ClientList.open(tab)
    tab.evaluate("window.untouched = true")
    handover = filled(clients.new(), merchant.new_id).create()
    assert (handover.client_id, len(handover.secret) >= 40) == (merchant.new_id, True)
    secret = handover.secret

    answer = request_token(live_server.url, merchant.new_id, secret, "payment-requests")
    token = claims(live_server.url, answer)
    assert set(token["roles"]) == ROLES
    assert (token["sub"], token["client_id"], token["account_id"]) == (
        merchant.new_id,
        merchant.new_id,
        merchant.account_id,
    )
    assert token["scope"] == answer.json()["scope"] == "payment-requests"
    assert token["exp"] - token["iat"] == answer.json()["expires_in"] == 25 * 60

    clients = handover.done(ClientList)
    row = clients.row(merchant.new_id)
    expect(row).to_contain_text("Claims payments")
    expect(row).to_contain_text("25 min")
    expect(row).to_contain_text("Enabled")
    assert tab.evaluate("window.untouched"), "the page was loaded again"
    assert secret not in tab.content()


def test_the_handover_closes_only_after_its_check_box(tab: Page, merchant: Merchant) -> None:
    handover = filled(ClientList.open(tab).new(), merchant.new_id).create()
    for _ in range(3):  # browsers close a dialog on a repeated Esc
        tab.keyboard.press("Escape")
    tab.mouse.click(5, 5)
    tab.mouse.click(1275, 895)
    expect(handover.root).to_be_visible()
    expect(handover.root.get_by_role("link")).to_have_count(0)
    handover.root.get_by_role("button", name="Done").click()
    expect(handover.saved).to_be_focused()
    assert handover.saved.evaluate("box => box.validity.valueMissing")
    handover.done(ClientList)


def test_the_handover_copies_values_and_ready_commands(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    handover = filled(ClientList.open(tab).new(), merchant.new_id).create()
    secret, copied = handover.secret, {}
    for what in ("Client ID", "Client secret", "cURL command", ".env lines", "Python code"):
        copied[what] = handover.copy(what)
    assert (copied["Client ID"], copied["Client secret"]) == (merchant.new_id, secret)

    answer = subprocess.run(["sh", "-c", copied["cURL command"]], capture_output=True, check=True)
    assert json.loads(answer.stdout)["expires_in"] == 25 * 60
    script = f"set -a\n{copied['.env lines']}\nexec '{sys.executable}' -c \"$0\""
    code = copied["Python code"] + "\nprint(token)"
    python = subprocess.run(["sh", "-c", script, code], capture_output=True, check=True, text=True)
    assert python.stdout.count(".") == 2


def test_an_own_secret_may_be_chosen(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    form = filled(ClientList.open(tab).new(), merchant.new_id, client_secret="a-secret-of-our-own")
    assert form.create().secret == "a-secret-of-our-own"
    assert request_token(live_server.url, merchant.new_id, "a-secret-of-our-own").ok


def test_a_weak_secret_is_warned_about_before_it_is_saved(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """The second press saves it (S4)."""
    form = filled(ClientList.open(tab).new(), merchant.new_id, client_secret="aaaaaa")
    form.field("name").focus()
    expect(form.message("client_secret")).to_contain_text("easy to guess")
    assert not merchant.client_ids
    form.create()
    assert request_token(live_server.url, merchant.new_id, "aaaaaa").ok


def test_generate_makes_another_secret_and_show_shows_it(tab: Page, merchant: Merchant) -> None:
    form = filled(ClientList.open(tab).new(), merchant.new_id)
    first = form.secret.input_value()
    expect(form.secret).to_have_attribute("type", "password")
    form.press("Generate new")
    expect(form.secret).not_to_have_value(first)
    form.press("Show client secret")
    expect(form.secret).to_have_attribute("type", "text")
    expect(form.field("client_id")).to_have_value(merchant.new_id)
    chosen = form.secret.input_value()
    assert form.create().secret == chosen


def test_a_new_client_is_enabled_and_belongs_to_its_account(tab: Page, merchant: Merchant) -> None:
    filled(ClientList.open(tab).new(), merchant.new_id).create()
    client = merchant.client(merchant.new_id)
    assert (client.enabled, client.account_id) == (True, merchant.account_id)


def test_the_role_manage_identity_clients_is_sufficient(
    visit: Visit, merchant: Merchant, live_server: LiveServer
) -> None:
    tab = visit(merchant.add_user("ManageIdentityClients"))
    handover = filled(ClientList.open(tab).new(), merchant.new_id).create()
    assert request_token(live_server.url, handover.client_id, handover.secret).ok


def test_pressing_create_twice_makes_one_client(tab: Page, merchant: Merchant) -> None:
    form = filled(ClientList.open(tab).new(), merchant.new_id)
    form.root.get_by_role("button", name="Create", exact=True).dblclick()
    Handover(tab)
    assert merchant.client_ids == [merchant.new_id]


def test_pressing_create_twice_makes_one_client_without_javascript(visit: Visit, merchant: Merchant) -> None:
    tab = visit(merchant.admin, java_script_enabled=False)
    form = filled(NewClient.open(tab), merchant.new_id)
    form.root.get_by_role("button", name="Create", exact=True).dblclick()
    expect(tab.get_by_role("heading", level=1)).to_have_text(re.compile("Client (already created|created and enabled)"))
    assert merchant.client_ids == [merchant.new_id]


# Limits, each at its field

TOO_LONG = "x" * 101
LIMITS = [
    ("client_id", ["", "five5", TOO_LONG], ["sixsix", "x" * 100]),
    ("client_secret", ["", "five5", TOO_LONG], ["sixsix", "x" * 100]),
    ("name", ["ab", TOO_LONG], ["", "abc", "x" * 100]),
    ("description", ["x" * 1001], ["", "x" * 1000, "é\n" * 500]),
    ("token_duration", ["", "9", "61", "10.5"], ["10", "60"]),
]


@pytest.mark.parametrize(("name", "wrong", "right"), LIMITS, ids=[name for name, _, _ in LIMITS])
def test_each_limit_has_a_message_at_its_field(
    tab: Page, merchant: Merchant, name: str, wrong: list[str], right: list[str]
) -> None:
    form = ClientList.open(tab).new().choose(ROLES).fill(client_id=merchant.new_id)
    field, message = form.field(name), form.message(name).locator(".ic-err:not(.ic-due)")
    for value in right:
        form.fill(**{name: value})
        field.dispatch_event("change")
        field.blur()
        expect(form.root.locator(".htmx-request")).to_have_count(0)
        expect(message).to_have_count(0)
        form.fill(**{name: wrong[0]})
        field.blur()
        expect(message).to_be_visible()
    for value in wrong:
        form.fill(**{name: value})
        form.create_with_errors()
        expect(message).to_be_visible()
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_value(value)
        expect(form.summary.get_by_role("link")).to_have_count(1)
        form.summary.get_by_role("link").click()
        expect(field).to_be_focused()
    assert not merchant.client_ids


def test_all_errors_are_shown_at_once_and_typed_values_are_kept(tab: Page, merchant: Merchant) -> None:
    """The secret stays in its field although the server never sends it back (S6)."""
    wrong = {
        "client_id": "short",
        "client_secret": "s" * 101,
        "name": "ab",
        "description": "x" * 1001,
        "token_duration": "9",
    }
    form = ClientList.open(tab).new().choose([]).fill(**wrong)
    with tab.expect_response(
        lambda response: response.request.method == "POST" and response.url.endswith("/new")
    ) as reply:
        form.create_with_errors()
    assert reply.value.status == 422
    assert wrong["client_secret"] not in reply.value.text()
    expect(form.summary).to_be_focused()
    expect(form.summary.get_by_role("link")).to_have_count(6)
    for name, value in wrong.items():
        expect(form.field(name)).to_have_value(value)
    form.fill(client_id=merchant.new_id, name="", description="", token_duration="10", client_secret="a fit secret!")
    form.choose(ROLES).create()


def test_at_least_one_role(tab: Page, merchant: Merchant) -> None:
    form = filled(ClientList.open(tab).new(), merchant.new_id).choose([])
    form.create_with_errors()
    expect(form.message("roles")).to_contain_text("at least one role")
    assert not merchant.client_ids
    form.choose(["AccountViewer"]).create()
    assert merchant.client(merchant.new_id).roles == {"AccountViewer"}


def test_presets_choose_roles_and_keep_what_was_typed(tab: Page, merchant: Merchant) -> None:
    form = filled(ClientList.open(tab).new(), merchant.new_id, client_secret="a-secret-of-our-own")
    form.press("Clear")
    expect(form.root.locator("[name=roles]:checked")).to_have_count(0)
    form.press("Read only")
    expect(form.root.locator("[name=roles]:checked")).to_have_count(4)
    form.press("Create payments")
    expect(form.root.locator("[name=roles]:checked")).to_have_count(2)
    assert set(form.chosen_roles) == ROLES
    expect(form.field("client_id")).to_have_value(merchant.new_id)
    assert form.create().secret == "a-secret-of-our-own"


def test_a_taken_client_id_is_only_reported_as_in_use(
    tab: Page, merchant: Merchant, make_merchant: Callable[..., Merchant]
) -> None:
    """Of this account or another (A6)."""
    other = make_merchant()
    other.add_client()
    form = filled(ClientList.open(tab).new(), other.new_id.upper())
    form.field("name").focus()
    expect(form.message("client_id")).to_contain_text("This client ID is already in use. Choose another.")
    form.create_with_errors()
    expect(form.message("client_id")).to_contain_text("This client ID is already in use. Choose another.")
    assert other.name not in tab.content()
    assert not merchant.client_ids


# Edit, and its effect on token requests


def test_every_field_can_be_edited_and_the_next_token_follows(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    client = merchant.add_client(name="Before", token_duration=60, roles=ROLES)
    before = claims(live_server.url, request_token(live_server.url, client.client_id, SECRET))
    assert (before["exp"] - before["iat"], set(before["roles"])) == (3600, ROLES)

    clients = ClientList.open(tab)
    form = clients.menu(client.client_id).edit()
    expect(form.field("client_id")).to_have_value(client.client_id)
    expect(form.secret).to_have_value("")
    assert set(form.chosen_roles) == ROLES
    form.fill(name="After", description="Changed.", token_duration="10").choose(["ReportViewer"])
    clients = form.save(then=ClientList)
    expect(clients.row(client.client_id)).to_contain_text("After")
    expect(clients.row(client.client_id)).to_contain_text("10 min")
    expect(clients.row(client.client_id)).to_contain_text("Updated")
    clients.expect_message("apply to its next token")

    after = claims(live_server.url, request_token(live_server.url, client.client_id, SECRET))
    assert (after["exp"] - after["iat"], after["roles"], after["scope"]) == (600, ["ReportViewer"], "API reports:read")
    stored = merchant.client(client.client_id)
    assert (stored.name, stored.description) == ("After", "Changed.")


def test_a_changed_client_id_applies_to_the_next_request(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    client = merchant.add_client()
    new_id = f"{client.client_id}-renamed"
    details = Details.open(tab, client.id)
    form = details.edit()
    form.fill(client_id=new_id).field("name").focus()
    expect(form.message("client_id")).to_contain_text(f"callers that still use {client.client_id} are refused")
    details = form.save(then=Details)
    expect(details.heading).to_have_text(new_id)
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))
    assert claims(live_server.url, request_token(live_server.url, new_id, SECRET))["sub"] == new_id


def test_a_changed_secret_applies_to_the_next_request(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    client = merchant.add_client()
    assert request_token(live_server.url, client.client_id, SECRET).ok
    form = ClientList.open(tab).menu(client.client_id).edit()
    form.fill(client_secret="another-secret-of-ours").press("Save")
    handover = Handover(tab)
    assert handover.secret == "another-secret-of-ours"
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))
    assert request_token(live_server.url, client.client_id, "another-secret-of-ours").ok
    handover.done(ClientList)


def test_saving_without_a_secret_keeps_the_current_one(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    client = merchant.add_client()
    ClientList.open(tab).menu(client.client_id).edit().fill(name="Another name").save(then=ClientList)
    assert request_token(live_server.url, client.client_id, SECRET).ok


def test_edit_has_the_same_limits(tab: Page, merchant: Merchant) -> None:
    client = merchant.add_client(name="Before")
    form = ClientList.open(tab).menu(client.client_id).edit()
    form.fill(client_id="short", name="ab", token_duration="61", client_secret="short").choose([])
    form.save_with_errors()
    expect(form.summary.get_by_role("link")).to_have_count(5)
    expect(form.secret).to_have_value("short")
    assert merchant.client(client.client_id).name == "Before"


def test_a_stale_edit_shows_both_values_and_loses_nothing(
    visit: Visit, tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """Two people edit one client at the same time (I7)."""
    client = merchant.add_client(name="Before", description="As it was", token_duration=60)
    mine = ClientList.open(tab).menu(client.client_id).edit()
    mine.fill(name="Mine", token_duration="20", client_secret="my-own-new-secret")

    other = visit(merchant.add_user("ManageIdentityClients", name="Priya Nair"))
    theirs = ClientList.open(other).menu(client.client_id).edit()
    theirs.fill(name="Theirs", description="As they like it").choose(["ReportViewer"]).save(then=ClientList)

    conflict = mine.save_stale()
    expect(conflict.root).to_contain_text("Changed by Priya Nair")
    assert merchant.client(client.client_id).name == "Theirs"
    expect(conflict.cell("Client name", "Yours")).to_contain_text("Mine")
    expect(conflict.cell("Client name", "Theirs")).to_contain_text("Theirs")
    expect(conflict.cell("Token duration", "Yours")).to_contain_text("20 minutes")
    expect(conflict.cell("Description", "Theirs")).to_contain_text("As they like it")
    expect(conflict.cell("Roles", "Theirs")).to_contain_text("Read reports")
    # Own changes are preselected; fields that only the other person changed have their value selected.
    expect(conflict.cell("Client name", "Yours").get_by_role("radio")).to_be_checked()
    expect(conflict.cell("Description", "Theirs").get_by_role("radio")).to_be_checked()
    handover = conflict.choose("Token duration", "Theirs").save(then=Handover)
    assert handover.secret == "my-own-new-secret"
    stored = merchant.client(client.client_id)
    assert (stored.name, stored.description, stored.token_duration_minutes) == ("Mine", "As they like it", 60)
    token = claims(live_server.url, request_token(live_server.url, client.client_id, "my-own-new-secret"))
    assert token["roles"] == ["ReportViewer"]


def test_a_stale_edit_in_a_second_tab(tab: Page, merchant: Merchant) -> None:
    """One person edits one client in two tabs, from its page (I7)."""
    client = merchant.add_client(name="Before")
    mine = Details.open(tab, client.id).edit().fill(name="Tab 1")
    second = tab.context.new_page()
    Details.open(second, client.id).edit().fill(name="Tab 2").save(then=Details)
    conflict = mine.save_stale()
    expect(conflict.cell("Client name", "Theirs")).to_contain_text("Tab 2")
    details = conflict.save(then=Details)
    expect(details.configuration_value("Client name")).to_have_text("Tab 1")


# Change secret


def test_an_own_secret_may_be_set_and_the_old_one_end_now(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    client = merchant.add_client()
    clients = ClientList.open(tab)
    tab.evaluate("window.untouched = true")
    form = clients.menu(client.client_id).change_secret()
    proposed = form.secret.input_value()
    form.press("Generate new")
    expect(form.secret).not_to_have_value(proposed)
    handover = form.fill(client_secret="another-secret-of-ours").choose_overlap("Now").change()
    expect(handover.root).to_contain_text("Requests with secret A are refused from now.")
    assert handover.secret == "another-secret-of-ours"
    handover.done(then=ClientList)
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))
    assert request_token(live_server.url, client.client_id, "another-secret-of-ours").ok
    assert tab.evaluate("window.untouched"), "the page was loaded again"


def test_the_confirmation_to_end_a_secret_is_for_that_secret_only(tab: Page, merchant: Merchant) -> None:
    """The box that was ticked for A is unticked for B, now the older one; the typed secret stays (S7)."""
    client = merchant.add_client()
    Details.open(tab, client.id).change_secret().choose_overlap("In 7 days").change().done(then=Details)
    form = Details.open(tab, client.id).change_secret().fill(client_secret="a-secret-typed-here")
    form.root.get_by_label("End secret A now").check()
    second = tab.context.new_page()
    other = Details.open(second, client.id).change_secret()
    other.root.get_by_label("End secret A now").check()
    other.change().done(then=Details)
    form = form.change_with_errors()
    expect(form.summary).to_contain_text("changed the secret at")
    expect(form.root.get_by_label("End secret B now")).not_to_be_checked()
    expect(form.secret).to_have_value("a-secret-typed-here")
    form.root.get_by_label("End secret B now").check()
    assert form.change().secret == "a-secret-typed-here"


# Disable and enable


def test_disable_refuses_the_next_token_and_enable_allows_it(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    client = merchant.add_client()
    issued = request_token(live_server.url, client.client_id, SECRET)
    merchant.wait_for_recorded_token(client.client_id)
    clients = ClientList.open(tab)
    confirmation = clients.menu(client.client_id).disable()
    expect(confirmation.root).to_contain_text("No new tokens from now")
    expect(confirmation.root).to_contain_text(re.compile(r"others accept them until \d\d:\d\d \w+\."))
    expect(confirmation.root).to_contain_text("It was last used just now from 127.0.0.1.")
    assert request_token(live_server.url, client.client_id, SECRET).ok, "opening the confirmation does not disable"
    clients = confirmation.confirm(then=ClientList)
    expect(clients.row(client.client_id)).to_contain_text("Disabled")
    clients.expect_message("gets no new tokens")
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))
    claims(live_server.url, issued)

    clients = clients.menu(client.client_id).enable(then=ClientList)
    clients.expect_message("The client can ask for tokens again.")
    expect(clients.row(client.client_id)).to_contain_text("Enabled")
    assert request_token(live_server.url, client.client_id, SECRET).ok


def test_disable_from_the_page_of_the_client(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    client = merchant.add_client()
    details = Details.open(tab, client.id).more().disable().confirm(then=Details)
    expect(details.root).to_contain_text("This client is disabled.")
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))
    details = details.more().enable(then=Details)
    expect(details.root).not_to_contain_text("This client is disabled.")
    assert request_token(live_server.url, client.client_id, SECRET).ok


def test_copy_fills_in_everything_but_id_and_secret(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    client = merchant.add_client(name="The first", description="Line one\nLine two", token_duration=35, roles=ROLES)
    form = ClientList.open(tab).menu(client.client_id).copy()
    expect(form.field("client_id")).to_have_value("")
    expect(form.field("name")).to_have_value("The first")
    expect(form.field("description")).to_have_value("Line one\nLine two")
    expect(form.field("token_duration")).to_have_value("35")
    assert set(form.chosen_roles) == ROLES
    handover = form.fill(client_id=f"{client.client_id}-copy").create()
    assert handover.secret != SECRET
    token = claims(live_server.url, request_token(live_server.url, handover.client_id, handover.secret))
    assert (token["exp"] - token["iat"], set(token["roles"])) == (35 * 60, ROLES)


# Access


def test_another_account_sees_nothing(
    tab: Page, merchant: Merchant, make_merchant: Callable[..., Merchant], live_server: LiveServer
) -> None:
    """Its pages look as if the client did not exist (A3)."""
    other = make_merchant()
    client = other.add_client()
    expect(ClientList.open(tab).root).to_contain_text("No clients yet")
    expect(ClientList.open(tab, f"?q={client.client_id}").client_ids).to_have_count(0)
    for path in ("", "/menu", "/edit", "/enable", "/disable"):
        answer = tab.goto(f"{PREFIX}/{client.id}{path}")
        assert answer
        assert answer.status == 404
        assert client.client_id not in tab.content()
        expect(tab.get_by_role("heading", level=1)).to_have_text("There is no such page")
    assert tab.goto(f"{PREFIX}/new?copy={client.id}").status == 404  # type: ignore[union-attr]
    assert request_token(live_server.url, client.client_id, SECRET).ok


def test_without_the_role_access_is_refused(visit: Visit, merchant: Merchant) -> None:
    client = merchant.add_client()
    tab = visit(merchant.add_user("MerchantUser"))
    tab.goto("/")
    expect(tab.get_by_role("link", name="Identity Clients")).to_have_count(0)
    for path in ("", "/new", f"/{client.id}", f"/{client.id}/edit"):
        answer = tab.goto(PREFIX + path)
        assert answer
        assert answer.status == 403
        expect(tab.get_by_text("You need the Merchant Admin or Manage Identity Clients role.")).to_be_visible()
        assert client.client_id not in tab.content()


def test_with_the_feature_off_the_page_names_a_contact(
    visit: Visit, make_merchant: Callable[..., Merchant], live_server: LiveServer
) -> None:
    merchant = make_merchant(feature_enabled=False)
    client = merchant.add_client()
    tab = visit(merchant.admin)
    tab.goto("/")
    expect(tab.get_by_role("link", name="Identity Clients")).to_have_count(0)
    for path in ("", "/new", f"/{client.id}"):
        answer = tab.goto(PREFIX + path)
        assert answer
        assert answer.status == 403
        expect(tab.get_by_text("contact your Vitesse relationship manager")).to_be_visible()
    assert is_refused(request_token(live_server.url, client.client_id, SECRET))


def test_sign_in_leads_back_to_the_page_that_was_asked_for(visit: Visit, merchant: Merchant) -> None:
    client = merchant.add_client()
    tab = visit()
    tab.goto(f"{PREFIX}/{client.id}")
    details = SignIn(tab).sign_in(merchant.admin, merchant.password, then=Details)
    expect(details.heading).to_have_text(client.client_id)


# The same without JavaScript


def test_all_actions_on_a_client_without_javascript(visit: Visit, merchant: Merchant, live_server: LiveServer) -> None:
    tab = visit(java_script_enabled=False)
    tab.goto(PREFIX)
    clients = SignIn(tab).sign_in(merchant.admin, merchant.password, then=ClientList)
    form = clients.new().fill(client_id="short", client_secret="a-secret-of-our-own").choose([])
    form.create_with_errors()
    expect(form.summary.get_by_role("link")).to_have_count(2)
    expect(form.root).to_contain_text("What you typed here is not sent back. The field holds a new secret")
    form.press("Read only")
    expect(form.root.locator("[name=roles]:checked")).to_have_count(4)
    handover = filled(form, merchant.new_id).create()
    assert handover.client_id == merchant.new_id
    secret = handover.secret
    handover.root.get_by_role("button", name="Done").click()
    assert handover.saved.evaluate("box => box.validity.valueMissing")
    details = handover.done(then=Details)
    token = claims(live_server.url, request_token(live_server.url, merchant.new_id, secret))
    assert (token["exp"] - token["iat"], set(token["roles"])) == (25 * 60, ROLES)

    edit = details.edit().fill(name="ab").save_with_errors()
    details = edit.fill(name="Edited", token_duration="10").choose(["ReportViewer"]).save(then=Details)
    details.expect_message("Saved. Changes apply to the client’s next token.")
    expect(details.configuration_value("Client name")).to_have_text("Edited")
    token = claims(live_server.url, request_token(live_server.url, merchant.new_id, secret))
    assert (token["exp"] - token["iat"], token["roles"]) == (600, ["ReportViewer"])

    menu = ClientList.open(tab).menu(merchant.new_id)
    expect(menu.actions).to_have_count(8)
    menu.disable().confirm(then=Details).expect_message("gets no new tokens")
    assert is_refused(request_token(live_server.url, merchant.new_id, secret))
    ClientList.open(tab).menu(merchant.new_id).enable(then=Details).expect_message("can ask for tokens again")
    assert request_token(live_server.url, merchant.new_id, secret).ok

    form = ClientList.open(tab).menu(merchant.new_id).copy()
    assert form.chosen_roles == ["ReportViewer"]
    form.fill(client_id=f"{merchant.new_id}-copy").create().done(then=Details)

    clients = ClientList.open(tab)
    clients.search.fill("copy")
    clients.root.get_by_role("button", name="Search").click()
    expect(clients.client_ids).to_have_text([f"{merchant.new_id}-copy"])


def test_all_actions_on_a_secret_without_javascript(visit: Visit, merchant: Merchant, live_server: LiveServer) -> None:
    """Change with an overlap, pause, resume, end date, end, leak, revoke and delete, each on its own page."""
    client = merchant.add_client()
    tab = visit(merchant.admin, java_script_enabled=False)

    def works(secret: str) -> bool:
        answer = request_token(live_server.url, client.client_id, secret)
        assert answer.ok or is_refused(answer)
        return answer.ok

    form = ClientList.open(tab).menu(client.client_id).change_secret().fill(client_secret="aaaaaa")
    form = form.choose_overlap("In 7 days").change_with_errors()
    expect(form.message("client_secret")).to_contain_text("easy to guess")
    form.press("Generate new")
    form = ChangeSecret(tab)
    expect(form.root.get_by_role("radio", name="In 7 days")).to_be_checked()
    handover = form.change()
    second = handover.secret
    details = handover.done(then=Details)
    assert works(SECRET)
    assert works(second)

    details = details.open_secret_action("A", "Pause").confirm(then=Details)
    details.expect_message("Secret paused.")
    assert not works(SECRET)
    details = details.open_secret_action("A", "Resume").confirm(then=Details)
    assert works(SECRET)
    confirmation = details.open_secret_action("A", "Set end date")
    confirmation.root.get_by_label("End date").fill(f"{utc_now() + timedelta(days=20):%Y-%m-%dT%H:%M}")
    details = confirmation.confirm(then=Details)
    expect(details.secret("A")).to_contain_text("in 20 days")
    merchant.set_secret_columns(client, "A", last_used_at=utc_now(), last_used_address="203.0.113.7")
    confirmation = details.open_secret_action("A", "End now")
    expect(confirmation.root).to_contain_text("from 203.0.113.7. That caller will be refused.")
    confirmation.press()
    assert confirmation.root.get_by_label("Continue anyway").evaluate("box => box.validity.valueMissing")
    confirmation.root.get_by_label("Continue anyway").check()
    details = confirmation.confirm(then=Details)
    assert not works(SECRET)

    confirmation = details.open_secret_action("B", "End now")
    expect(confirmation.root).to_contain_text("It can be neither ended nor paused")
    confirmation = ClientList.open(tab).menu(client.client_id).leaked()
    confirmation.press()
    third = confirmation.handover().secret
    confirmation.handover().done(then=Details)
    assert not works(second)
    assert works(third)

    ClientList.open(tab).menu(client.client_id).revoke_tokens().confirm(then=Details).expect_message("Tokens revoked.")
    confirmation = ClientList.open(tab).menu(client.client_id).delete()
    confirmation.root.get_by_label("Type").fill(client.client_id)
    clients = confirmation.confirm(then=ClientList)
    clients.expect_message("its client ID stays taken")
    expect(clients.client_ids).to_have_count(0)
    assert not works(third)


def test_a_stale_edit_without_javascript(visit: Visit, merchant: Merchant) -> None:
    """The conflict is a page (I7)."""
    client = merchant.add_client(name="Before")
    tab = visit(merchant.admin, java_script_enabled=False)
    mine = EditClient.open(tab, client.id).fill(name="Mine")
    second = tab.context.new_page()
    EditClient.open(second, client.id).fill(name="Theirs").save(then=Details)
    conflict = mine.save_stale()
    expect(conflict.cell("Client name", "Theirs")).to_contain_text("Theirs")
    details = conflict.save(then=Details)
    expect(details.configuration_value("Client name")).to_have_text("Mine")
