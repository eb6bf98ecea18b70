"""The list and the action menu."""

import gzip
import html
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine

from tests.support.factories import make_client
from tests.support.host import HTMX, PREFIX, Host
from tests.support.screens import listed_ids

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)


def links(text: str, rel: str) -> str | None:
    """Return the address of the previous or the next page."""
    found = re.search(rf'href="{re.escape(PREFIX)}([^"]*)" rel="{rel}"', text)
    return html.unescape(found[1]) if found else None


def make_some(host: Host) -> None:
    for number, (client_id, name, roles, enabled) in enumerate(
        [
            ("alpha-claims", "Motor claims", {"MerchantUser", "CreatePayment"}, True),
            ("bravo-ledger", "Alpha of ledgers", {"MerchantUser"}, True),
            ("Charlie-batch", "", {"UploadBatches"}, False),
            ("delta-100%_off", "Percent", {"MerchantUser"}, True),
        ]
    ):
        at = NOW - timedelta(days=number)
        make_client(
            host.engine, client_id=client_id, name=name, roles=roles, enabled=enabled, created_at=at, updated_at=at
        )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", ["alpha-claims", "bravo-ledger", "Charlie-batch", "delta-100%_off"]),
        ("?q=ALPHA", ["alpha-claims", "bravo-ledger"]),
        ("?q=%25_", ["delta-100%_off"]),
        ("?q=_l", []),
        ("?q=  claims ", ["alpha-claims"]),
        ("?status=disabled", ["Charlie-batch"]),
        ("?status=enabled&role=CreatePayment", ["alpha-claims"]),
        ("?sort=-client_id", ["delta-100%_off", "Charlie-batch", "bravo-ledger", "alpha-claims"]),
        ("?sort=name", ["Charlie-batch", "bravo-ledger", "alpha-claims", "delta-100%_off"]),
        ("?sort=updated_at", ["delta-100%_off", "Charlie-batch", "bravo-ledger", "alpha-claims"]),
        ("?sort=-created_at", ["alpha-claims", "bravo-ledger", "Charlie-batch", "delta-100%_off"]),
        ("?sort=secret_hash", ["alpha-claims", "bravo-ledger", "Charlie-batch", "delta-100%_off"]),
        (
            "?status=all&role=nobody&after=xxx&before=%00",
            ["alpha-claims", "bravo-ledger", "Charlie-batch", "delta-100%_off"],
        ),
    ],
)
def test_search_filters_and_order(host: Host, arguments: str, expected: list[str]) -> None:
    """Search over client ID, name and description; a bad value is ignored (I4)."""
    make_some(host)
    page = host.get(arguments)
    assert page.status_code == 200
    assert listed_ids(page.text) == expected
    assert listed_ids(host.get(arguments, htmx=True).text) == expected


def test_what_a_row_shows(host: Host) -> None:
    """Client ID, name, roles, token duration, last token, status, action menu."""
    with time_machine.travel(NOW, tick=False):
        client = make_client(
            host.engine,
            client_id="alpha-claims",
            name="Motor claims",
            roles={"MerchantUser", "CreatePayment", "UploadBatches"},
            token_duration=45,
            last_token_at=NOW - timedelta(minutes=3),
        )
        text = host.get().text
    row = text[text.index('<tr role="row" id="row-') :]
    for words in (
        "alpha-claims",
        "Motor claims",
        "Create single payments, Upload batches",
        "Moves money",
        "more</span></summary>",
        "45 min",
        "3 min ago",
        'datetime="2026-11-23T10:42:00Z"',
        "Enabled",
        "Actions for alpha-claims",
        f"{PREFIX}/{client.id}/menu",
    ):
        assert words in row
    assert "London time" in row


def test_roles_that_move_money_are_always_shown_and_first(host: Host) -> None:
    make_client(
        host.engine,
        roles={"MerchantUser", "AccountViewer", "CreatePayment", "UploadBatches", "AccountMovementEditor"},
    )
    row = re.search(r'<td role="cell" class="ic-c-roles">(.*?)</td>', host.get().text, re.S)
    assert row
    shown, _, rest = row[1].partition("<details")
    assert shown.split("<")[0].strip().split(", ") == [
        "Create single payments",
        "Upload batches",
        "Move money between accounts",
    ]
    assert "API access, Read accounts" in rest


def test_columns_are_chosen_and_stored(host: Host) -> None:
    """By the URL, then by a cookie that is sent to the list and the pages below it only (E2)."""
    make_client(host.engine, owner="Ana Silva", tags=["live"])
    headings = re.compile(r'<th\s+scope="col"\s+role="columnheader"[^>]*>\s*(?:<a[^>]*>)?([^<]+)<')
    fixed = ["Client ID", "Client name", "Status"]

    def shown(answer: Any) -> list[str]:
        return [text.strip() for text in headings.findall(answer.text) if text.strip()]

    assert shown(host.get()) == [*fixed[:2], "Roles", "Token duration", "Last token", "Status"]
    answer = host.get("?columns=&columns=owner&columns=tags&columns=secret&columns=created&columns=forged")
    assert shown(answer) == [*fixed[:2], "Owner", "Tags", "Secret age", "Created", "Status"]
    assert "Ana Silva" in answer.text
    assert "0 days" in answer.text
    cookie = answer.headers["Set-Cookie"]
    assert "owner.tags.secret.created;" in cookie
    assert f"Path={PREFIX}" in cookie
    assert "HttpOnly" in cookie
    assert shown(host.get("?status=enabled")) == shown(answer)
    assert "Set-Cookie" not in host.get("?status=enabled").headers
    assert shown(host.get("?columns=")) == fixed


