"""WCAG 2.2 A and AA and best practice, checked by axe-core on every screen, light and dark, wide and narrow."""

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import update

from tests.support.audit_events import add_event_history
from tests.support.browser import Merchant, Visit
from tests.support.factories import CATALOGUE, make_author, make_requests, make_secrets
from tests.support.keys import add_key, private_key, private_pem
from tests.support.notifications import make_target
from tests.support.pages import (
    PREFIX,
    Activity,
    ChangeSecret,
    ClientList,
    Confirmation,
    Details,
    EditClient,
    Handover,
    Home,
    NewClient,
    Notifications,
    RequestLog,
    SignIn,
)
from tests.support.screenshots import appearances
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import ClientSecret, IdentityClient, NotificationTarget, utc_now
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.notifications.outbox import add_message
from webapp.core.secrets.service import Overlap

AXE = Path(__file__).parents[1] / "vendor" / "axe-4.14.1.min.js"
AXE_SHA384 = "xt1SFg49QaDwsyt0Xfs2XAyBtYPClXl3X2q5OOLeGAUmq9jZTYIMdztpF99WdhiH"
EVERY_RULE = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22a", "wcag22aa", "best-practice"],
    "rules": {"target-size": {"enabled": True}},
}
# The colour schemes differ only in colours.
RULES: dict[str, dict[str, Any]] = {
    "light": EVERY_RULE,
    "dark": {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}},
}
# Passing results are not described, and no file is loaded again: only rules that do not run here would read it. What
# fades in has other colours for a moment.
VIOLATIONS = """async rules => {
    const fading = document.getAnimations().filter(each => each.effect.getComputedTiming().endTime < 2000);
    await Promise.allSettled(fading.map(each => each.finished));
    // A target that the sticky bar covers here can be scrolled free, which axe does not try.
    const scrolled = scrollY;
    scrollTo({top: 0, behavior: "instant"});
    const results = await axe.run(document, {...rules, resultTypes: ['violations'], preload: false});
    scrollTo({top: scrolled, behavior: "instant"});
    return results.violations;
}"""
REFLOW_WIDTHS = (1280, 1000, 390, 320)  # success criterion 1.4.10; at 1000 pixels tables are at their narrowest
TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll('.ic-page, dialog .ic-stack, .ic-menu')]
    .filter(box => box.scrollWidth > box.clientWidth && getComputedStyle(box).display !== 'none')
    .map(box => [box.className, box.scrollWidth, box.clientWidth])"""
ROLES = ["MerchantUser", "CreatePayment"]


@dataclass
class Scene:
    """The merchant, browser and clients that a screen is built from."""

    merchant: Merchant
    visit: Visit
    make_merchant: Callable[..., Merchant]

    def tab(self, **options: Any) -> Page:
        """Return a tab of the administrator."""
        return self.visit(self.merchant.admin, **options)

    def open_list(self, query: str = "") -> ClientList:
        """Return the list with a client of each kind."""
        merchant = self.merchant
        merchant.add_client(merchant.new_id, name="Claims payments", description="Pays claims.", roles=ROLES)
        merchant.add_client(f"{merchant.new_id}-off", enabled=False)
        old = merchant.add_client(f"{merchant.new_id}-old", created_at=utc_now() - timedelta(days=1200))
        with unit_of_work(merchant.engine) as session:
            session.execute(
                update(ClientSecret).where(ClientSecret.client_key == old.id).values(created_at=old.created_at)
            )
        return ClientList.open(self.tab(), query)

    def rotated(self) -> IdentityClient:
        """Return a client with two live secrets, both in use, the older one ending."""
        client = self.merchant.add_client(name="Claims payments", last_token_at=utc_now() - timedelta(minutes=3))
        self.rotate(client)
        used_client = {"last_used_at": utc_now() - timedelta(minutes=3), "last_used_address": "203.0.113.7"}
        self.merchant.set_secret_columns(client, "A", **used_client)
        self.merchant.set_secret_columns(client, "B", **used_client | {"last_used_address": "2001:db8:40::203:113:7"})
        return client

    def rotate(self, client: IdentityClient) -> None:
        """Change the secret of a client as Priya Nair does, who has it open at the same time."""
        with unit_of_work(self.merchant.engine) as session:
            make_secrets().change(
                session,
                author=make_author(self.merchant.account_id, label="Priya Nair"),
                key=client.id,
                version=client.version,
                secret="the next secret of this client",
                overlap=Overlap.WEEK,
            )

    def filled(self, form: NewClient) -> NewClient:
        """Return New Client with valid values."""
        form.fill(client_id=self.merchant.new_id).choose(ROLES)
        return form

    def conflict(self, edit: EditClient, client: IdentityClient) -> Page:
        """Return the conflict screen after another person saved first."""
        edit.fill(name="Mine", description="Mine", client_secret="a secret of my own").choose(ROLES)
        self.merchant.change(client, name="Theirs", roles=frozenset({"AccountViewer", "UploadBatches"}))
        return edit.save_stale().page


def _list(scene: Scene) -> Page:
    return scene.open_list().page


def _attention(scene: Scene) -> Page:
    screen = scene.open_list("?attention=any")
    expect(screen.client_ids).to_have_count(1)
    return screen.page


def _selected(scene: Scene) -> Page:
    screen = scene.open_list("?columns=owner&columns=tags&columns=roles&columns=secret&columns=created")
    screen.root.get_by_role("checkbox", name=re.compile("^Select ")).last.check()
    return screen.page


def _columns(scene: Scene) -> Page:
    screen = scene.open_list()
    screen.root.get_by_role("button", name="Columns").click()
    return screen.page


def _bulk(scene: Scene) -> Page:
    page = _selected(scene)
    page.get_by_role("button", name="Add tag").click()
    page.get_by_role("button", name="Change 1 client").click()
    expect(page.get_by_text("Enter a tag of 1 to 30 characters.")).to_be_visible()
    return page


def _review(scene: Scene) -> Page:
    scene.open_list()
    page = scene.tab()
    page.goto(f"{PREFIX}/review")
    return page


def _review_print(scene: Scene) -> Page:
    page = _review(scene)
    page.get_by_role("link", name="Printable page").click()
    expect(page).to_have_url(re.compile("/review/print"))
    return page


def _review_errors(scene: Scene) -> Page:
    page = _review(scene)
    page.get_by_role("link", name=re.compile("^Keep ")).first.click()
    page.get_by_role("dialog").get_by_role("button", name="Keep").click()
    expect(page.get_by_role("dialog")).to_contain_text("There is a problem")
    return page


def _empty(scene: Scene) -> Page:
    return ClientList.open(scene.tab()).page


def _no_match(scene: Scene) -> Page:
    return scene.open_list("?q=nothing&status=enabled&role=ReportViewer").page


def _second_page(scene: Scene) -> Page:
    scene.merchant.add_clients(51)
    screen = ClientList.open(scene.tab())
    screen.root.get_by_role("link", name="Next").click()
    expect(screen.client_ids).to_have_count(1)
    return screen.page


def long_texts(scene: Scene, **values: Any) -> IdentityClient:
    """Return a client whose texts have the maximum length, without a space."""
    client_id = scene.merchant.new_id.ljust(100, "W")
    roles = list(CATALOGUE)
    return scene.merchant.add_client(client_id, name="N" * 100, description="D" * 1000, roles=roles, **values)


def _long_list(scene: Scene) -> Page:
    client = long_texts(scene)
    screen = ClientList.open(scene.tab()).menu(client.client_id).disable().confirm(then=ClientList)
    screen.expect_message("gets no new tokens")
    return screen.page


def _long_details(scene: Scene) -> Page:
    return Details.open(scene.tab(), long_texts(scene).id).page


def _long_edit(scene: Scene) -> Page:
    return Details.open(scene.tab(), long_texts(scene).id).edit().page


def _long_conflict(scene: Scene) -> Page:
    client = long_texts(scene)
    return scene.conflict(ClientList.open(scene.tab()).menu(client.client_id).edit(), client)


def _long_disable(scene: Scene) -> Page:
    return Details.open(scene.tab(), long_texts(scene).id).more().disable().page


def _long_delete(scene: Scene) -> Page:
    return Details.open(scene.tab(), long_texts(scene).id).more().delete().page


def _long_change_secret(scene: Scene) -> Page:
    return Details.open(scene.tab(), long_texts(scene).id).change_secret().page


def _long_handover(scene: Scene) -> Page:
    form = Details.open(scene.tab(), long_texts(scene).id).more().copy()
    form.fill(client_id=f"{scene.merchant.new_id}-".ljust(100, "i"), client_secret="s" * 50 + "~" * 50)
    form.field("name").focus()
    return form.create().page


def _long_no_match(scene: Scene) -> Page:
    return scene.open_list(f"?q={'q' * 200}").page


def _menu(scene: Scene) -> Page:
    return scene.open_list().menu(scene.merchant.new_id).page


def _menu_page(scene: Scene) -> Page:
    client = scene.merchant.add_client()
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{client.id}/menu")
    return tab


def _new(scene: Scene) -> Page:
    return scene.open_list().new().page


def _new_page(scene: Scene) -> Page:
    return NewClient.open(scene.tab()).page


def fill_invalid(form: NewClient) -> Page:
    form.fill(client_id="short", client_secret="short", name="ab", description="x" * 1001, token_duration="9")
    return form.create_with_errors().page


def _new_errors(scene: Scene) -> Page:
    return fill_invalid(scene.open_list().new())


def _new_errors_page(scene: Scene) -> Page:
    return fill_invalid(NewClient.open(scene.tab()))


def _weak_secret(scene: Scene) -> Page:
    form = ClientList.open(scene.tab()).new().fill(client_secret="aaaa+aaaa")
    form.field("name").focus()
    expect(form.message("client_secret")).to_contain_text("easy to guess")
    return form.page


def _session_renew_hash(scene: Scene) -> Page:
    form = scene.filled(ClientList.open(scene.tab()).new())
    SignIn.open(form.page.context.new_page()).sign_in(scene.merchant.admin, scene.merchant.password, then=Home)
    return form.create_with_errors().page


def _copy(scene: Scene) -> Page:
    return scene.open_list().menu(scene.merchant.new_id).copy().page


def _handover(scene: Scene) -> Page:
    return scene.filled(ClientList.open(scene.tab()).new()).create().page


def _handover_tested(scene: Scene) -> Page:
    page = _handover(scene)
    return Handover(page).test("Issued").page


def _token_trial(scene: Scene) -> Page:
    form = Details.open(scene.tab(), scene.merchant.add_client().id).test()
    return form.test("not this client's secret", "Wrong secret").page


def _handover_page(scene: Scene) -> Page:
    return scene.filled(NewClient.open(scene.tab())).create().page


def _created_before(scene: Scene) -> Page:
    tab = scene.tab()
    form = scene.filled(NewClient.open(tab))
    values = form.root.evaluate("form => Object.fromEntries(new FormData(form))")
    tab.request.post(f"{PREFIX}/new", form=values)
    form.press("Create")
    expect(tab.get_by_role("heading", name="Client already created")).to_be_visible()
    return tab


def _list_updated(scene: Scene) -> Page:
    screen = scene.open_list().menu(scene.merchant.new_id).disable().confirm(then=ClientList)
    screen.expect_message("gets no new tokens")
    return screen.page


def _details(scene: Scene) -> Page:
    client = scene.merchant.add_client(name="Claims payments", description="Pays claims.\n\nTwice.", roles=ROLES)
    return Details.open(scene.tab(), client.id).page


def _details_disabled(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.merchant.add_client(enabled=False).id).page


def client_with_history(scene: Scene) -> IdentityClient:
    """Return a client with events of every kind."""
    client = scene.merchant.add_client(name="Claims payments", roles=ROLES)
    add_event_history(scene.merchant.engine, client)
    return client


def _details_with_history(scene: Scene) -> Page:
    return Details.open(scene.tab(), client_with_history(scene).id).page


def _activity(scene: Scene) -> Page:
    client_with_history(scene)
    return Activity.open(scene.tab()).page


def _activity_of_a_client(scene: Scene) -> Page:
    return Activity.open(scene.tab(), f"{client_with_history(scene).id}/").page


def _activity_of_a_deleted_client(scene: Scene) -> Page:
    client = scene.merchant.add_client(deleted_at=utc_now())
    return Activity.open(scene.tab(), f"{client.id}/").page


def _activity_without_a_match(scene: Scene) -> Page:
    return Activity.open(scene.tab(), query="?client=nothing&action=deleted&since=2026-03-01&until=2026-03-31").page


def _request_log(scene: Scene) -> Page:
    refused_request(scene)
    return RequestLog.open(scene.tab()).page


def _request_log_of_a_client(scene: Scene) -> Page:
    return RequestLog.open(scene.tab(), f"{refused_request(scene).id}/").page


def _request_log_without_a_match(scene: Scene) -> Page:
    return RequestLog.open(scene.tab(), query="?client=nothing&since=2026-03-02&until=2026-03-01").page


def _request(scene: Scene) -> Page:
    refused_request(scene)
    screen = RequestLog.open(scene.tab())
    screen.open_request("Scope not allowed")
    return screen.page


def refused_request(scene: Scene) -> IdentityClient:
    """Return a client whose requests were issued, and refused for two reasons."""
    client = scene.merchant.add_client(roles=["MerchantUser"])
    engine = scene.merchant.engine
    make_requests(engine, client, 3, scope="API")
    make_requests(engine, client, outcome=AuthenticationFailure.WRONG_SECRET, secret_label=None, address="2001:db8::9")
    make_requests(engine, client, outcome=Outcome.SCOPE_NOT_ALLOWED, scope="API reports:read")
    return client


def _long_activity(scene: Scene) -> Page:
    client = long_texts(scene)
    scene.merchant.change(client, name="", description="E" * 1000, roles=frozenset({"MerchantUser"}))
    screen = Activity.open(scene.tab())
    screen.root.get_by_text("With these values").click()
    return screen.page


def used_client(scene: Scene, **values: Any) -> IdentityClient:
    """Return a client that was used for a month, with some refusals."""
    client = scene.merchant.add_client(name="Claims payments", description="Pays claims.", roles=ROLES, **values)
    engine, now = scene.merchant.engine, utc_now()
    for days_ago in range(30):
        at = now - timedelta(days=days_ago, hours=1)
        make_requests(engine, client, 40 + days_ago * 37 % 110, at=at, scope="payment-requests stored-recipients")
    for days_ago, reason in enumerate(AuthenticationFailure):
        at = now - timedelta(minutes=3 + days_ago)
        make_requests(engine, client, 1 + days_ago % 3, at=at, outcome=reason, secret_label=None, address="2001:db8::7")
    return client


def _details_used(scene: Scene) -> Page:
    screen = Details.open(scene.tab(), used_client(scene).id)
    screen.section("Token requests").get_by_text("Show as a table").click()
    return screen.page


def _details_signed_out(scene: Scene) -> Page:
    tab = scene.tab(own=True)
    tab.clock.install()
    screen = Details.open(tab, used_client(scene).id)
    tab.context.clear_cookies()
    tab.clock.fast_forward(30_000)
    expect(screen.section("Token requests")).to_contain_text("You were signed out")
    return tab


NETWORKS = (AllowedNetwork("203.0.113.0/28", "London data centre"), AllowedNetwork("2001:db8:40::/48", "Dublin"))


def _details_networks(scene: Scene) -> Page:
    screen = Details.open(scene.tab(), used_client(scene, allowed_networks=NETWORKS).id)
    screen.check_address("198.51.100.20", "Would be refused").address.scroll_into_view_if_needed()
    return screen.page


def _networks(scene: Scene) -> Page:
    screen = Details.open(scene.tab(), used_client(scene, allowed_networks=NETWORKS).id)
    return screen.remove_network("203.0.113.0/28").page


def _networks_page(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{used_client(scene, allowed_networks=NETWORKS).id}/networks?remove=203.0.113.0/28")
    return tab


def _networks_errors(scene: Scene) -> Page:
    form = Details.open(scene.tab(), used_client(scene, allowed_networks=NETWORKS).id).add_address("198.51.100.20/24")
    return form.save_with_errors().page


def _networks_conflict(scene: Scene) -> Page:
    client = used_client(scene, allowed_networks=NETWORKS)
    form = Details.open(scene.tab(), client.id).remove_network("203.0.113.0/28")
    scene.merchant.change(client, name="Theirs")
    return form.save_with_errors().page


def _networks_check_page(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{used_client(scene, allowed_networks=NETWORKS).id}/networks/check?address=203.0.113.7")
    return tab


def _long_networks(scene: Scene) -> Page:
    addresses = [f"2001:db8:{number:x}:ffff:ffff:ffff:ffff:ffff/128" for number in range(4096, 4146)]
    client = long_texts(scene, allowed_networks=[AllowedNetwork(address, "L" * 60) for address in addresses])
    return Details.open(scene.tab(), client.id).add_address("x" * 200).page


def _long_requests(scene: Scene) -> Page:
    client = long_texts(scene)
    address = "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"
    make_requests(scene.merchant.engine, client, 3, address=address, scope="s" * 1000)
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{client.id}/requests")
    return tab


def _preview_page(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{scene.merchant.add_client(roles=ROLES, enabled=False).id}/preview?scope=API")
    return tab


def _requests(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{used_client(scene).id}/requests")
    return tab


def _edit(scene: Scene) -> Page:
    return scene.open_list().menu(scene.merchant.new_id).edit().page


def _edit_roles(scene: Scene) -> Page:
    form = scene.open_list().menu(scene.merchant.new_id).edit()
    form.choose(["CreatePayment", "UploadBatches", "ReportViewer"])
    expect(form.root.locator("#f-roles-difference")).to_contain_text("Removed when you save")
    form.root.locator("#f-roles-difference").scroll_into_view_if_needed()
    return form.page


def _edit_question(scene: Scene) -> Page:
    client = scene.merchant.add_client(roles=["MerchantUser"], last_token_at=utc_now())
    form = Details.open(scene.tab(), client.id).edit()
    form.fill(client_id=f"{client.client_id}-new").choose(["MerchantUser", "CreatePayment"]).press("Save")
    expect(form.root.locator("#f-warnings")).to_be_focused()
    return form.page


def _edit_page(scene: Scene) -> Page:
    return EditClient.open(scene.tab(), scene.merchant.add_client().id).page


def _conflict(scene: Scene) -> Page:
    client = scene.merchant.add_client(description="Before")
    return scene.conflict(ClientList.open(scene.tab()).menu(client.client_id).edit(), client)


def _conflict_page(scene: Scene) -> Page:
    client = scene.merchant.add_client(description="Before")
    return scene.conflict(EditClient.open(scene.tab(), client.id), client)


def _new_secret(scene: Scene) -> Page:
    client = scene.merchant.add_client()
    form = ClientList.open(scene.tab()).menu(client.client_id).edit()
    form.fill(client_secret="another secret of ours").press("Save")
    return Handover(form.page).page


def _disable(scene: Scene) -> Page:
    return scene.open_list().menu(scene.merchant.new_id).disable().page


def _enable_page(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{scene.merchant.add_client(enabled=False).id}/enable")
    return tab


def _details_menu(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).more().page


def _details_secrets(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).page


def _details_last_secret_ends(scene: Scene) -> Page:
    client = scene.merchant.add_client(last_token_at=utc_now())
    scene.merchant.set_secret_columns(client, "A", ends_at=utc_now() + timedelta(hours=20))
    return Details.open(scene.tab(), client.id).page


def _details_keys(scene: Scene) -> Page:
    client = scene.rotated()
    at = utc_now()
    used: dict[str, Any] = {"last_used_at": at - timedelta(minutes=3), "last_used_address": "2001:db8:40::203:113:7"}
    add_key(scene.merchant.engine, client, long_assertion_at=at, **used)
    add_key(scene.merchant.engine, client, private_key("EdDSA"), ends_at=at + timedelta(days=4))
    add_key(scene.merchant.engine, client, private_key("ES256", number=3), paused_at=at)
    screen = Details.open(scene.tab(), client.id)
    screen.section("Keys").scroll_into_view_if_needed()
    return screen.page


def _add_key(scene: Scene) -> Page:
    screen = Details.open(scene.tab(), scene.merchant.add_client().id)
    screen.root.get_by_role("link", name="Add key").click()
    expect(screen.page.get_by_role("dialog")).to_be_visible()
    return screen.page


def _add_key_made(scene: Scene) -> Page:
    tab = _add_key(scene)
    with tab.expect_download():
        tab.get_by_role("button", name="Make a key pair in this browser").click()
    expect(tab.get_by_text("It was sent nowhere")).to_be_visible()
    return tab


def _add_key_private(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{scene.merchant.add_client().id}/keys")
    tab.get_by_label("Public key", exact=True).fill(private_pem(private_key()))
    expect(tab.get_by_text("treat it as leaked")).to_be_visible()
    return tab


def _pause_key(scene: Scene) -> Page:
    client = scene.merchant.add_client()
    key = add_key(scene.merchant.engine, client)
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{client.id}/keys/{key.id}/pause")
    return tab


def _change_secret(scene: Scene) -> Page:
    return scene.open_list().menu(scene.merchant.new_id).change_secret().page


def _change_secret_of_two(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).change_secret().change_with_errors().page


def _change_secret_page(scene: Scene) -> Page:
    return ChangeSecret.open(scene.tab(), scene.rotated().id).page


def _change_secret_too_late(scene: Scene) -> Page:
    client = scene.merchant.add_client()
    form = Details.open(scene.tab(), client.id).change_secret()
    scene.rotate(client)
    return form.change_with_errors().page


def _changed_secret(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.merchant.add_client().id).change_secret().change().page


def _leaked(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).more().leaked().page


def _revoke_tokens(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).more().revoke_tokens().page


def _delete(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).more().delete().page


def _delete_page_with_error(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{scene.merchant.add_client().id}/delete")
    tab.locator("#f-confirm").evaluate("field => { field.removeAttribute('pattern'); field.value = 'something else'; }")
    Confirmation(tab).confirm_with_errors()
    return tab


def _end_secret(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).open_secret_action("A", "End now").page


def _pause_secret(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).open_secret_action("B", "Pause").page


def _secret_paused(scene: Scene) -> Page:
    confirmation = Details.open(scene.tab(), scene.rotated().id).open_secret_action("A", "Pause")
    details = confirmation.confirm(then=Details)
    details.expect_message("Secret paused.")
    expect(details.secret("A")).to_contain_text("Paused")
    return details.page


def _last_secret(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.merchant.add_client().id).open_secret_action("A", "End now").page


def _end_date(scene: Scene) -> Page:
    return Details.open(scene.tab(), scene.rotated().id).open_secret_action("A", "Set end date").page


def _end_date_of_the_last(scene: Scene) -> Page:
    confirmation = Details.open(scene.tab(), scene.merchant.add_client().id).open_secret_action("A", "Set end date")
    confirmation.root.get_by_label("End date").fill(f"{utc_now() + timedelta(days=3):%Y-%m-%dT%H:%M}")
    return confirmation.confirm_with_errors().page


def _disable_page(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/{scene.merchant.add_client().id}/disable")
    return tab


def _signed_out(scene: Scene) -> Page:
    form = scene.filled(ClientList.open(scene.tab()).new())
    form.page.wait_for_load_state("networkidle")  # a response on its way would set the session's cookie again
    form.page.context.clear_cookies()
    return form.create_with_errors().page


def _no_access(scene: Scene) -> Page:
    tab = scene.visit(scene.merchant.add_user("MerchantUser"))
    tab.goto(PREFIX)
    return tab


def _not_enabled(scene: Scene) -> Page:
    tab = scene.visit(scene.make_merchant(feature_enabled=False).admin)
    tab.goto(PREFIX)
    return tab


def _not_found(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/nothing")
    return tab


def _host_error(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto("/nothing")
    return tab


def _notifications(scene: Scene) -> Page:
    client, account_id = scene.merchant.add_client(), scene.merchant.account_id
    errors = ("", "The receiver answered 503.", "The receiver did not answer in time.")
    make_target(scene.merchant.engine, "operations@northwind.example", account_id=account_id)
    webhook, _ = make_target(
        scene.merchant.engine, "https://hooks.northwind.example/identity", ["client.deleted"], account_id=account_id
    )
    with unit_of_work(scene.merchant.engine) as session:
        session.get_one(NotificationTarget, webhook.id).given_up_at = utc_now()
        for number, error in enumerate(errors):
            message = add_message(
                session,
                target=webhook,
                recipient=webhook.address,
                kind="client.deleted",
                client_key=client.id,
                client_id=client.client_id,
                facts={},
                attempts=number,
                last_error=error or None,
            )
            message.delivered_at = None if error else utc_now()
            message.next_attempt_at = utc_now() + timedelta(hours=6) if number == 1 else None
    return Notifications.open(scene.tab()).page


def _notifications_empty(scene: Scene) -> Page:
    return Notifications.open(scene.tab()).page


def _webhook_with_errors(scene: Scene) -> Page:
    return Notifications.open(scene.tab()).add("Add webhook").save_with_errors().page


def _webhook_secret(scene: Scene) -> Page:
    form = Notifications.open(scene.tab()).add("Add webhook")
    form.root.get_by_label("URL").fill("https://hooks.northwind.example/identity")
    form.press()
    expect(form.page.locator("#ic-handover-secret")).to_be_visible()
    return form.page


def _remove_address(scene: Scene) -> Page:
    make_target(scene.merchant.engine, "https://hooks.northwind.example/identity", account_id=scene.merchant.account_id)
    screen = Notifications.open(scene.tab())
    screen.press("Remove")
    return Confirmation(screen.page).page


def _edit_address_page(scene: Scene) -> Page:
    target, _ = make_target(
        scene.merchant.engine, "https://hooks.northwind.example/identity", account_id=scene.merchant.account_id
    )
    tab = scene.tab()
    tab.goto(f"{PREFIX}/notifications/{target.id}")
    return tab


def _settings(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto(f"{PREFIX}/settings")
    tab.get_by_role("switch", name="Allow the management API").check()
    tab.get_by_role("button", name="Save").click()
    expect(tab.get_by_role("status").first).to_contain_text("Saved.")
    return tab


def _api_reference(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto("/api/identity-clients/v1/reference")
    return tab


def _home(scene: Scene) -> Page:
    tab = scene.tab()
    tab.goto("/")
    return tab


def _sign_in(scene: Scene) -> Page:
    return SignIn.open(scene.visit()).page


def _sign_in_refused(scene: Scene) -> Page:
    screen = SignIn.open(scene.visit())
    screen.root.get_by_label("E-mail address").fill("nobody@company.test")
    screen.root.get_by_label("Password", exact=True).fill("x")
    screen.root.get_by_role("button", name="Sign in").click()
    expect(screen.page.get_by_role("alert")).to_be_visible()
    return screen.page


SCREENS = [
    value for name, value in list(globals().items()) if name.startswith("_") and getattr(value, "__code__", None)
]


@pytest.mark.parametrize("screen", SCREENS, ids=[screen.__name__.lstrip("_") for screen in SCREENS])
def test_a_screen_is_accessible(
    screen: Callable[[Scene], Page], merchant: Merchant, visit: Visit, make_merchant: Callable[..., Merchant]
) -> None:
    """`make screenshots` stores images of these screens in the folder that `SCREENSHOTS` names."""
    tab = screen(Scene(merchant, visit, make_merchant))
    tab.evaluate(AXE.read_text("utf-8"))  # by the protocol, to which the page's policy does not apply
    found: list[tuple[object, ...]] = []
    for width, scheme in appearances(tab, screen.__name__.strip("_")):
        for violation in tab.evaluate(VIOLATIONS, RULES[scheme]):
            nodes = [(node["html"][:200], node["failureSummary"]) for node in violation["nodes"]]
            found.append((width, scheme, violation["id"], nodes))
    assert found == []
    for width in REFLOW_WIDTHS:
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate(TOO_WIDE) == [], width
    ids = tab.locator("[id]").evaluate_all("elements => elements.map(element => element.id)")
    assert sorted(ids) == sorted(set(ids))
    assert tab.locator("h1").count() == 1
    assert tab.title()


def test_axe_is_as_published() -> None:
    """Named with its version, and equal to the recorded SHA-384 (C2)."""
    assert base64.b64encode(hashlib.sha384(AXE.read_bytes()).digest()).decode() == AXE_SHA384
