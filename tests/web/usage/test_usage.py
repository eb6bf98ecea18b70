"""The token requests of a client on its page (L2)."""

import re
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from tests.support.factories import make_client, make_requests
from tests.support.host import HARBOUR, Host
from tests.support.markup import one_line, read
from webapp.core.database.models import IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.web.usage.usage import SHOWN

NOW = datetime(2026, 11, 23, 10, 42, 7, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client that was used for some weeks."""
    client = make_client(host.engine, client_id="acme-claims-prod")
    make_requests(host.engine, client, 1200, at=NOW - 29 * DAY)
    make_requests(host.engine, client, 3, at=NOW - 30 * DAY)  # a day too long ago
    make_requests(
        host.engine, client, 22, at=NOW - 5 * DAY, outcome=AuthenticationFailure.WRONG_SECRET, secret_label=None
    )
    make_requests(host.engine, client, 2, at=NOW - DAY, outcome=AuthenticationFailure.DISABLED)
    make_requests(host.engine, client, 1, at=NOW - DAY, outcome=Outcome.SCOPE_NOT_ALLOWED, scope="API")
    make_requests(host.engine, client, 4, at=NOW, secret_label="B", scope="payment-requests stored-recipients")
    return client


def section(host: Host, client: IdentityClient) -> str:
    """Return the section as it requests itself."""
    answer = host.get(f"/{client.id}/usage", htmx=True)
    assert answer.status_code == 200
    return answer.text


def text_of(html: str) -> str:
    """Return the text of an HTML fragment."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace(" ,", ",").replace(" .", ".")


@time_machine.travel(NOW, tick=False)
def test_total_and_peak_in_words(host: Host, client: IdentityClient) -> None:
    """The text alternative of the chart (L2)."""
    words = text_of(host.get(f"/{client.id}").text)
    assert "Last 30 days: 1,204 issued, 25 refused. Most refusals on 18 November (22, wrong secret)." in words
    make_requests(host.engine, client, 1, at=NOW - 5 * DAY, outcome=AuthenticationFailure.ADDRESS_NOT_ALLOWED)
    assert "Most refusals on 18 November (23, mostly wrong secret)." in text_of(section(host, client))


@time_machine.travel(NOW, tick=False)
def test_without_refusals_the_busiest_day_is_named(host: Host) -> None:
    client = make_client(host.engine)
    assert "No token requests in the last 30 days." in section(host, client)
    assert "<svg" not in section(host, client).partition("ic-refresh")[2]
    make_requests(host.engine, client, 7, at=NOW - 2 * DAY)
    make_requests(host.engine, client, 6, at=NOW)
    assert "Last 30 days: 13 issued, 0 refused. Most on 21 November (7)." in text_of(section(host, client))


@time_machine.travel(NOW, tick=False)
def test_the_chart_and_its_table_show_equal_figures(host: Host, client: IdentityClient) -> None:
    """Inline SVG with an accessible name, with separate scales for issued and refused requests."""
    html = one_line(section(host, client))
    markup = read(html)
    [drawing] = [found for tag, found in markup.tags if tag == "svg" and found.get("role") == "img"]
    assert "Last 30 days" in markup.texts[drawing["aria-labelledby"]]
    assert "Issued</b>0 to 1,200" in html
    assert "Refused</b>0 to 25" in html
    assert "style=" not in html
    bars = [found["class"] for tag, found in markup.tags if tag == "rect"]
    assert bars == ["ic-up"] * 2 + ["ic-down"] * 2
    days = re.findall(
        r'<tr><th scope="row">(?:<a[^>]+>)?(.+?)(?:</a>)?</th>'
        r'<td class="ic-num">(.+?)</td><td class="ic-num">(.+?)</td>',
        html,
    )
    assert len(days) == 30
    assert [day for day in days if day[1:] != ("0", "0")] == [
        ("Mon 23 Nov", "4", "0"),
        ("Sun 22 Nov", "0", "3"),
        ("Wed 18 Nov", "0", "22"),
        ("Sun 25 Oct", "1,200", "0"),
    ]
    marks = re.findall(r"<span>(\d+ \w+)</span>", html.partition("ic-x")[2].partition("</div>")[0])
    assert marks == ["25 Oct", "4 Nov", "14 Nov", "23 Nov"]


@time_machine.travel(NOW, tick=False)
def test_the_latest_requests(host: Host, client: IdentityClient) -> None:
    """Result, true reason, secret, address, scope; local time to the second, UTC in the markup (L2)."""
    rows = [text_of(row) for row in section(host, client).split("<tr role")[2:]]
    assert len(rows) == SHOWN
    assert "Today, 10:42:07 Issued B 203.0.113.7 payment-requests stored-recipients" in rows[0]
    assert "Sun 22 Nov, 10:42:07 Scope not allowed A 203.0.113.7 API" in rows[4]
    assert "Client disabled A 203.0.113.7 None" in rows[5]
    assert '<time datetime="2026-11-22T10:42:07Z">' in section(host, client)


def test_a_summer_time_is_local(host: Host) -> None:
    client = make_client(host.engine)
    with time_machine.travel("2026-07-04 12:00:00+00:00", tick=False):
        make_requests(host.engine, client, at=datetime(2026, 7, 3, 8, 12, 9, tzinfo=UTC))
        html = section(host, client)
    assert "Fri 3 Jul, 09:12:09" in html
    assert "London time" in html


@pytest.mark.parametrize("outcome", [*Outcome, *AuthenticationFailure])
def test_every_reason_has_a_text(host: Host, outcome: Outcome | AuthenticationFailure) -> None:
    """None is shown by its stored value (L2)."""
    client = make_client(host.engine)
    make_requests(host.engine, client, outcome=outcome, secret_label=None)
    found = re.search(r'<span class="ic-st( ic-no)?">(.+?)</span>', one_line(section(host, client)))
    assert found
    assert (found[1] is None) is (outcome is Outcome.ISSUED)
    assert found[2] == WORDS[outcome]


WORDS = {
    Outcome.ISSUED: "Issued",
    Outcome.THROTTLED: "Too many attempts",
    Outcome.SCOPE_MALFORMED: "Scope malformed",
    Outcome.SCOPE_NOT_ALLOWED: "Scope not allowed",
    Outcome.NO_ROLES: "No roles left",
    Outcome.PLAIN_HTTP: "Sent without https",
    Outcome.RESOURCE_NOT_ALLOWED: "Resource not allowed",
    AuthenticationFailure.WHITE_SPACE: "White space around the client ID",
    AuthenticationFailure.MALFORMED: "Malformed secret",
    AuthenticationFailure.UNKNOWN: "Not this client ID",
    AuthenticationFailure.WRONG_SECRET: "Wrong secret",
    AuthenticationFailure.ENDED_SECRET: "Secret ended",
    AuthenticationFailure.PAUSED_SECRET: "Secret paused",
    AuthenticationFailure.WRONG_KEY: "No key of this client",
    AuthenticationFailure.ENDED_KEY: "Key ended",
    AuthenticationFailure.PAUSED_KEY: "Key paused",
    AuthenticationFailure.ASSERTION_ALGORITHM: "Assertion signed by another algorithm",
    AuthenticationFailure.ASSERTION_MALFORMED: "Assertion lacks iss, sub, jti or a time",
    AuthenticationFailure.ASSERTION_AUDIENCE: "Assertion for another audience",
    AuthenticationFailure.ASSERTION_EXPIRED: "Assertion expired",
    AuthenticationFailure.ASSERTION_EARLY: "Assertion not valid yet",
    AuthenticationFailure.ASSERTION_LONG: "Assertion valid too long",
    AuthenticationFailure.ASSERTION_NOT_STRICT: "Assertion not strict",
    AuthenticationFailure.ASSERTION_USED: "Assertion used before",
    AuthenticationFailure.DELETED: "Client deleted",
    AuthenticationFailure.DISABLED: "Client disabled",
    AuthenticationFailure.ACCOUNT_OFF: "Account switched off",
    AuthenticationFailure.ADDRESS_NOT_ALLOWED: "Address not allowed",
}


def test_a_quota_of_tokens_is_no_failed_attempt(host: Host) -> None:
    client = make_client(host.engine)
    make_requests(host.engine, client, outcome=Outcome.THROTTLED, secret_label="A")
    assert "Too many tokens" in section(host, client)


@time_machine.travel(NOW, tick=False)
def test_a_day_leads_to_its_requests(host: Host, client: IdentityClient) -> None:
    """From its bars and from its row of the table, as UTC counts days; a day without requests is no link."""
    html = section(host, client)
    path = f"/administration/identity-clients/{client.id}/requests"
    chart = re.findall(r'<li><a href="([^"]+)"><span>(.+?)</span></a></li>', one_line(html))
    assert [label for _, label in chart] == [
        "Sun 25 Oct: 1,200 issued, 0 refused",
        "Wed 18 Nov: 0 issued, 22 refused",
        "Sun 22 Nov: 0 issued, 3 refused",
        "Mon 23 Nov: 4 issued, 0 refused",
    ]
    # Summer time ended in London on 25 October.
    assert chart[0][0] == f"{path}?since=2026-10-25T01:00&amp;until=2026-10-25T23:59"
    assert f'href="{path}?since=2026-11-18T00:00&amp;until=2026-11-18T23:59"' in html.partition("<table")[2]
    day = host.get(f"/{client.id}/requests?since=2026-11-22T00:00&until=2026-11-22T23:59").text
    assert day.count('class="ic-st ic-no"') == 3


@time_machine.travel(NOW, tick=False)
def test_one_day_has_no_chart(host: Host) -> None:
    """Its bars would stand alone on an empty axis; the sentence and the table have its figures."""
    client = make_client(host.engine)
    make_requests(host.engine, client, 5, at=NOW)
    html = section(host, client)
    assert "Most on 23 November (5)." in text_of(html)
    assert "<figure" not in html
    make_requests(host.engine, client, 1, at=NOW - DAY)
    assert "<figure" in section(host, client)


def test_the_section_refreshes_itself(host: Host, client: IdentityClient) -> None:
    """Every 30 s, not counted as activity, without a filter; a refusal replaces it, a fault does not (W3, W13, W17)."""
    html = section(host, client)
    assert "<html" not in html
    [asks] = [found for _, found in read(html).tags if "data-background" in found]
    assert asks["hx-get"] == f"/administration/identity-clients/{client.id}/usage"
    assert asks["hx-trigger"] == "every 30s, visibilitychange from:document"
    assert asks["hx-headers"] == '{"X-Background-Refresh":"true"}'
    assert asks["hx-status:5xx"] == asks["hx-status:429"] == "swap:none"
    assert asks["hx-status:4xx"] == "target:#ic-refresh swap:outerHTML"


def test_the_requests_are_seen_by_their_own_account_alone(host: Host, client: IdentityClient) -> None:
    """A foreign client is not found (L2, A3)."""
    host.actor = HARBOUR
    for htmx in (False, True):
        answer = host.get(f"/{client.id}/usage", htmx=htmx)
        assert answer.status_code == 404
        assert "203.0.113.7" not in answer.text