def test_filters_offer_what_the_accounts_clients_have(host: Host) -> None:
    """Tags and owners of other accounts are not offered (A3)."""
    assert 'id="ic-tag"' not in host.get().text
    make_client(host.engine, client_id="acme-1", owner="Ana Silva", tags=["live"])
    make_client(host.engine, client_id="acme-2", roles=["CreatePayment"])
    make_client(host.engine, account_id="harbour", owner="Foreign owner", tags=["foreign-tag"])
    text = host.get("?tag=LIVE&owner=ana+silva").text
    assert listed_ids(text) == ["acme-1"]
    assert "<option selected>live</option>" in text
    assert "<option selected>Ana Silva</option>" in text
    assert "foreign-tag" not in text
    assert "Foreign owner" not in text
    assert listed_ids(host.get("?role=*money").text) == ["acme-2"]
    assert "only at clients with the tag gone" in host.get("?tag=gone").text


def test_keyset_pages_forwards_and_backwards(host: Host) -> None:
    """50 rows to a page, with the total."""
    for number in range(120):
        make_client(host.engine, client_id=f"client-{number:03}")
    page = host.get().text
    assert "Showing 1–50 of 120" in page
    assert links(page, "prev") is None
    second = host.get(links(page, "next") or "").text
    assert listed_ids(second) == [f"client-{number:03}" for number in range(50, 100)]
    third = host.get(links(second, "next") or "").text
    assert "Showing 101–120 of 120" in third
    assert links(third, "next") is None
    assert listed_ids(host.get(links(third, "prev") or "").text) == listed_ids(second)
    # Order and search are kept on each page.
    turned = host.get("?q=client&sort=-client_id").text
    assert "sort=-client_id" in (links(turned, "next") or "")
    assert listed_ids(host.get(links(turned, "next") or "").text)[0] == "client-069"


def test_empty_and_no_match(host: Host) -> None:
    """The empty state, and the state without a match."""
    assert "No clients yet" in host.get().text
    make_some(host)
    page = host.get("?q=zulu&status=disabled").text
    assert "No client matches “zulu”" in page
    assert "only at clients that are disabled" in page
    assert "look at all clients" in page


def test_the_row_that_was_just_changed_is_marked_by_text(host: Host) -> None:
    """ "Updated" is written; colour alone is not enough."""
    make_some(host)
    client = make_client(host.engine, client_id="echo-marked")
    plain, marked = host.get().text, host.get(f"?changed={client.id}", htmx=True).text
    assert 'class="ic-new"' not in plain
    assert marked.count('class="ic-new"') == 1
    assert re.search(r'echo-marked</a><span class="ic-tag">New</span>', marked)
    host.post(f"/{client.id}/disable", {"version": client.version})
    marked = host.get(f"?changed={client.id}", htmx=True).text
    assert re.search(r'echo-marked</a><span class="ic-tag">Updated</span>', marked)
    assert 'class="ic-new"' not in host.get('?changed="><script>').text


def test_the_menu_is_a_fragment_and_a_page_of_links(host: Host) -> None:
    """View, Edit, Disable or Enable, and Duplicate; without JavaScript a page of links."""
    client = make_client(host.engine, client_id="alpha-claims")
    page, fragment = host.get(f"/{client.id}/menu"), host.get(f"/{client.id}/menu", htmx=True)
    assert "<html" in page.text
    assert "<html" not in fragment.text
    for text in (page.text, fragment.text):
        for words in ("View", "Edit", "Disable", "Duplicate…"):
            assert f">{words}<" in text
        assert ">Enable<" not in text
    make_client(host.engine, client_id="bravo-claims", enabled=False)
    off = make_client(host.engine, client_id="charlie-claims", enabled=False)
    assert ">Enable<" in host.get(f"/{off.id}/menu").text


def test_weight_of_fifty_rows(host: Host) -> None:
    """At most 10 KB on the wire."""
    for number in range(60):
        make_client(
            host.engine,
            client_id=f"northwind-claims-{number:03}",
            name=f"Claims system number {number}",
            roles={"MerchantUser", "CreatePayment", "UploadBatches"},
        )
    answer = host.client.get(PREFIX, headers={**HTMX, "Accept-Encoding": "gzip"})
    assert len(listed_ids(gzip.decompress(answer.data).decode())) == 50
    assert len(answer.data) <= 10 * 1024


def test_hostile_names_are_inert_on_the_list_the_menu_and_the_details(host: Host) -> None:
    """Names are shown as text (W17)."""
    name = '"><img src=x hx-get=/y onerror=z>'
    client = make_client(host.engine, client_id='"><b>&{{7*7777}}', name=name, description=name)
    for path in ("", f"/{client.id}", f"/{client.id}/menu", f"/{client.id}/disable", f"?q={name}"):
        for htmx in (False, True):
            text = host.get(path, htmx=htmx).text
            assert "<img" not in text
            assert "<b>&" not in text
            assert "54439" not in text
