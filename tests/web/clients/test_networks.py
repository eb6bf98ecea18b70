"""The networks from which a client may request tokens: the list, the check of an address, and the form (A8, I3, I7)."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from werkzeug.test import TestResponse

from tests.support.factories import make_author, make_client, make_requests
from tests.support.host import NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import read
from webapp.core.addresses import AllowedNetwork
from webapp.core.clients.allowed_networks import ANYWHERE, format_networks, set_networks
from webapp.core.database.models import IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.database.unit_of_work import read_session, unit_of_work

NOW = datetime(2026, 11, 23, 10, 42, tzinfo=UTC)
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
LONDON, DUBLIN = AllowedNetwork("203.0.113.0/28", "London data centre"), AllowedNetwork("2001:db8:40::/48", "Dublin")
CALLER, REFUSED_CALLER = "203.0.113.7", "198.51.100.20"


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with two allowed networks, one of which has sent requests."""
    with time_machine.travel(NOW - 100 * DAY, tick=False):
        client = make_client(host.engine, client_id="acme-claims-prod", allowed_networks=(LONDON, DUBLIN))
    with time_machine.travel(NOW, tick=False):
        make_requests(host.engine, client, at=NOW - 3 * MINUTE, address=CALLER)
        make_requests(
            host.engine,
            client,
            6,
            at=NOW - MINUTE,
            address=REFUSED_CALLER,
            outcome=AuthenticationFailure.ADDRESS_NOT_ALLOWED,
        )
    return client


def stored_list(host: Host, client: IdentityClient) -> str:
    """Return the stored_list list as text."""
    with read_session(host.engine) as session:
        return format_networks(session.get_one(IdentityClient, client.id).allowed_networks)


def rows_of(answer: TestResponse) -> list[str]:
    """Return the rows of the form that count, as text."""
    page = read(answer)
    networks = [value for name, value in page.values if name == "allowed_networks"]
    labels = [value for name, value in page.values if name == "network_label"]
    removed = {value for name, value in page.values if name == "removed"}
    pairs = enumerate(zip(networks, labels, strict=True), start=1)
    return [f"{network} {label}".strip() for number, (network, label) in pairs if str(number) not in removed]


def rows(*networks: str) -> dict[str, list[str]]:
    """Return the form data of these rows, and no other."""
    parts = [network.partition(" ") for network in networks]
    return {
        "allowed_networks": [network for network, _, _ in parts],
        "network_label": [label for _, _, label in parts],
        "removed": [],
    }


