"""The jobs of an administrator from beginning to end, with their number of clicks.

Typing and the keyboard are not counted, and a choice in a select counts as two clicks. The docstrings say how many
clicks the same job takes elsewhere as its public documentation describes it, from the corresponding page on.
"""

import csv
import re
from datetime import timedelta
from io import StringIO

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.audit_events import add_event_history
from tests.support.browser import Merchant, Visit
from tests.support.factories import PEPPER
from tests.support.pages import ClientList, Details, Networks, RequestLog
from tests.support.usage import record
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import IdentityClient, utc_now
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.usage.recorder import Recorder

REQUEST_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
_COUNT = "addEventListener('pointerdown', event => event.isTrusted && countClick(), true)"


class Story:
    """A tab that counts clicks.

    :param clicks: how many there were.
    """

    def __init__(self, tab: Page) -> None:
        self.tab = tab
        self.clicks = 0
        tab.expose_function("countClick", self._count)
        tab.add_init_script(_COUNT)

    def _count(self) -> None:
        self.clicks += 1

    def select(self, field: Locator, label: str) -> None:
        """Choose an option: a click that opens the select, and one on the option."""
        field.select_option(label=label)
        self.clicks += 2


@pytest.fixture
def story(visit: Visit, merchant: Merchant) -> Story:
    """Return a story of the merchant's administrator, in a browser of its own."""
    return Story(visit(merchant.admin, own=True))


def record_refusal(merchant: Merchant, client: IdentityClient) -> None:
    """Record a request of a client from an address that is not allowed."""
    recorder = Recorder(merchant.engine, PEPPER)
    refused = AuthenticationFailure.ADDRESS_NOT_ALLOWED
    record(recorder, client, refused, at=utc_now(), address="203.0.113.7", request_id=REQUEST_ID)
    recorder.write()


def test_create_a_client_for_a_vendor_and_test_it(story: Story, merchant: Merchant) -> None:
    """New Client, a role, Create, Test now, the box, Done.

    Auth0: seven before a test (Create Application, the type, Create, the API in a select, a permission, Authorize).
    """
    form = ClientList.open(story.tab).new()
    form.fill(client_id=merchant.new_id, name="Claims vendor").choose(["MerchantUser"])
    form.create().test("Issued").done(ClientList)
    assert merchant.client(merchant.new_id).enabled
    assert story.clicks == 6


def test_rotate_a_secret_with_an_overlap(story: Story, merchant: Merchant) -> None:
    """Change secret, Change secret, the box, Done; the old secret ends by itself after 24 hours.

    Stripe: five before the new key is copied (the menu, Roll key, the expiration in a select, Roll API key).
    Okta: five (Generate new secret, Copy, Done, the state of the old secret in a menu).
    """
    client = merchant.add_client()
    form = Details.open(story.tab, client.id).change_secret()
    expect(form.root.get_by_role("radio", name="In 24 hours")).to_be_checked()
    details = form.change().done(then=Details)
    expect(details.secret("A")).to_contain_text("Ending")
    expect(details.secret("B")).to_contain_text("Current")
    assert story.clicks == 4


def test_find_a_refusal_by_its_request_id_and_allow_its_address(story: Story, merchant: Merchant) -> None:
    """Token requests, the request, Allow this address, Save; the request ID is typed.

    Adyen and Stripe: three to the request (a menu, the logs, the request), which offers no change of the addresses.
    """
    client = merchant.add_client(allowed_networks=[AllowedNetwork("192.0.2.0/24", "London")])
    record_refusal(merchant, client)
    ClientList.open(story.tab).root.get_by_role("link", name="Token requests").click()
    log = RequestLog(story.tab)
    log.filter("Request ID").fill(REQUEST_ID)
    log.filter("Request ID").press("Enter")
    expect(log.rows).to_have_count(1)
    expect(log.page).to_have_url(re.compile(f"request_id={REQUEST_ID}"))
    opened = log.open_request("Address not allowed")
    expect(opened).to_contain_text("203.0.113.7 was not among the allowed addresses.")
    expect(opened).to_contain_text("401 invalid_client")
    opened.get_by_role("link", name="Allow this address").click()
    form = Networks(log.page)
    expect(form.networks.last).to_have_value("203.0.113.7")
    form.root.get_by_role("button", name="Save", exact=True).click()
    expect(form.root).to_have_count(0)
    allowed = merchant.client(client.client_id).allowed_networks
    assert [each.network for each in allowed] == ["192.0.2.0/24", "203.0.113.7/32"]
    assert story.clicks == 4


