"""Merchants on the live server, and browsers in which a person is signed in."""

import itertools
import re
import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page
from sqlalchemy import Engine, select, update

from tests.support.clients import edit, values_of
from tests.support.factories import make_author, make_client
from webapp.core.database.models import ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.standalone import users

TIMEOUT_MILLISECONDS = 10_000
_numbers = itertools.count(1)
_hash = cache(users.hash_password)


@dataclass(frozen=True)
class Merchant:
    """An account with users on the live server.

    :param password: the password of all its users.
    :param admin: the e-mail address of its first Merchant Admin.
    :param new_id: an unused client ID, since all merchants share the platform.
    """

    engine: Engine
    account_id: str
    name: str
    password: str
    admin: str
    new_id: str

    def add_user(self, *roles: str, name: str = "Ann Example") -> str:
        """Add a user; return the e-mail address."""
        with unit_of_work(self.engine) as session:
            account = users.find_account(session, self.name)
            assert account
            email = f"person-{next(_numbers)}@company.test"
            users.add_user(session, account, email=email, name=name, roles=roles, password_hash=_hash(self.password))
        return email

    def add_client(self, client_id: str = "", **values: Any) -> IdentityClient:
        """Add a client, by default `new_id` with the secret `factories.SECRET`."""
        return make_client(self.engine, account_id=self.account_id, client_id=client_id or self.new_id, **values)

    def add_clients(self, count: int, **values: Any) -> list[str]:
        """Add many clients in one transaction; return their IDs in order."""
        ids = [f"{self.new_id}-{number:03}" for number in range(count)]
        with unit_of_work(self.engine) as session:
            for number, client_id in enumerate(ids):
                own = {name: value(number) if callable(value) else value for name, value in values.items()}
                make_client(session, account_id=self.account_id, client_id=client_id, **own)
        return ids

    def change(self, client: IdentityClient, **values: Any) -> None:
        """Change a client as Priya Nair does, who has it open at the same time.

        :param values: of `ClientValues`; the others stay.
        """
        author = make_author(self.account_id, label="Priya Nair")
        edit(self.engine, client, values=values_of(client, **values), author=author)

    def set_secret_columns(self, client: IdentityClient, label: str, **columns: Any) -> None:
        """Set columns of a client's secret, such as `last_used_at`."""
        with unit_of_work(self.engine) as session:
            session.execute(
                update(ClientSecret)
                .where(ClientSecret.client_key == client.id, ClientSecret.label == label)
                .values(**columns)
            )

    def wait_for_recorded_token(self, client_id: str) -> None:
        """Wait until the server has recorded a client's token, which takes up to a second."""
        deadline = time.monotonic() + TIMEOUT_MILLISECONDS / 1000
        while self.client(client_id).last_token_at is None:
            assert time.monotonic() < deadline, "the token is not recorded"
            time.sleep(0.05)

    def client(self, client_id: str) -> IdentityClient:
        """Return a client as it is stored."""
        with read_session(self.engine) as session:
            return session.scalars(
                select(IdentityClient).where(
                    IdentityClient.account_id == self.account_id, IdentityClient.client_id == client_id
                )
            ).one()

    @property
    def client_ids(self) -> Collection[str]:
        """The stored client IDs of the account."""
        with read_session(self.engine) as session:
            return session.scalars(
                select(IdentityClient.client_id).where(IdentityClient.account_id == self.account_id)
            ).all()


class Visit(Protocol):
    """Open a browser without data of another one, and return its tab."""

    def __call__(self, email: str | None = None, *, own: bool = False, **options: Any) -> Page:
        """Open it.

        :param email: the signed-in user; None for no one.
        :param own: whether the test changes the browser in a way that cannot be undone, such as its clock.
        :param options: options of Playwright's `new_context`.
        """


class Window:
    """A browser context with one tab, which collects script errors and policy violations (W15)."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.faults: list[str] = []
        self.is_free = False
        self._options = {"viewport": {"width": 1280, "height": 900}} | options
        self.context = browser.new_context(**self._options)
        self.context.set_default_timeout(TIMEOUT_MILLISECONDS)
        self._grant_permissions()
        self.context.on("weberror", lambda error: self.faults.append(str(error.error)))
        self.context.on("console", self._note_violation)
        self.tab = self.context.new_page()
        # It stays open: detaching it would end the emulation of focus, and no element would have focus.
        self._protocol = self.context.new_cdp_session(self.tab)

    def _grant_permissions(self) -> None:
        # Chromium lets a click write to the clipboard; its headless shell has to be told.
        self.context.grant_permissions(["clipboard-write"])

    def _note_violation(self, message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            self.faults.append(message.text)

    def clear(self) -> None:
        """Reset the window for another test, since a new one costs 0.4 s of CPU time; cached files stay.

        :raises AssertionError: a test has changed it irreversibly.
        """
        for tab in self.context.pages:
            if tab is not self.tab:
                tab.close()
        assert not self.tab.is_closed(), "a test that closes its tab needs a browser of its own"
        assert not self.tab.evaluate("'__pwClock' in window"), "a test that sets the clock needs a browser of its own"
        self.tab.evaluate("if (origin !== 'null') sessionStorage.clear()")
        self._protocol.send("Storage.clearDataForOrigin", {"origin": self._options["base_url"], "storageTypes": "all"})
        self.context.clear_cookies()
        self.context.clear_permissions()
        self._grant_permissions()
        self.context.unroute_all()
        self.tab.unroute_all()
        self.tab.set_viewport_size(self._options["viewport"])
        self.tab.emulate_media(media="null", color_scheme="null", reduced_motion="null", forced_colors="null")
        self.tab.goto("about:blank")
        self.faults.clear()
        self.is_free = True


def sign_in(context: BrowserContext, email: str, password: str) -> None:
    """Sign a browser in without opening the page."""
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', context.request.get("/login").text())
    assert token
    answer = context.request.post("/login", form={"csrf_token": token[1], "email": email, "password": password})
    assert answer.ok, answer.text()


def chromium() -> str:
    """Return the path of the browser's program."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.fail("Chromium is not installed. On Debian: apt-get install chromium", pytrace=False)
    return program


def headless_chromium() -> str:
    """Return the path of Chromium's headless shell, or of the browser where the shell is not installed.

    It is the same engine without the user interface, and a test takes half the CPU time. It has no back/forward cache.
    """
    return shutil.which("chromium-headless-shell") or chromium()


CHROMIUM_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--process-per-site",  # the pages of one site share a process; starting one takes longer than most pages
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