def text_of(html: str) -> str:
    """Return the text of an HTML fragment."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


# The section of the client's page


@time_machine.travel(NOW, tick=False)
def test_the_list_with_labels_and_when_each_was_last_seen(host: Host, client: IdentityClient) -> None:
    """Old requests may have been deleted, so no network is shown as never seen."""
    words = text_of(host.get(f"/{client.id}").text)
    assert "203.0.113.0/28 London data centre 3 min ago Remove 203.0.113.0/28" in words
    assert "2001:db8:40::/48 Dublin Not recently Remove 2001:db8:40::/48" in words
    assert "Token requests from anywhere else are refused." in words
    young = make_client(host.engine, allowed_networks=(DUBLIN,))
    assert "Dublin Never" in text_of(host.get(f"/{young.id}").text)
    anywhere = make_client(host.engine)
    assert "token requests may come from anywhere" in host.get(f"/{anywhere.id}").text


def test_a_viewer_may_check_an_address_but_not_change_the_list(host: Host, client: IdentityClient) -> None:
    """Viewers have no form and no links to it (A2)."""
    viewing = make_host(host.engine, viewer_roles=("Auditor",))
    viewing.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    page = viewing.get(f"/{client.id}").text
    assert "Check an address" in page
    assert "/networks?remove" not in page
    assert 'id="ic-add"' not in page
    assert "Would be accepted." in viewing.get(f"/{client.id}/networks/check?address={CALLER}").text
    assert viewing.get(f"/{client.id}/networks").status_code == 403


# The check of one address


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (CALLER, "Would be accepted. It asked 1 time in the last 24 hours."),
        (f" {CALLER} ", "Would be accepted. It asked 1 time in the last 24 hours."),
        (f"::ffff:{CALLER}", "Would be accepted. It asked 1 time in the last 24 hours."),
        ("2001:DB8:40::1", "Would be accepted. It did not ask in the last 7 days."),
        (REFUSED_CALLER, "Would be refused. It asked 6 times in the last 24 hours."),
        ("192.0.2.1", "Would be refused. It did not ask in the last 7 days."),
        ("192.0.2.0/28", "Not a valid IP address. Write one like 192.0.2.7 or 2001:db8::7."),
        ("<b>here</b>", "Not a valid IP address. Write one like 192.0.2.7 or 2001:db8::7."),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_checking_an_address(host: Host, client: IdentityClient, typed: str, expected: str) -> None:
    """As a fragment, and as a page that keeps the typed address (A8, I3)."""
    query = {"address": typed}
    fragment = host.get(f"/{client.id}/networks/check", htmx=True, query_string=query)
    assert text_of(fragment.text).strip() == expected
    page = host.get(f"/{client.id}/networks/check", query_string=query)
    assert expected in text_of(page.text)
    assert read(page).inputs["address"]["value"] == typed.strip()
    assert "<b>here" not in page.text


@pytest.mark.parametrize(
    ("requests", "expected"),
    [
        ([(2, 0), (3, 2)], "It asked 5 times in the last 7 days."),
        ([(2, 2)], "It asked 2 times in the last 7 days."),
        ([(1, 0), (9, 8)], "It asked 1 time in the last 24 hours."),
        ([(9, 8)], "It did not ask in the last 7 days."),
        ([(200, 0)], "200 of the latest 200 requests came from it."),
        ([(2, 0), (198, 2)], "It asked 2 times in the last 24 hours."),
        ([(200, 8)], "It did not ask in the last 7 days."),
    ],
)
@time_machine.travel(NOW, tick=False)
def test_the_check_shows_the_known_requests_of_an_address(
    host: Host, requests: list[tuple[int, int]], expected: str
) -> None:
    """200 requests are kept, which may be a few minutes of a busy client.

    :param requests: how many, and how many days ago.
    """
    client = make_client(host.engine)
    for count, days_ago in reversed(requests):
        make_requests(host.engine, client, count, at=NOW - days_ago * DAY, address=CALLER)
    fragment = host.get(f"/{client.id}/networks/check?address={CALLER}", htmx=True)
    assert text_of(fragment.text).strip() == f"Would be accepted, as any other. {expected}"


@time_machine.travel(NOW, tick=False)
def test_a_rare_caller_is_shown_beside_a_busy_one(host: Host) -> None:
    """Its requests are no longer among the latest 200, but its last call is kept (A8)."""
    client = make_client(host.engine)
    make_requests(host.engine, client, at=NOW - 6 * DAY, address=CALLER)
    make_requests(host.engine, client, 200, at=NOW, address="192.0.2.1")
    fragment = host.get(f"/{client.id}/networks/check?address={CALLER}", htmx=True)
    assert "None of the latest 200 requests came from it. It last called on " in text_of(fragment.text)
    never = host.get(f"/{client.id}/networks/check?address=192.0.2.99", htmx=True)
    assert "0 of the latest 200 requests came from it." in text_of(never.text)


# The form


def test_the_form_holds_the_list_with_the_address_added_or_removed(host: Host, client: IdentityClient) -> None:
    """Add and Remove open the form, which saves nothing until Save is pressed."""
    whole = [str(LONDON), str(DUBLIN)]
    for query, expected in (
        ({}, whole),
        ({"address": " 198.51.100.20 "}, [*whole, "198.51.100.20"]),
        ({"remove": "2001:db8:40::/48"}, [str(LONDON)]),
        ({"remove": "192.0.2.0/24"}, whole),
        ({"address": ""}, whole),
    ):
        for htmx in (False, True):
            answer = host.get(f"/{client.id}/networks", htmx=htmx, query_string=query)
            assert rows_of(answer) == expected
    assert stored_list(host, client) == format_networks((LONDON, DUBLIN))
    assert rows_of(host.get(f"/{make_client(host.engine).id}/networks")) == [""]


def test_rows_are_added_removed_and_put_back_without_a_save(host: Host, client: IdentityClient, htmx: bool) -> None:
    """What was typed in any row stays, also in a removed one, and what is no button of a row changes nothing."""
    path = f"/{client.id}/networks"
    answer: TestResponse = host.get(path)
    typed = ["203.0.113.0/28 London data centre", "nonsense Dublin"]
    changes = {"allowed_networks": ["203.0.113.0/28", "nonsense"]}
    for change, expected in (
        ("add", [*typed, ""]),
        ("remove-2", [typed[0], ""]),
        ("undo-2", [*typed, ""]),
        ("remove-9", [*typed, ""]),
        ("nonsense", [*typed, ""]),
    ):
        answer = host.post(path, read(answer).form(change=change, **changes), htmx=htmx)
        assert answer.status_code == 200
        assert rows_of(answer) == expected, change
        changes = {}
    assert stored_list(host, client) == format_networks((LONDON, DUBLIN))


@time_machine.travel(NOW, tick=False)
def test_remove_says_at_once_who_would_be_refused(host: Host, client: IdentityClient) -> None:
    """The caller's address and when it was last seen, before anything is saved."""
    words = text_of(host.get(f"/{client.id}/networks?remove={LONDON.network}", htmx=True).text)
    assert "1 address called within the last 7 days and would be refused from its next request:" in words
    assert f"{CALLER} , last seen 3 minutes ago" in words
    assert "Refuse this address" in words
    assert REFUSED_CALLER not in words
    assert "would be refused" not in host.get(f"/{client.id}/networks?remove={DUBLIN.network}", htmx=True).text


