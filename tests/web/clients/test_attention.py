"""Clients that need attention, on the list (strip_links, filter, mark on the row), and the time of the last token."""

import html
import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import event

from tests.support.attention import DAY, NOON, make_client_in_use
from tests.support.factories import OTHER_ACCOUNT, make_client
from tests.support.host import PREFIX, Host
from tests.support.markup import one_line, read
from tests.support.screens import listed_ids
from webapp.core.clients import attention_queries
from webapp.core.clients.attention import FILTERS, Attention, AttentionReason
from webapp.web.clients.attention import FILTER_LABELS, attention_mark

STRIP = "?part=attention"


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Set the clock to noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def marks(text: str) -> dict[str, list[str]]:
    """Return the marks of each row of a page by client ID; rows without a mark are absent."""
    found = {}
    for row in re.findall(r'<tr role="row" id="row-.*?</tr>', one_line(text)):
        words = re.findall(r'<span class="ic-st ic-due">([^<]*)</span>', row)
        if words:
            found[listed_ids(row)[0]] = [html.unescape(each) for each in words]
    return found


def strip_links(text: str) -> list[tuple[str, str]]:
    """Return the strip_links's links: the filter that each sets, and its text."""
    found = re.search(r'<div id="ic-attention".*?(</div></div></div>|></div>)', one_line(text))
    assert found
    links = re.findall(rf'<a href="{re.escape(PREFIX)}\?attention=(\w+)">([^<]*)</a>', found[0])
    assert (" hidden" in found[0].split(">")[0]) is (not links and "/review" not in found[0])
    return [(reason, html.unescape(words)) for reason, words in links]


@pytest.fixture
def account(host: Host) -> Host:
    """Return a host with one client for each reason of attention, and others that need none."""
    make_client_in_use(host.engine, {"ends_at": NOON + 4 * DAY}, {}, client_id="a-ending")
    make_client_in_use(host.engine, {"ends_at": NOON + 20 * DAY}, {}, client_id="b-ending")
    make_client_in_use(host.engine, counts={(0, "issued"): 14, (0, "wrong secret"): 6}, client_id="c-refused")
    make_client_in_use(host.engine, created_at=NOON - 9 * DAY, last_token_at=None, client_id="d-unused")
    make_client_in_use(host.engine, last_token_at=NOON - 120 * DAY, client_id="e-idle")
    make_client_in_use(
        host.engine, {"created_at": NOON - 400 * DAY}, {"created_at": NOON - 45 * DAY}, client_id="f-oldest"
    )
    make_client_in_use(host.engine, client_id="g-in-order")
    make_client_in_use(
        host.engine, created_at=NOON - 9 * DAY, last_token_at=None, enabled=False, client_id="h-disabled"
    )
    make_client_in_use(host.engine, last_token_at=NOON - 120 * DAY, account_id=OTHER_ACCOUNT, client_id="harbour-idle")
    return host


def test_the_row_shows_the_reason(account: Host) -> None:
    """With the prototype's wording."""
    expected = {
        "a-ending": ["Secret A ends in 4 days"],
        "b-ending": ["Secret A ends in 20 days"],
        "c-refused": ["6 of 20 requests refused"],
        "d-unused": ["Never used"],
        "e-idle": ["Idle for 120 days"],
        "f-oldest": ["Secret A is 400 days old", "Two secrets for 45 days"],
    }
    assert marks(account.get().text) == expected
    assert marks(account.get(htmx=True).text) == expected


def test_the_strip_shows_counts_and_links_to_the_filter(account: Host) -> None:
    """Only this account's clients count (A3)."""
    text = account.get().text
    assert strip_links(text) == [
        ("ending", "2 secrets expire soon, the first in 4 days"),
        ("refused", "1 client with many requests refused"),
        ("unused", "1 client never used"),
        ("idle", "1 client not used for 90 days"),
        ("old", "1 client with a secret or key older than a year"),
        ("two", "1 client with two secrets in use"),
    ]
    assert text.index('id="ic-attention"') < text.index('role="search"')


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?attention=any", ["a-ending", "b-ending", "c-refused", "d-unused", "e-idle", "f-oldest"]),
        ("?attention=ending", ["a-ending", "b-ending"]),
        ("?attention=refused", ["c-refused"]),
        ("?attention=unused", ["d-unused"]),
        ("?attention=idle", ["e-idle"]),
        ("?attention=old", ["f-oldest"]),
        ("?attention=two", ["f-oldest"]),
        ("?attention=any&q=ending&sort=-client_id", ["b-ending", "a-ending"]),
        ("?attention=nonsense&q=in-order", ["g-in-order"]),
    ],
)
def test_the_filter(account: Host, query: str, found: list[str]) -> None:
    """A bad value is ignored (I4)."""
    for htmx in (False, True):
        assert listed_ids(account.get(query, htmx=htmx).text) == found


