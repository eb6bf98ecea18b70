"""The request log on the screens: pages, one request, and the CSV file (L2, L7, P7)."""

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
import time_machine

from tests.support.clients import delete
from tests.support.factories import OTHER_ACCOUNT, make_client, make_requests
from tests.support.host import HARBOUR, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import one_line, read
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import IdentityClient, TokenRequest
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session
from webapp.core.usage import request_log
from webapp.core.usage.request_log import key_of, search
from webapp.oauth.errors import ErrorKind
from webapp.oauth.token import OTHER
from webapp.web.usage import explanations
from webapp.web.usage.outcomes import response_to

NOW = datetime(2026, 11, 23, 10, 42, 7, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with four kinds of requests."""
    client = make_client(host.engine, client_id="acme-claims", roles=["MerchantUser"])
    make_requests(host.engine, client, at=NOW - DAY, scope="API")
    make_requests(host.engine, client, at=NOW - 2 * DAY, outcome=Outcome.SCOPE_NOT_ALLOWED, scope="reports:read")
    make_requests(
        host.engine,
        client,
        at=NOW - 3 * DAY,
        outcome=AuthenticationFailure.WRONG_SECRET,
        secret_label=None,
        address="198.51.100.9",
    )
    return client


def results(html: str) -> list[str]:
    """Return the result of each row."""
    return re.findall(r'<td role="cell"><span class="ic-st(?: ic-no)?">(.+?)</span>', one_line(html))


def one(host: Host, client: IdentityClient, number: int = 0) -> tuple[TokenRequest, str]:
    """Return one of a client's requests with its path, 0 for the newest."""
    with read_session(host.engine) as session:
        page = request_log.list_requests(
            session, account_id=client.account_id, query=request_log.RequestQuery(), zone=UTC, client=client
        )
    found = page.requests[number]
    return found, f"/{client.id}/requests/{key_of(found)}"


# Pages


def test_the_log_of_account_and_client(host: Host, client: IdentityClient) -> None:
    """Newest first, each row with its client only where there are several; the fragment is the part with the rows."""
    other = make_client(host.engine, client_id="acme-reports")
    make_requests(host.engine, other, outcome=AuthenticationFailure.DISABLED)
    foreign = make_client(host.engine, client_id="harbour-foreign", account_id=OTHER_ACCOUNT)
    make_requests(host.engine, foreign)
    of_account = host.get("/requests").text
    assert results(of_account) == ["Client disabled", "Issued", "Scope not allowed", "Wrong secret"]
    assert "acme-reports" in of_account
    assert "harbour-foreign" not in of_account
    assert results(host.get(f"/{client.id}/requests").text) == ["Issued", "Scope not allowed", "Wrong secret"]
    fragment = host.get("/requests", htmx=True).text
    assert len(results(fragment)) == 4
    assert "<form" not in fragment
    assert f'href="{PREFIX}/requests"' in host.get("").text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("client=ACME-claims", 3),
        ("client=acme-reports", 1),
        ("outcome=issued", 1),
        ("outcome=refused", 3),
        ("outcome=wrong+secret", 1),
        ("client=acme-claims&secret=A", 2),
        ("address=198.51.100.9", 1),
        ("since=2026-11-21", 3),
        ("since=2026-11-21&until=2026-11-22T10:41", 1),
        ("request_id=nothing", 0),
    ],
)
def test_filters(host: Host, client: IdentityClient, query: str, expected: int) -> None:
    """The fields and the CSV link have them, and only matching requests are shown."""
    make_requests(host.engine, make_client(host.engine, client_id="acme-reports"), outcome=Outcome.THROTTLED)
    page = host.get(f"/requests?{query}")
    assert len(results(page.text)) == expected
    form = read(page)
    for name, value in (pair.split("=") for pair in query.split("&")):
        if name in ("client", "address", "request_id"):
            assert form.value(name) == value
    if expected:
        assert f'href="{PREFIX}/requests.csv?' in page.text
    else:
        assert "No request matches these filters." in page.text
        assert f'href="{PREFIX}/requests"' in page.text


@pytest.mark.parametrize(
    ("query", "message", "rows"),
    [
        ("since=2026-11-22&until=2026-11-21", "“From” is later than “To”.", 0),
        ("client=acme", "No client has or had the ID “acme”.", 0),
        ("client=harbour-foreign", "No client has or had the ID “harbour-foreign”.", 0),
        ("address=198.51.100", "“198.51.100” is not an IP address, so all addresses are shown.", 3),
        ("request_id=a+b", "A request ID has 1 to 64 letters, digits and hyphens.", 3),
    ],
)
def test_a_filter_that_cannot_be_used_is_explained(
    host: Host, client: IdentityClient, query: str, message: str, rows: int
) -> None:
    make_client(host.engine, client_id="harbour-foreign", account_id=OTHER_ACCOUNT)
    for htmx in (False, True):
        page = host.get(f"/requests?{query}", htmx=htmx).text
        assert message in page
        assert len(results(page)) == rows