def test_add_says_at_once_what_is_wrong(host: Host, client: IdentityClient) -> None:
    """The form opens with the error (I3)."""
    answer = host.get(f"/{client.id}/networks", query_string={"address": "198.51.100.20/24"})
    error = "198.51.100.20/24 is not the start of a range. Use 198.51.100.0/24."
    assert error in read(answer).texts["f-network-3-m"]
    assert "<title>Error: " in answer.text


def test_a_plain_save_and_one_by_htmx(host: Host, client: IdentityClient) -> None:
    """A plain save redirects to the client's page; with htmx the dialog closes."""
    form = read(host.get(f"/{client.id}/networks")).form(**rows(str(LONDON), str(DUBLIN), "", "192.0.2.7 Leeds"))
    answer = host.post(f"/{client.id}/networks", form)
    assert answer.status_code == 303
    assert answer.headers["Location"] == f"{PREFIX}/{client.id}?done=networks"
    assert "Saved. The list applies" in host.get(f"/{client.id}?done=networks").text
    assert stored_list(host, client) == f"{LONDON}\n{DUBLIN}\n192.0.2.7/32 Leeds"
    form = read(host.get(f"/{client.id}/networks")).form(**rows(str(LONDON), str(DUBLIN)))
    answer = host.post(f"/{client.id}/networks", form, htmx=True)
    assert answer.headers["HX-Trigger"] == "ic-changed"
    assert "from the listed addresses only" in answer.text
    assert stored_list(host, client) == f"{LONDON}\n{DUBLIN}"


def test_each_wrong_row_has_its_message(host: Host, client: IdentityClient, htmx: bool) -> None:
    """422; nothing is saved, what was typed stays, and the summary leads to each field (I3)."""
    typed = ["203.0.113.7", "0.0.0.0/0", "<script>", "2001:db8::%eth0", f"192.0.2.1 {'x' * 61}"]
    form = read(host.get(f"/{client.id}/networks")).form(**rows(*typed))
    answer = host.post(f"/{client.id}/networks", form, htmx=htmx)
    assert answer.status_code == 422
    page = read(answer)
    for number, words in (
        (2, "“0.0.0.0/0” is every address there is."),
        (3, "“<script>” is neither an address nor a range."),
        (4, "“2001:db8::%eth0” names a zone."),
        (5, "The label has 61 characters. Use at most 60."),
    ):
        assert words in page.texts[f"f-network-{number}-m"]
        assert f'href="#f-network-{number}"' in answer.text
    assert page.texts["f-network-1-m"].strip() == ""
    assert rows_of(answer) == typed
    assert stored_list(host, client) == format_networks((LONDON, DUBLIN))


def test_more_rows_than_allowed_are_refused(host: Host, client: IdentityClient) -> None:
    """50 rows (I3)."""
    path = f"/{client.id}/networks"
    many = [f"192.0.2.{number}" for number in range(51)]
    answer = host.post(path, read(host.get(path)).form(**rows(*many)))
    assert answer.status_code == 422
    assert "There are 51 networks. Use at most 50" in read(answer).texts["f-allowed_networks-m"]
    assert rows_of(answer) == many


