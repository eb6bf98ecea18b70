"""Bytes on the wire, their origins, and what the browser stores (C2, W14, W15)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.support.browser import Merchant, Visit
from tests.support.pages import PREFIX, ClientList, NewClient
from tests.support.servers import LiveServer
from webapp.core.database.models import utc_now

FIRST_LOAD_BYTES = 40 * 1024
SWAP_BYTES = 8 * 1024
ROWS_BYTES = 10 * 1024


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab of a separate browser with an empty cache."""
    return visit(merchant.admin, own=True)


@dataclass
class Answer:
    """One response as it came over the wire, headers included."""

    url: str
    bytes: int = 0
    from_cache: bool = False


@dataclass
class Wire:
    """The responses that the browser got, as its own protocol counts them."""

    answers: dict[str, Answer] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """The sum of all bytes."""
        return sum(answer.bytes for answer in self.answers.values())

    @property
    def files(self) -> list[Answer]:
        """Stylesheets and scripts, without the icon, which the browser requests by rules of its own."""
        return [answer for answer in self.answers.values() if answer.url.endswith((".css", ".js"))]


@contextmanager
def wire(tab: Page) -> Iterator[Wire]:
    """Count the responses within the block."""
    counted = Wire()
    protocol = tab.context.new_cdp_session(tab)

    def began(event: dict[str, Any]) -> None:
        counted.answers.setdefault(event["requestId"], Answer(event["request"]["url"]))

    def from_cache(event: dict[str, Any]) -> None:
        counted.answers[event["requestId"]].from_cache = True

    def answered(event: dict[str, Any]) -> None:
        if event["response"].get("fromDiskCache"):
            counted.answers[event["requestId"]].from_cache = True

    def ended(event: dict[str, Any]) -> None:
        if event["requestId"] in counted.answers:
            counted.answers[event["requestId"]].bytes += int(event["encodedDataLength"])

    protocol.on("Network.requestWillBeSent", began)
    protocol.on("Network.requestServedFromCache", from_cache)
    protocol.on("Network.responseReceived", answered)
    protocol.on("Network.loadingFinished", ended)
    protocol.send("Network.enable")
    yield counted
    tab.wait_for_load_state("networkidle")
    protocol.detach()


@pytest.fixture
def many(merchant: Merchant) -> Merchant:
    """Return the merchant with 50 realistic clients: each has another last token, a fifth is idle."""
    now = utc_now()
    merchant.add_clients(
        50,
        name=lambda number: f"Claims payments, region {number}",
        description=lambda number: f"Pays settled claims of region {number}. Contact: claims-{number}@company.test",
        roles=lambda number: ("MerchantUser", "AccountViewer", "CreatePayment", "UploadBatches")[: number % 4 + 1],
        last_token_at=lambda number: now - timedelta(days=0 if number % 5 else 100, seconds=number**2 * 97),
    )
    return merchant


def test_weight_of_the_first_load_and_files_from_the_cache_afterwards(
    tab: Page, many: Merchant, live_server: LiveServer
) -> None:
    """All files have one origin (C2)."""
    with wire(tab) as first:
        expect(ClientList.open(tab).client_ids).to_have_count(50)
    assert first.bytes <= FIRST_LOAD_BYTES, first
    assert {answer.url[: len(live_server.url) + 1] for answer in first.answers.values()} == {f"{live_server.url}/"}
    assert [answer.from_cache for answer in first.files] == [False] * 4

    with wire(tab) as second:
        ClientList.open(tab)
    assert [answer.from_cache for answer in second.files] == [True] * 4


def test_weight_of_fifty_rows(tab: Page, many: Merchant) -> None:
    screen = ClientList.open(tab)
    with wire(tab) as rows:
        screen.search.fill("region")
        screen.expect_message("Showing 1–50 of 50")
    [answer] = [answer for answer in rows.answers.values() if "/static/" not in answer.url]
    assert answer.bytes <= ROWS_BYTES, answer


def test_weight_of_dialogs(tab: Page, merchant: Merchant) -> None:
    merchant.add_client(
        name="Claims payments", description="Pays claims. " * 20, roles=("MerchantUser", "CreatePayment")
    )
    screen = ClientList.open(tab)

    def weigh(what: str) -> None:
        for answer in counted.answers.values():
            assert answer.bytes <= SWAP_BYTES, (what, answer)

    with wire(tab) as counted:
        menu = screen.menu(merchant.new_id)
    weigh("menu")
    with wire(tab) as counted:
        edit = menu.edit()
    weigh("edit")
    with wire(tab) as counted:
        edit.fill(name="ab").save_with_errors()
    weigh("edit with an error")
    edit.discard()
    with wire(tab) as counted:
        form = screen.new()
    weigh("new")
    form.fill(client_id=f"{merchant.new_id}-new", client_secret="a secret of our own")
    with wire(tab) as counted:
        form.press("Create payments")
        expect(form.root.locator("[name=roles]:checked")).to_have_count(2)
    weigh("preset")
    with wire(tab) as counted:
        form.create()
    weigh("handover")


def test_no_screen_loads_anything_from_another_origin(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    """`visit` also asserts for every test that no policy was violated (C2, W15)."""
    urls: list[str] = []
    tab.context.on("request", lambda request: urls.append(request.url))
    form = ClientList.open(tab).new()
    form.fill(client_id=merchant.new_id).choose(["MerchantUser"])
    screen = form.create().done(then=ClientList)
    screen = screen.menu(merchant.new_id).edit().fill(name="Edited").save(then=ClientList)
    screen = screen.menu(merchant.new_id).disable().confirm(then=ClientList)
    screen.view(merchant.new_id)
    NewClient.open(tab)
    tab.goto(f"{PREFIX}/nothing")
    tab.goto("/login")
    assert len(urls) > 20
    assert [url for url in urls if not url.startswith(f"{live_server.url}/")] == []


def test_the_policy_is_enforced(page: Page) -> None:
    """Forbidden actions are blocked and reported in the console, where `visit` listens (W15)."""
    messages: list[str] = []
    page.on("console", lambda message: messages.append(message.text))
    page.goto("/login")
    page.evaluate(
        """() => {
            const script = document.createElement('script');
            script.textContent = 'window.ran = true';
            document.body.append(script);
        }"""
    )
    assert page.evaluate("window.ran") is None
    assert [text for text in messages if "Content Security Policy" in text]