def test_the_filter_is_kept_and_named_when_nothing_matches(account: Host) -> None:
    text = account.get("?attention=idle&q=zulu").text
    assert '<option value="idle" selected>Not used for 90 days</option>' in text
    assert "You are looking only at one kind of attention: Not used for 90 days." in text
    assert "You are looking only at clients that need attention." in account.get("?attention=any&q=zulu").text
    assert set(FILTER_LABELS) == {"", *FILTERS}


def test_no_strip_when_no_client_needs_attention(host: Host) -> None:
    assert strip_links(host.get().text) == []
    make_client_in_use(host.engine, client_id="g-in-order", reviewed_at=NOON)
    text = host.get().text
    assert strip_links(text) == []
    assert marks(text) == {}
    assert "Needs attention:" not in text


def test_the_strip_is_refreshed_after_a_change(account: Host) -> None:
    """A disabled client no longer needs attention; the strip requests itself again after each change."""
    text = account.get().text
    assert re.search(r'id="ic-attention"[^>]* hx-trigger="ic-changed from:body"', one_line(text))
    assert strip_links(account.get(STRIP, htmx=True).text) == strip_links(text)
    assert "<table" not in account.get(STRIP, htmx=True).text
    assert "<table" in account.get(STRIP).text  # without JavaScript it is the list
    key = re.search(r'value="([^"]*)" form="ic-bulk" aria-label="Select d-unused', one_line(text))
    assert key
    version = read(account.get(f"/{key[1]}/disable")).value("version")
    assert account.post(f"/{key[1]}/disable", {"version": version}).status_code == 303
    assert "unused" not in dict(strip_links(account.get(STRIP, htmx=True).text))