@time_machine.travel(NOW, tick=False)
def test_a_save_that_refuses_a_caller_has_to_be_confirmed(host: Host, client: IdentityClient) -> None:
    """422 with a check box, whose confirmation is valid for the shown caller only (A8)."""
    path = f"/{client.id}/networks"
    form = read(host.get(path)).form(**rows(str(DUBLIN)))
    answer = host.post(path, form, htmx=True)
    assert answer.status_code == 422
    box = read(answer).inputs["confirmed"]
    assert box["value"] == CALLER
    assert "checked" not in box
    assert "Nothing is saved yet. Tick the box, or put the address back on the list." in answer.text
    assert rows_of(answer) == [str(DUBLIN)]
    assert 'href="#f-confirmed"' in answer.text
    make_requests(host.engine, client, at=NOW, address="203.0.113.9")
    answer = host.post(path, {**form, "confirmed": box["value"]}, htmx=True)
    assert answer.status_code == 422
    assert "2 addresses called within the last 7 days" in text_of(answer.text)
    other = read(answer).inputs["confirmed"]
    assert (other["value"], other["id"] != box["id"]) == (f"{CALLER} 203.0.113.9", True)  # so that it is shown unticked
    assert stored_list(host, client) == format_networks((LONDON, DUBLIN))
    assert host.post(path, {**form, "confirmed": other["value"]}).status_code == 303
    assert stored_list(host, client) == str(DUBLIN)


def test_an_empty_list_has_to_be_confirmed(host: Host, client: IdentityClient) -> None:
    """It would allow every address (A8)."""
    path = f"/{client.id}/networks"
    form = read(host.get(path)).form(**rows(""))
    answer = host.post(path, form)
    assert answer.status_code == 422
    assert "With an empty list it may call from anywhere." in answer.text
    assert host.post(path, {**form, "confirmed": read(answer).inputs["confirmed"]["value"]}).status_code == 303
    assert stored_list(host, client) == ""
    assert rows_of(host.get(path)) == [""]


@pytest.mark.parametrize("htmx", [False, True])
def test_a_stale_save_keeps_what_was_typed(host: Host, client: IdentityClient, htmx: bool) -> None:
    """409 with the other person's name, the newest list, and a form that can be saved on top of it (I7)."""
    path = f"/{client.id}/networks"
    typed = [str(LONDON), str(DUBLIN), "192.0.2.7 Mine"]
    form = read(host.get(path)).form(**rows(*typed))
    with unit_of_work(host.engine) as session:
        theirs = f"{LONDON}\n192.0.2.9 Theirs"
        set_networks(session, author=make_author(label="Tom Reilly"), key=client.id, version=2, text=theirs)
    answer = host.post(path, form, htmx=htmx)
    assert answer.status_code == 409
    assert "Tom Reilly changed this client at" in answer.text
    assert "192.0.2.9/32 Theirs" in answer.text
    again = read(answer)
    assert rows_of(answer) == typed
    assert stored_list(host, client) == f"{LONDON}\n192.0.2.9/32 Theirs"
    assert host.post(path, again.form()).status_code == 303
    assert stored_list(host, client) == f"{LONDON}\n{DUBLIN}\n192.0.2.7/32 Mine"


def test_a_form_without_its_token_saves_nothing(host: Host, client: IdentityClient) -> None:
    """The typed text is kept (W10)."""
    form = read(host.get(f"/{client.id}/networks")).form(**rows("192.0.2.7"), confirmed=ANYWHERE)
    del form["csrf_token"]
    answer = host.post(f"/{client.id}/networks", form, token=False)
    assert answer.status_code == 422
    assert "press Save again" in answer.text
    assert rows_of(answer) == ["192.0.2.7"]
    assert stored_list(host, client) == format_networks((LONDON, DUBLIN))


def test_a_label_stays_text(host: Host) -> None:
    """Markup in a label is escaped (W17)."""
    label = '"><img src=x hx-get=/y onerror=z>'
    client = make_client(host.engine, allowed_networks=(AllowedNetwork("192.0.2.0/28", label),))
    for path in (f"/{client.id}", f"/{client.id}/networks", f"/{client.id}/networks?remove=x&address={label}"):
        page = host.get(path)
        assert "<img" not in page.text
        parsed = read(page)
        assert label in parsed.text or label in dict(parsed.values).values() or path.endswith(label)