def test_review_twelve_clients_and_print(story: Story, merchant: Merchant) -> None:
    """The strip; for each client Keep, the box and Keep again, and the page is refreshed; then Printable page.

    Okta: not known exactly; its reviewers open each item, decide and give a reason, or decide several at once.
    """
    ids = merchant.add_clients(12, created_at=utc_now() - timedelta(days=200), last_token_at=utc_now())
    tab = story.tab
    ClientList.open(tab).attention_strip.get_by_role("link", name="12 clients overdue for review").click()
    rows = tab.locator("#ic-results tbody tr")
    expect(rows).to_have_count(12)
    dialog = tab.get_by_role("dialog")
    for number, client_id in enumerate(ids):
        expect(tab.get_by_text(f"Overdue: {12 - number}.")).to_be_visible()
        expect(rows.first).to_contain_text(client_id)
        tab.get_by_role("link", name=f"Keep {client_id}").click()
        dialog.get_by_label("What did you find?").fill("Still used by the claims platform.")
        dialog.get_by_role("checkbox").check()
        dialog.get_by_role("button", name="Keep").click()
        expect(dialog).to_be_hidden()
    expect(tab.get_by_text("Overdue:")).to_be_hidden()
    tab.get_by_role("link", name="Printable page").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text(f"Access review of {merchant.name}")
    expect(tab.get_by_text("Still used by the claims platform.")).to_have_count(12)
    expect(tab.get_by_role("link", name="Keep")).to_have_count(0)
    assert story.clicks == 1 + 12 * 3 + 1


def test_disable_the_clients_of_a_tag(story: Story, merchant: Merchant) -> None:
    """The tag in a select, all clients, Disable, the confirmation; the list then shows them disabled, none selected.

    Auth0, Okta, Stripe, Adyen: not known.
    """
    tagged = merchant.add_clients(3, tags=["old system"])
    merchant.add_client(f"{merchant.new_id}-other", tags=["live"])
    screen = ClientList.open(story.tab)
    story.select(screen.root.get_by_label("Tag", exact=True), "old system")
    expect(screen.client_ids).to_have_text(tagged)
    expect(screen.root.get_by_role("button", name="Disable")).to_be_hidden()
    screen.root.get_by_role("checkbox", name="Select all clients on this page").check()
    expect(screen.root.get_by_text("3 selected")).to_be_visible()
    screen.root.get_by_role("button", name="Disable").click()
    dialog = story.tab.get_by_role("dialog")
    expect(dialog).to_contain_text(tagged[2])
    dialog.get_by_role("button", name="Disable 3 clients").click()
    screen.expect_message("3 clients disabled.")
    expect(screen.root.get_by_role("row").get_by_text("Disabled")).to_have_count(3)
    expect(screen.root.get_by_role("button", name="Disable")).to_be_hidden()
    assert merchant.client(f"{merchant.new_id}-other").enabled
    assert story.clicks == 5


def test_answer_an_auditor_who_changed_roles(story: Story, merchant: Merchant) -> None:
    """Activity, the kind of event in a select, Download CSV; the client ID is typed.

    GitHub: about seven (the picture, Organizations, Settings, Logs, Audit log, Export, CSV), with a typed query.
    """
    client = merchant.add_client()
    add_event_history(merchant.engine, client)
    screen = ClientList.open(story.tab).activity()
    screen.filter("Client ID").fill(client.client_id)
    story.select(screen.filter("Action"), "Roles changed")
    expect(screen.events).to_have_count(2)
    with story.tab.expect_download() as started:
        screen.root.get_by_role("link", name="Download CSV").click()
    text = started.value.path().read_bytes().decode("utf-8-sig")
    events = csv.DictReader(StringIO(text, newline=""))
    assert [event["Person"] for event in events] == ["Priya Nair", "Tom Reilly"]
    assert story.clicks == 4
