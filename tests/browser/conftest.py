"""A separate merchant for each test, and tabs of Chromium in which a person is signed in."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from tests.support.browser import TIMEOUT_MILLISECONDS, Merchant, Visit, Window, _numbers, sign_in
from tests.support.factories import make_account
from tests.support.servers import LiveServer
from webapp.core.database.engine import make_engine
from webapp.core.database.unit_of_work import unit_of_work
from webapp.standalone import users

expect.set_options(timeout=TIMEOUT_MILLISECONDS)


@pytest.fixture(scope="session")
def live_engine(live_server: LiveServer) -> Iterator[Engine]:
    """Return an engine of ours on the live server's database."""
    engine = make_engine(live_server.database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def make_merchant(live_engine: Engine, live_server: LiveServer) -> Callable[..., Merchant]:
    """Return a function that creates an account with an administrator."""

    def make(*, feature_enabled: bool = True) -> Merchant:
        number = next(_numbers)
        name = f"Company {number}"
        with unit_of_work(live_engine) as session:
            account_id = users.add_account(session, name, feature_enabled=feature_enabled).id
        make_account(live_engine, account_id, feature_enabled=feature_enabled)
        merchant = Merchant(live_engine, account_id, name, live_server.password, "", f"claims-payments-{number}")
        return replace(merchant, admin=merchant.add_user("MerchantAdmin"))

    return make


@pytest.fixture
def merchant(make_merchant: Callable[..., Merchant]) -> Merchant:
    """Return an account with the feature enabled and without clients."""
    return make_merchant()


@pytest.fixture(scope="session")
def shared_window(browser: Browser, live_server: LiveServer) -> Iterator[Window]:
    """Return the browser window that tests share, one per worker."""
    window = Window(browser, base_url=live_server.url)
    window.clear()
    yield window
    window.context.close()


@pytest.fixture
def visit(browser: Browser, shared_window: Window, live_server: LiveServer) -> Iterator[Visit]:
    """Return a function that opens browsers; afterwards assert that no script failed and no policy was violated."""
    windows: list[Window] = []

    def open_browser(email: str | None = None, *, own: bool = False, **options: Any) -> Page:
        if own or options or not shared_window.is_free:
            window = Window(browser, base_url=live_server.url, **options)
        else:
            window = shared_window
            window.is_free = False
        windows.append(window)
        if email:
            sign_in(window.context, email, live_server.password)
        return window.tab

    yield open_browser
    errors = [fault for window in windows for fault in window.faults]
    for window in windows:
        if window is shared_window:
            window.clear()
        else:
            window.context.close()
    assert errors == []


@pytest.fixture
def tab(visit: Visit, merchant: Merchant) -> Page:
    """Return a tab in which the merchant's administrator is signed in."""
    return visit(merchant.admin)