def test_the_strip_counts_to_a_thousand(account: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cost does not grow with the account."""
    monkeypatch.setattr(attention_queries.counts, "COUNT_MAX", 1)
    text = account.get().text
    assert ("ending", "1+ secret expires soon, in 4 days") in strip_links(text)
    assert ("idle", "1 client not used for 90 days") in strip_links(text)


def test_search_and_paging_do_not_count_for_the_strip_again(account: Host) -> None:
    statements: list[str] = []
    event.listen(account.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    assert listed_ids(account.get("?q=idle", htmx=True).text) == ["e-idle"]
    assert not any("SELECT count(*)" in statement and "attention_periods" in statement for statement in statements)


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (Attention(AttentionReason.ENDING, "A", NOON, 1), "Secret A ends within 1 day"),
        (Attention(AttentionReason.ENDING, "B", NOON, 30), "Secret B ends in 30 days"),
        (Attention(AttentionReason.REFUSED, refused=1500, requests=6000), "1,500 of 6,000 requests refused"),
        (Attention(AttentionReason.IDLE, days=1200), "Idle for 1,200 days"),
    ],
)
def test_the_text_of_a_mark(one: Attention, words: str) -> None:
    assert attention_mark(one) == words


# The last token


@pytest.mark.parametrize(
    ("ago", "shown"),
    [
        (timedelta(seconds=20), "Just now"),
        (timedelta(minutes=3), "3 min ago"),
        (timedelta(minutes=59), "59 min ago"),
        (timedelta(hours=2), "Today, 10:00"),
        (timedelta(days=2), "Fri, 12:00"),
        (timedelta(days=20), "9 Feb, 12:00"),
        (timedelta(days=80), "11 Dec 2025, 12:00"),
        (None, "Never"),
    ],
)
def test_the_last_token(host: Host, ago: timedelta | None, shown: str) -> None:
    """Relative up to an hour, then the date; "Never", not an empty cell."""
    make_client(host.engine, last_token_at=None if ago is None else NOON - ago)
    cell = re.search(r'<td role="cell" class="ic-c" data-l="Last:">(.*?)</td>', one_line(host.get().text))
    assert cell
    assert re.sub("<[^>]*>", "", cell[1]) == shown
    assert ("<time" in cell[1]) is (ago is not None)


def test_sorted_by_the_last_token(host: Host) -> None:
    """The newest first at the first press; clients without a token come last."""
    given: dict[str, Any] = {"alpha-never": None, "bravo-old": NOON - 9 * DAY, "charlie-new": NOON - DAY}
    for client_id, at in given.items():
        make_client(host.engine, client_id=client_id, last_token_at=at)
    text = host.get().text
    assert re.search(rf'<a href="{re.escape(PREFIX)}\?sort=-last_token" id="ic-by-last_token"', text)
    newest_first = host.get("?sort=-last_token").text
    assert listed_ids(newest_first) == ["charlie-new", "bravo-old", "alpha-never"]
    assert re.search(r'aria-sort="descending"><a href="[^"]*\?sort=last_token"', one_line(newest_first))
    assert "sorted by Last token, newest first" in newest_first
    assert '<option value="-last_token" selected>Sort: Last token, newest first</option>' in newest_first
    assert listed_ids(host.get("?sort=last_token").text) == ["alpha-never", "bravo-old", "charlie-new"]


# The page of a client


def notice(text: str) -> list[str]:
    """Return the text of the notice on a client's page, a line for each reason."""
    found = re.search(r'<div class="ic-note ic-due" role="region".*?</div></div>', one_line(text))
    lines = re.findall("<p>(.*?)</p>", found[0]) if found else []
    return [" ".join(html.unescape(re.sub("<[^>]*>", " ", line)).split()) for line in lines]


@pytest.mark.parametrize(
    ("client_id", "expected"),
    [
        (
            "a-ending",
            ["Secret A ends on Thursday 5 March at 12:00 GMT. It was never used; secret B works on. See secret A"],
        ),
        ("c-refused", ["6 of 20 requests refused. See the refused requests"]),
        ("d-unused", ["Never used. If no system needs this client, disable it. See the token requests"]),
        ("e-idle", ["Idle for 120 days. If no system needs this client any more, disable it. See the token requests"]),
        (
            "f-oldest",
            [
                "Secret A is 400 days old."
                " Change the secret, or add a key: the old one works on while callers move over. See secret A",
                "Two secrets for 45 days. End the one that no caller uses. See the secrets",
            ],
        ),
        ("g-in-order", []),
        ("h-disabled", []),
    ],
)
def test_the_page_of_a_client_says_what_to_do(account: Host, client_id: str, expected: list[str]) -> None:
    """As a notice at the top."""
    key = re.search(rf'value="([^"]*)" form="ic-bulk" aria-label="Select {client_id}"', one_line(account.get().text))
    assert key
    for htmx in (False, True):
        text = account.get(f"/{key[1]}", htmx=htmx).text
        assert notice(text) == expected
        refused_url = f'href="{PREFIX}/{key[1]}/requests?outcome=refused"'
        assert (refused_url in text) is (client_id == "c-refused")
        assert text.index('id="ic-h-configuration"') > text.find('role="region" aria-label="Needs attention"')


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"last_token_at": NOON - timedelta(minutes=3)}, "Claims payments · last token 3 minutes ago"),
        ({"last_token_at": NOON - 9 * DAY}, "Claims payments · last token on 20 February 2026, 12:00 GMT"),
        ({}, "Claims payments · no token yet"),
    ],
)
def test_the_heading_shows_the_last_token(host: Host, columns: dict[str, Any], expected: str) -> None:
    """In the same form as the prototype."""
    client = make_client(host.engine, name="Claims payments", **columns)
    head = re.search(r"</h1>.*?</div>\s*<p>(.*?)</p>", host.get(f"/{client.id}").text, re.DOTALL)
    assert head
    assert " ".join(re.sub("<[^>]*>", "", head[1]).split()) == expected
