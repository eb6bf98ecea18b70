"""The request log in Chromium: from a reported refusal to its correction."""

import re

from playwright.sync_api import expect

from tests.support.browser import Merchant, Visit
from tests.support.factories import PEPPER
from tests.support.pages import Networks, RequestLog
from tests.support.usage import record
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import utc_now
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.usage.recorder import Recorder

REQUEST_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_refusal_is_found_and_its_address_allowed_without_javascript(merchant: Merchant, visit: Visit) -> None:
    """A vendor reports the `X-Request-ID` of a refusal; `test_stories` has the same with JavaScript."""
    client = merchant.add_client(allowed_networks=[AllowedNetwork("192.0.2.0/24", "London")])
    recorder = Recorder(merchant.engine, PEPPER)
    refused = AuthenticationFailure.ADDRESS_NOT_ALLOWED
    record(recorder, client, refused, at=utc_now(), address="203.0.113.7", request_id=REQUEST_ID)
    recorder.write()
    log = RequestLog.open(visit(merchant.admin, java_script_enabled=False), query=f"?request_id={REQUEST_ID}")
    expect(log.rows).to_have_count(1)
    opened = log.open_request("Address not allowed")
    expect(opened).to_contain_text("203.0.113.7 was not among the allowed addresses.")
    expect(opened).to_contain_text("401 invalid_client")
    opened.get_by_role("link", name="Allow this address").click()
    form = Networks(log.page)
    expect(form.networks.last).to_have_value("203.0.113.7")
    form.root.get_by_role("button", name="Save", exact=True).click()
    expect(form.root).to_have_count(0)
    assert [str(each.network) for each in merchant.client(client.client_id).allowed_networks] == [
        "192.0.2.0/24",
        "203.0.113.7/32",
    ]


def test_filters_change_the_rows_and_the_address(merchant: Merchant, visit: Visit) -> None:
    """The page is not loaded again."""
    client = merchant.add_client()
    recorder = Recorder(merchant.engine, PEPPER)
    for outcome in (AuthenticationFailure.WRONG_SECRET, AuthenticationFailure.DISABLED):
        recorder.record(client.id, outcome, None, client_id=client.client_id, at=utc_now(), address=None, scope="")
    recorder.write()
    log = RequestLog.open(visit(merchant.admin), f"{client.id}/")
    expect(log.rows).to_have_count(2)
    log.filter("Result").select_option(label="Refused: wrong secret")
    expect(log.rows).to_have_count(1)
    expect(log.page).to_have_url(re.compile("outcome=wrong"))
