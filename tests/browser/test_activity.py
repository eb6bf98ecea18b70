"""The audit log in Chromium: filters, pages, the file, and a deleted client."""

import csv
import re
from datetime import UTC, datetime
from io import StringIO
from urllib.parse import parse_qsl, urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.support.audit_events import EVENT_HISTORY, add_event_history, add_events
from tests.support.browser import Merchant, Visit
from tests.support.pages import PREFIX, Activity, ClientList, Details
from webapp.core.database.models import IdentityClient, utc_now


@pytest.fixture
def client(merchant: Merchant) -> IdentityClient:
    """Return a client with events of every kind."""
    client = merchant.add_client(name="Claims payments")
    add_event_history(merchant.engine, client)
    return client


def query_of(tab: Page) -> dict[str, str]:
    """Return the filters in the address bar."""
    return dict(parse_qsl(urlsplit(tab.url).query))


def test_filters_change_the_address_and_back_restores_them(tab: Page, client: IdentityClient) -> None:
    screen = Activity.open(tab)
    expect(screen.events).to_have_count(len(EVENT_HISTORY) + 1)
    screen.filter("Person").select_option("Priya Nair")
    expect(screen.events).to_have_count(sum(who == "Priya Nair" for _, who, *_ in EVENT_HISTORY))
    screen.filter("Action").focus()
    screen.filter("Action").select_option("Disabled")
    expect(screen.events).to_have_count(1)
    screen.expect_message("Showing 1 event")
    expect(screen.events).to_contain_text(f"Priya Nair disabled the client · {client.client_id}")
    assert query_of(tab) == {"person": "Priya Nair", "action": "disabled"}
    expect(screen.filter("Action")).to_be_focused()
    screen.root.get_by_role("link", name=client.client_id, exact=True).click()
    expect(Activity(tab).events).to_have_count(len(EVENT_HISTORY) + 1)
    tab.go_back()
    screen = Activity(tab)
    expect(screen.events).to_have_count(1)
    expect(screen.filter("Person")).to_have_value("Priya Nair")
    expect(screen.filter("Action")).to_have_value("disabled")


def test_dates_and_the_client_id(tab: Page, client: IdentityClient, merchant: Merchant) -> None:
    merchant.add_client(f"{merchant.new_id}-other")
    screen = Activity.open(tab)
    screen.filter("From").fill(f"{utc_now():%Y-%m-%d}")
    expect(screen.events).to_have_count(3)
    screen.filter("Client ID").fill("-other")
    expect(screen.events).to_have_count(1)
    screen.filter("To").fill("2020-01-01")
    screen.expect_message("Nothing to show")
    expect(screen.root.get_by_role("alert")).to_contain_text("“From” is later than “To”.")
    screen.root.get_by_role("link", name="Clear filters").click()
    expect(Activity(tab).events).to_have_count(len(EVENT_HISTORY) + 2)


def test_who_changed_the_roles_in_march_takes_three_clicks(
    tab: Page, client: IdentityClient, merchant: Merchant
) -> None:
    """From the page of the client: all activity, the list of actions, and "Roles changed"."""
    roles = {"roles": [["MerchantUser"], ["CreatePayment", "MerchantUser"]]}
    for at, who, changes in (
        (datetime(2026, 2, 27, tzinfo=UTC), "Priya Nair", roles),
        (datetime(2026, 3, 12, tzinfo=UTC), "Tom Reilly", roles),
        (datetime(2026, 3, 13, tzinfo=UTC), "Hannah Okafor", {"name": ["Claims", "Claims payments"]}),
    ):
        event = {"at": at, "actor_id": who, "actor_label": who, "changes": changes}
        own = {"account_id": merchant.account_id, "client_key": client.id, "client_id": client.client_id}
        add_events(merchant.engine, event | own)
    Details.open(tab, client.id).root.get_by_role("link", name="See all activity").click()
    screen = Activity(tab)
    screen.filter("From").fill("2026-03-01")
    screen.filter("To").fill("2026-03-31")
    screen.filter("Action").select_option("Roles changed")  # two clicks: the list, and its option
    expect(screen.events).to_have_count(1)
    expect(screen.events).to_contain_text("Tom Reilly changed the roles")
    expect(screen.events).to_contain_text(
        re.compile(
            r"\+ Create single payments\s*Moves money\s*Before:\s*API access"
            r"\s*After:\s*API access,\s*Create single payments\s*Moves money"
        )
    )
    assert query_of(tab) == {"action": "roles-changed", "since": "2026-03-01", "until": "2026-03-31"}


def test_older_and_newer(tab: Page, merchant: Merchant) -> None:
    add_events(merchant.engine, *({"at": utc_now(), "account_id": merchant.account_id} for _ in range(60)))
    screen = Activity.open(tab)
    expect(screen.events).to_have_count(50)
    screen.root.get_by_role("link", name="Older").click()
    expect(screen.events).to_have_count(10)
    screen.root.get_by_role("link", name="Newer").click()
    expect(screen.events).to_have_count(50)


def test_the_file_has_the_filtered_events(tab: Page, client: IdentityClient) -> None:
    """From the page's link, with its filters; the export is recorded (L7)."""
    screen = Activity.open(tab)
    screen.filter("Person").select_option("Tom Reilly")
    expect(screen.events).to_have_count(2)
    with tab.expect_download() as started:
        screen.root.get_by_role("link", name="Download CSV").click()
    assert started.value.suggested_filename.startswith("identity-clients-activity_")
    text = started.value.path().read_bytes().decode("utf-8-sig")
    assert [row[4] for row in csv.reader(StringIO(text, newline=""))] == ["Action", "Refused", "Edited"]
    assert Activity.open(tab).events.first.inner_text().startswith("Ann Example exported the activity")


def test_from_the_list_to_the_audit_log_of_a_deleted_client(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(deleted_at=utc_now())
    merchant.add_client(f"{merchant.new_id}-2")
    screen = ClientList.open(tab).activity()
    screen.root.get_by_role("link", name=merchant.new_id, exact=True).click()
    screen = Activity(tab)
    expect(screen.root.get_by_role("heading", level=1)).to_have_text(f"Activity of {merchant.new_id}")
    expect(screen.root).to_contain_text("This client is deleted")
    expect(screen.events).to_have_count(1)


def test_a_change_is_added_to_the_activity_of_the_page(tab: Page, client: IdentityClient) -> None:
    screen = Details.open(tab, client.id)
    expect(screen.activity).to_have_count(10)
    form = screen.edit()
    form.fill(name="Claims payments, new")
    screen = form.save(then=Details)
    expect(screen.activity.first).to_contain_text("Ann Example changed the client name")
    screen.root.get_by_role("link", name="See all activity").click()
    expect(Activity(tab).events).to_have_count(len(EVENT_HISTORY) + 2)


def test_the_activity_without_javascript(visit: Visit, merchant: Merchant, client: IdentityClient) -> None:
    tab = visit(merchant.admin, java_script_enabled=False)
    screen = Activity.open(tab)
    screen.filter("Person").select_option("Tom Reilly")
    screen.root.get_by_role("button", name="Search").click()
    screen = Activity(tab)
    expect(screen.events).to_have_count(2)
    screen.root.get_by_role("link", name=client.client_id).first.click()
    screen = Activity(tab)
    assert urlsplit(tab.url).path == f"{PREFIX}/{client.id}/activity"
    screen.root.get_by_role("link", name="View client").click()
    expect(Details(tab).activity).to_have_count(10)
