"""A rotation and a leak on the live server, while an API client requests tokens all the time."""

import csv
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from threading import Event, Thread

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from playwright.sync_api import Page, expect

from tests.support.browser import TIMEOUT_MILLISECONDS, Merchant
from tests.support.factories import HASHER, SECRET
from tests.support.identity import is_refused, request_token
from tests.support.pages import PREFIX, Activity, ClientList, Details
from tests.support.screenshots import save_screenshots, save_text_screenshots
from tests.support.servers import LiveServer
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets.generation import Secret
from webapp.core.tokens.resource_servers import add_resource_server

EVERY_SECONDS = 0.05
API_SECRET = "the-secret-of-a-resource-server"


class Caller(Thread):
    """An integration that requests a token every 50 ms.

    :param secret: the secret that it sends.
    """

    def __init__(self, url: str, client_id: str, secret: str) -> None:
        super().__init__()
        self.url = f"{url}/connect/token"
        self.client_id = client_id
        self.secret = secret
        self.tokens: list[str] = []
        self.faults: list[Exception] = []
        self.over = Event()

    def run(self) -> None:
        """Request tokens until stopped, and record the outcomes."""
        while not self.over.wait(EVERY_SECONDS):
            try:
                with OAuth2Session(self.client_id, self.secret) as session:
                    token = session.fetch_token(self.url, grant_type="client_credentials")
                self.tokens.append(token["access_token"])
            except Exception as fault:
                self.faults.append(fault)

    def wait_for_requests(self, requests: int = 5) -> None:
        """Wait until so many further requests have been made; a pending one does not count."""
        goal = self.requests + 1 + requests
        deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1000
        while self.requests < goal:
            assert time.monotonic() < deadline, "the caller sends no more requests"
            time.sleep(EVERY_SECONDS)

    @property
    def requests(self) -> int:
        """The number of requests so far."""
        return len(self.tokens) + len(self.faults)


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the live server uses plain http on loopback


@contextmanager
def calling(url: str, client_id: str, secret: str) -> Iterator[Caller]:
    """Let an integration request tokens within the block."""
    caller = Caller(url, client_id, secret)
    caller.start()
    try:
        caller.wait_for_requests()
        yield caller
    finally:
        caller.over.set()
        caller.join()


def test_a_rotation_refuses_no_request(tab: Page, merchant: Merchant, live_server: LiveServer) -> None:
    """Change with an overlap, switch the caller, see the last use change, end the old secret."""
    client = merchant.add_client()
    with calling(live_server.url, client.client_id, SECRET) as caller:
        merchant.wait_for_recorded_token(client.client_id)
        details = Details.open(tab, client.id)
        expect(details.secret("A")).to_contain_text("127.0.0.1")

        form = details.change_secret()
        expect(form.root).to_contain_text("Old secret A was last used just now from 127.0.0.1.")
        save_screenshots(tab, "rotation-1-change-secret")
        handover = form.choose_overlap("In 1 hour").change()
        save_screenshots(tab, "rotation-2-handover")
        new = handover.secret
        expect(handover.root).to_contain_text("Secret A works until")
        details = handover.done(then=Details)
        expect(details.secret("A")).to_contain_text("Ending")
        expect(details.secret("A")).to_contain_text("in 1 hour")
        expect(details.secret("B")).to_contain_text("Current")
        expect(details.secret("B")).to_contain_text("Never")
        expect(details.root).to_contain_text("move that caller to secret B")
        caller.wait_for_requests()

        caller.secret = new
        caller.wait_for_requests()
        expect_to_be_used(details, "B")
        save_screenshots(tab, "rotation-3-both-in-use")
        attention = ClientList.open(tab, "?attention=any")
        expect(attention.client_ids).to_have_text([client.client_id])
        expect(attention.root).to_contain_text("Secret A ends")
        save_screenshots(tab, "rotation-4-attention")
        details = Details.open(tab, client.id)

        confirmation = details.open_secret_action("A", "End now")
        expect(confirmation.root).to_contain_text("from 127.0.0.1. That caller will be refused.")
        confirmation.root.get_by_label("Continue anyway").check()
        save_screenshots(tab, "rotation-5-end-now")
        details = confirmation.confirm(then=Details)
        details.expect_message("Rotation finished: only secret B works now.")
        expect(details.secret("A")).to_contain_text("Ended")
        save_screenshots(tab, "rotation-6-ended")
        assert is_refused(request_token(live_server.url, client.client_id, SECRET))
        caller.wait_for_requests()
    assert caller.faults == []
    assert len(caller.tokens) > 20


def expect_to_be_used(details: Details, label: str) -> None:
    """Reload the page until it shows that a secret was used, which takes up to a second."""
    deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1000
    while "127.0.0.1" not in details.secret(label).inner_text():
        assert time.monotonic() < deadline, "the use is not shown"
        details.page.reload()
        details = Details(details.page)


def test_after_a_leak_one_click_stops_every_secret_and_every_token(
    tab: Page, merchant: Merchant, live_server: LiveServer
) -> None:
    """Both secrets are in use, hundreds of tokens are valid; an API that introspects sees it at once (T13)."""
    client = merchant.add_client()
    with unit_of_work(merchant.engine) as session:
        api = add_resource_server(
            session, actor="tests", name=f"API of {merchant.new_id}", secret=Secret(API_SECRET), hasher=HASHER
        )

    def counts(token: str) -> bool:
        answer = requests.post(
            f"{live_server.url}/connect/introspect",
            {"token": token},
            auth=(api.resource_server_id, API_SECRET),
            timeout=10,
        )
        assert answer.status_code == 200
        return bool(answer.json() != {"active": False})

    with calling(live_server.url, client.client_id, SECRET) as caller:
        details = Details.open(tab, client.id)
        handover = details.change_secret().choose_overlap("In 7 days").change()
        second = handover.secret
        details = handover.done(then=Details)
        caller.secret = second
        caller.wait_for_requests()
        assert counts(caller.tokens[0])
        assert counts(caller.tokens[-1])
        caller.over.set()
        caller.join()
        assert caller.faults == []

        confirmation = details.more().leaked()
        save_screenshots(tab, "leak-1-confirmation")
        confirmation.press()  # the single click
        handover = confirmation.handover()
        save_screenshots(tab, "leak-2-handover")
        third = handover.secret
    assert len({SECRET, second, third}) == 3
    assert [token for token in caller.tokens if counts(token)] == []
    for old in (SECRET, second):
        assert is_refused(request_token(live_server.url, client.client_id, old))
    fresh = request_token(live_server.url, client.client_id, third)
    assert counts(fresh.json()["access_token"])
    details = handover.done(then=Details)
    details.expect_message("Leaked secret replaced: the former ones have ended, and secret C works.")
    for label, state in (("A", "Ended"), ("B", "Ended"), ("C", "Current")):
        expect(details.secret(label)).to_contain_text(state)
    save_screenshots(tab, "leak-3-ended")

    audit_log = Activity.open(tab, f"{client.id}/")
    expect(audit_log.events.first).to_contain_text("leaked")
    save_screenshots(tab, "leak-4-audit-log")
    export = tab.request.get(f"{PREFIX}/activity.csv?client={client.client_id}").text()
    assert len(list(csv.reader(StringIO(export, newline="")))) - 1 == audit_log.events.count()
    save_text_screenshots(tab, "leak-5-csv", export)