def test_pages(host: Host, client: IdentityClient) -> None:
    make_requests(host.engine, client, 60)
    first = host.get(f"/{client.id}/requests?outcome=issued").text
    assert "Showing 50 requests" in first
    [older] = re.findall(r'href="([^"]+)" rel="next"', first)
    second = host.client.get(older.replace("&amp;", "&")).text
    assert len(results(second)) == 11
    assert "outcome=issued" in older
    assert 'rel="prev"' in second


def test_a_bounded_search_shows_how_far_it_searched(
    host: Host, client: IdentityClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "SCAN_MAX", 2)
    page = one_line(host.get(f"/{client.id}/requests?secret=B").text)
    assert "Searched back to" in page
    assert "Press Older to go on." in page
    assert 'rel="next"' in page


def test_requests_of_a_deleted_client(host: Host, client: IdentityClient) -> None:
    """They are kept as long as others, without a link to the client's page."""
    delete(host.engine, client)
    for path in ("/requests", f"/{client.id}/requests", one(host, client)[1]):
        page = host.get(path).text
        assert "acme-claims" in page
        assert f'href="{PREFIX}/{client.id}"' not in page
    assert results(host.get(f"/{client.id}/requests").text)


def test_requests_of_another_account_are_not_found(host: Host, client: IdentityClient) -> None:
    """They are answered like absent ones (A3)."""
    _, path = one(host, client)
    host.actor = HARBOUR
    assert results(host.get("/requests").text) == []
    for url in (path, f"/{client.id}/requests", f"/requests.csv?key={client.id}"):
        assert host.get(url).status_code == 404


# One request


@pytest.mark.parametrize("outcome", [*AuthenticationFailure, *(each for each in Outcome if each != "issued")])
def test_the_shown_response_is_that_of_the_endpoint(outcome: str) -> None:
    """For every outcome (P7)."""
    kinds: dict[str, ErrorKind] = {
        Outcome.SCOPE_MALFORMED: ErrorKind.MALFORMED_SCOPE,
        Outcome.SCOPE_NOT_ALLOWED: ErrorKind.SCOPE_NOT_ALLOWED,
        Outcome.NO_ROLES: ErrorKind.NO_ROLES,
        Outcome.RESOURCE_NOT_ALLOWED: ErrorKind.INVALID_TARGET,
        Outcome.PLAIN_HTTP: ErrorKind.PLAIN_HTTP,
    }
    kind = kinds.get(outcome, ErrorKind.INVALID_CLIENT)
    expected = (429, "temporarily_unavailable") if outcome == Outcome.THROTTLED else kind.value[:2]
    assert response_to(outcome) == expected


def test_the_placeholder_of_unknown_scopes() -> None:
    assert explanations.OTHER_SCOPE == OTHER


