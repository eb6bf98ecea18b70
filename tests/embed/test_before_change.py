"""A host's own policy: its function is called with each change before it is saved, and may refuse it."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine, select

from tests.support.embedding import VALUES, create
from tests.support.endpoint import settings
from tests.support.factories import make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX
from webapp import Change, FieldError, IdentityClients
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


def host(engine: Engine) -> tuple[Flask, IdentityClients]:
    app = Flask("host")
    app.secret_key = "k" * 32
    app.config.update(settings(ENGINE=engine))
    identity_clients = IdentityClients()
    identity_clients.actor_loader(lambda: NORTHWIND)
    identity_clients.init_app(app)
    return app, identity_clients


def stored(engine: Engine) -> list[Any]:
    with read_session(engine) as session:
        tables = (IdentityClient, ClientSecret)
        return [session.execute(select(table.__table__)).all() for table in tables]


def hidden(browser: FlaskClient, path: str) -> dict[str, str]:
    """Return the hidden fields of the form on a page."""
    found = re.findall(r'name="(csrf_token|version|creation_key)"[^>]*value="([^"]*)"', browser.get(path).text)
    assert found, path
    return dict(found)


CHANGES: dict[str, tuple[str, str, dict[str, str]]] = {
    # For each action its path and its form
    "created": ("/new", "client_id", VALUES),
    "edited": ("/{key}/edit", "token_duration", VALUES | {"client_id": "first-client", "client_secret": ""}),
    "enabled": ("/{off}/enable", "enabled", {}),
    "disabled": ("/{key}/disable", "enabled", {}),
    "deleted": ("/{key}/delete", "confirm", {"confirm": "first-client"}),
    "networks changed": ("/{key}/networks", "allowed_networks", {"allowed_networks": "192.0.2.7"}),
    "tokens revoked": ("/{key}/revoke-tokens", "anything", {}),
    "secret changed": (
        "/{key}/secret",
        "client_secret",
        {"client_secret": "a secret that is long and other", "overlap": "24h"},
    ),
    "secret ended": ("/{key}/leaked", "anything", {}),
    "secret paused": ("/{key}/secrets/{secret}/pause", "anything", {}),
    "end date set": ("/{key}/secrets/{secret}/end-date", "ends_at", {"ends_at": "2026-12-31T18:00"}),
}


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize("action", CHANGES)
def test_a_refused_change_shows_the_hosts_message_and_saves_nothing(
    sqlite_engine: Engine, action: str, htmx: bool
) -> None:
    """Every change of a client can be refused; the page shows the host's message, escaped."""
    app, identity_clients = host(sqlite_engine)
    client = make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    off = make_client(sqlite_engine, account_id="northwind", client_id="third-client", enabled=False)
    path, field, form = CHANGES[action]
    browser, headers = app.test_client(), HTMX if htmx else {}
    if action in ("secret paused", "end date set"):  # not possible with the only secret
        form_of_change = hidden(browser, f"{PREFIX}/{client.id}/secret")
        rotate = form_of_change | {"client_secret": "a secret that is long and new", "overlap": "7d"}
        assert browser.post(f"{PREFIX}/{client.id}/secret", data=rotate).status_code == 200
    path = PREFIX + path.format(key=client.id, off=off.id, secret=client.secrets[0].id)
    form = hidden(browser, path) | form
    seen: list[Change] = []

    @identity_clients.before_change
    def refuse(change: Change) -> None:
        seen.append(change)
        if change.action == action:
            raise FieldError(field, "Policy <7> forbids this.")

    before = stored(sqlite_engine)
    response = browser.post(path, data=form, headers=headers)
    assert response.status_code == 422, response.text
    assert "Policy &lt;7&gt; forbids this." in response.text
    assert stored(sqlite_engine) == before
    assert [change.action for change in seen] == [action]
    with read_session(sqlite_engine) as session:
        events = select(AuditEvent.action).where(AuditEvent.actor_id == NORTHWIND.id, AuditEvent.action == action)
        assert not session.scalars(events).all()
    assert (seen[0].account_id, seen[0].actor_id) == ("northwind", NORTHWIND.id)


def test_a_function_gets_the_new_values(sqlite_engine: Engine) -> None:
    """A policy on IDs, roles and durations; allowed changes are saved."""
    app, identity_clients = host(sqlite_engine)
    seen: list[Change] = []

    @identity_clients.before_change
    def policy(change: Change) -> None:
        seen.append(change)
        if not change.client_id.startswith("nw-"):
            raise FieldError("client_id", "IDs of Northwind begin with nw-.")

    browser = app.test_client()
    refused = create(browser)
    assert refused.status_code == 422
    assert "IDs of Northwind begin with nw-." in refused.text
    assert create(browser, client_id="nw-payments", owner="Ana", tags="EU, test").status_code == 200
    assert seen[-1].action == "created"
    assert (seen[-1].owner, seen[-1].tags) == ("Ana", frozenset({"eu", "test"}))
    assert (seen[-1].client_id, seen[-1].token_duration, seen[-1].roles, seen[-1].enabled) == (
        "nw-payments",
        25,
        frozenset({"MerchantUser"}),
        True,
    )
    assert seen[-1].changes["client_id"] == [None, "nw-payments"]
    assert VALUES["client_secret"] not in repr(seen)


def test_an_error_in_a_function_saves_nothing(sqlite_engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    """The response is 500, and the error is logged."""
    app, identity_clients = host(sqlite_engine)
    identity_clients.before_change(lambda change: print(1 / 0))
    assert create(app.test_client()).status_code == 500
    assert stored(sqlite_engine) == [[], []]
    assert "ZeroDivisionError" in caplog.text


def test_functions_of_one_extension_get_no_change_of_another(sqlite_engine: Engine) -> None:
    """Two applications on one engine (E6)."""
    _, strict = host(sqlite_engine)
    app, _ = host(sqlite_engine)

    @strict.before_change
    def refuse(change: Change) -> None:
        raise FieldError("client_id", "No.")

    assert create(app.test_client()).status_code == 200