@pytest.mark.parametrize(
    ("recorded", "reason", "advice", "link"),
    [
        ({"outcome": AuthenticationFailure.WRONG_SECRET}, "none of this client’s", "change it", "/secret"),
        ({"outcome": AuthenticationFailure.DISABLED}, "was disabled", "enabled now", None),
        ({"outcome": AuthenticationFailure.DELETED}, "is deleted", "another client", None),
        ({"outcome": AuthenticationFailure.ACCOUNT_OFF}, "switched off", "on again", None),
        ({"outcome": AuthenticationFailure.UNKNOWN}, "other capitals", "Write acme-claims", None),
        ({"outcome": AuthenticationFailure.WHITE_SPACE}, "a space or line break", "Remove", None),
        ({"outcome": AuthenticationFailure.MALFORMED}, "6 to 100", "Copy the secret", None),
        ({"outcome": AuthenticationFailure.PAUSED_SECRET, "secret_label": "A"}, "A was paused", "no longer", "#ic-"),
        ({"outcome": AuthenticationFailure.ENDED_SECRET, "secret_label": "Z"}, "had ended", "secret A", "/secret"),
        ({"outcome": AuthenticationFailure.ADDRESS_NOT_ALLOWED}, "203.0.113.7 was not", "allowed now", None),
        ({"outcome": AuthenticationFailure.ADDRESS_NOT_ALLOWED, "address": None}, "not known", "Vitesse", None),
        ({"outcome": AuthenticationFailure.PAUSED_KEY, "secret_label": "1"}, "Key 1 was paused", "Resume it", None),
        ({"outcome": AuthenticationFailure.ENDED_KEY, "secret_label": "1"}, "Key 1 had ended", "Add a new key", None),
        ({"outcome": AuthenticationFailure.WRONG_KEY}, "No key of this client", "Add the caller’s", None),
        ({"outcome": AuthenticationFailure.ASSERTION_EXPIRED}, "had expired", "clock", None),
        ({"outcome": AuthenticationFailure.ASSERTION_USED}, "used before", "another “jti”", None),
        ({"outcome": Outcome.THROTTLED, "secret_label": "A"}, "more tokens within a minute", "keep its token", None),
        ({"outcome": Outcome.THROTTLED, "secret_label": None}, "Too many requests", "5 minutes", "/secret"),
        ({"outcome": Outcome.NO_ROLES}, "none of the client’s roles", "other roles", "/edit"),
        ({"outcome": Outcome.RESOURCE_NOT_ALLOWED}, "another API", "https://api.example", None),
        ({"outcome": Outcome.SCOPE_MALFORMED}, "list of scopes", "leave it out", None),
        ({"outcome": Outcome.PLAIN_HTTP}, "over http", "Use https", "/leaked"),
        (
            {"outcome": Outcome.SCOPE_NOT_ALLOWED, "scope": "API reports:read"},
            "No role of this client opens reports:read. Read reports does.",
            "Give the client such a role",
            "/edit",
        ),
        (
            {"outcome": Outcome.SCOPE_NOT_ALLOWED, "scope": "other"},
            "No role at all opens the scope that is shown as “other”.",
            "Correct the scope",
            None,
        ),
        ({"outcome": Outcome.SCOPE_NOT_ALLOWED, "scope": "API"}, "at that time", "open all of them now", None),
    ],
)
def test_the_reason_and_the_advice(
    host: Host, recorded: dict[str, Any], reason: str, advice: str, link: str | None
) -> None:
    """As a page and as a dialog, with a link to the screen and the response that the caller got."""
    client = make_client(host.engine, client_id="acme-claims", roles=["MerchantUser"])
    make_requests(host.engine, client, **recorded)
    _, path = one(host, client)
    for htmx in (False, True):
        html = one_line(host.get(path, htmx=htmx).text)
        note = html.partition('class="ic-note ic-due"')[2].partition("<dl")[0]
        assert reason in note
        assert advice in note
        status, error = response_to(recorded["outcome"])
        assert f"<code>{status} {error}</code>" in html
        assert ('<dialog class="ic-m"' in html) is htmx
        if link:
            assert re.search(rf'href="{PREFIX}/{client.id}/?[^"]*{link}', html)


def test_an_issued_token_needs_no_advice(host: Host, client: IdentityClient) -> None:
    page = host.get(one(host, client)[1], htmx=True).text
    assert "<code>200</code>" in page
    assert "ic-note" not in page


def test_a_refused_address_can_be_allowed_from_its_request(host: Host) -> None:
    """By people who may edit the client."""
    client = make_client(host.engine, allowed_networks=(AllowedNetwork("192.0.2.0/24", ""),))
    make_requests(host.engine, client, outcome=AuthenticationFailure.ADDRESS_NOT_ALLOWED)
    _, path = one(host, client)
    url = f'href="{PREFIX}/{client.id}/networks?address=203.0.113.7"'
    assert url in host.get(path).text
    viewer = make_host(host.engine, viewer_roles=("Auditor",))
    viewer.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    assert url not in viewer.get(path).text


@pytest.mark.parametrize("number", ["x", "1-1", "0-0", "%00"])
def test_an_absent_request(host: Host, client: IdentityClient, number: str) -> None:
    assert host.get(f"/{client.id}/requests/{number}").status_code == 404


# CSV


def rows_of(host: Host, path: str) -> list[dict[str, str]]:
    """Return the rows of the file."""
    answer = host.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(StringIO(answer.get_data().decode("utf-8-sig"), newline=""), strict=True))


def test_the_csv_file(host: Host, client: IdentityClient) -> None:
    """With the filters of the page; the export is recorded (L7)."""
    rows = rows_of(host, f"/requests.csv?key={client.id}&outcome=refused")
    assert rows[0] == {
        "Time (UTC)": "2026-11-21 10:42:07",
        "Time (Europe/London)": "2026-11-21 10:42:07",
        "Client ID": "acme-claims",
        "Result": "Refused",
        "Reason": "scope not allowed",
        "Response": "400 invalid_scope",
        "Secret or key": "A",
        "Address": "203.0.113.7",
        "Scope": "reports:read",
        "Request ID": "",
    }
    assert len(rows) == 2
    assert len(rows_of(host, "/requests.csv")) == 3
    assert rows_of(host, "/requests.csv?client=nobody") == []
    events = one_line(host.get("/activity").text)
    assert "<b>Priya Nair</b>exported the token requests" in events


def test_exports_of_both_logs_count_together(host: Host, client: IdentityClient) -> None:
    """Ten an hour (D5)."""
    for path in ("/requests.csv", "/activity.csv") * 5:
        assert host.get(path).status_code == 200
    assert host.get("/requests.csv").status_code == 429
