"""Test now: a token request that a person tries, with the true reason of a refusal."""

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.factories import SECRET, make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.markup import read
from tests.support.screens import VALUES, actions, set_columns, stored, timeline
from webapp.core.addresses import AllowedNetwork
from webapp.core.database.models import IdentityClient, TokenRequest, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.host import EXTENSION

CANARY = "canary-secret-of-a-test-7Q"


def own_client(host: Host, **columns: Any) -> IdentityClient:
    return make_client(host.engine, account_id="northwind", roles=("MerchantUser", "CreatePayment"), **columns)


def answer_of(text: str) -> dict[str, Any]:
    """Return the JSON that the page shows as the response."""
    found = re.search(r'<pre class="ic-code"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert found
    body: dict[str, Any] = json.loads(found[1].replace("&#34;", '"'))
    return body


def requests_of(host: Host) -> list[TokenRequest]:
    host.app.extensions[EXTENSION].recorder.write_all()
    with read_session(host.engine) as session:
        return list(session.scalars(select(TokenRequest)))


def test_a_right_secret_gets_the_answer_of_the_endpoint(host: Host, htmx: bool) -> None:
    """Type, lifetime and scope as a caller gets them, but no whole token; recorded as an event, not as a request."""
    client = own_client(host, token_duration_minutes=25)
    form = {"client_secret": SECRET, "scope": ""}
    page = host.post(f"/{client.id}/test", form, htmx=htmx)
    assert page.status_code == 200
    assert ("<html" in page.text) is not htmx
    body = answer_of(page.text)
    assert (body["token_type"], body["expires_in"]) == ("Bearer", 1500)
    assert body["scope"] == "API payment-requests stored-recipients"
    assert re.fullmatch(r"eyJ[\w-]{7}…", body["access_token"])
    assert "Issued" in page.text
    assert requests_of(host) == []
    assert stored(host, client).last_token_at is None
    assert stored(host, client).secrets[0].last_used_at is None
    assert actions(host, client)[-1] == "secret tested"
    assert "Priya Nair tested a secret, which gets tokens" in timeline(host.get(f"/{client.id}/activity").text)[0]


def disable(host: Host, client: IdentityClient) -> None:
    host.post(f"/{client.id}/disable", {"version": str(client.version)})


def restrict(host: Host, client: IdentityClient) -> None:
    with unit_of_work(host.engine) as session:
        session.get_one(IdentityClient, client.id).allowed_networks = (AllowedNetwork("198.51.100.0/24", ""),)


REFUSALS: dict[str, tuple[Callable[[Host, IdentityClient], None], dict[str, str], int, str, str]] = {
    "wrong secret": (lambda *_: None, {"client_secret": "x" * 20}, 401, "invalid_client", "none of this client’s"),
    "malformed": (lambda *_: None, {"client_secret": "short"}, 401, "invalid_client", "6 to 100"),
    "disabled": (disable, {}, 401, "invalid_client", "The client is disabled."),
    "paused": (
        lambda host, client: set_columns(host, client, "A", paused_at=utc_now()),
        {},
        401,
        "invalid_client",
        "Secret A was paused.",
    ),
    "ended": (
        lambda host, client: set_columns(host, client, "A", ends_at=utc_now()),
        {},
        401,
        "invalid_client",
        "Secret A ended on",
    ),
    "address": (restrict, {}, 401, "invalid_client", "your own address, 127.0.0.1, is not among the allowed"),
    "scope": (
        lambda *_: None,
        {"scope": "payments:approve"},
        400,
        "invalid_scope",
        "No role at all opens the scope",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_shows_the_answer_of_the_caller_and_the_true_reason(host: Host, case: str) -> None:
    """P7: the caller gets one answer, the person who manages the client its reason, with what to do."""
    arrange, changes, status, error, reason = REFUSALS[case]
    client = own_client(host)
    arrange(host, client)
    page = host.post(f"/{client.id}/test", {"client_secret": SECRET, **changes}, htmx=True)
    assert page.status_code == 200
    assert answer_of(page.text)["error"] == error
    assert f"status {status} and this" in page.text
    assert reason in " ".join(page.text.split())
    assert actions(host, client)[-1] == "secret tested"
    assert "which was refused" in timeline(host.get(f"/{client.id}/activity").text)[0]


def test_wrong_secrets_are_limited_as_those_of_a_caller(host: Host) -> None:
    """D2: the tests of a person and the requests from their address have one limit."""
    client = own_client(host)
    for _ in range(10):
        page = host.post(f"/{client.id}/test", {"client_secret": "x" * 20}, htmx=True)
        assert answer_of(page.text)["error"] == "invalid_client"
    page = host.post(f"/{client.id}/test", {"client_secret": "x" * 20}, htmx=True)
    assert answer_of(page.text)["error"] == "temporarily_unavailable"
    assert "Too many requests with a wrong secret" in page.text
    assert actions(host, client).count("secret tested") == 10
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": "y" * 20}
    caller = host.client.post("/connect/token", data=form, base_url="https://identity.example")
    assert caller.status_code == 429


def test_the_secret_is_neither_stored_nor_logged_nor_shown(
    host: Host, htmx: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """L4, S6: not in the page, the database or a log of any level, whether it is right or not."""
    client = make_client(host.engine, account_id="northwind", secret=CANARY)
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "sqlalchemy"):
        pages = [
            host.post(f"/{client.id}/test", {"client_secret": secret, "scope": scope}, htmx=htmx).text
            for secret, scope in ((CANARY, ""), (CANARY + "x", ""), (CANARY, CANARY))
        ]
        requests_of(host)
    assert all(CANARY not in page for page in pages[:2])
    assert CANARY not in caplog.text
    assert answer_of(pages[0])["expires_in"] == 3600
    database = host.engine.url.database
    assert database
    for suffix in ("", "-wal"):
        with open(database + suffix, "rb") as file:
            assert CANARY.encode() not in file.read()


def test_nothing_is_asked_without_a_secret_or_a_token_of_the_form(host: Host, htmx: bool) -> None:
    """W9: a form without the session's CSRF token tests nothing."""
    client = own_client(host)
    empty = host.post(f"/{client.id}/test", {"client_secret": ""}, htmx=htmx)
    assert empty.status_code == 422
    assert "Enter the secret to test." in read(empty).described("client_secret")
    forged = host.post(f"/{client.id}/test", {"client_secret": SECRET}, htmx=htmx, token=False)
    assert forged.status_code == 422
    assert "access_token" not in forged.text
    assert "secret tested" not in actions(host, client)


@pytest.mark.parametrize(("permission", "status"), [("create", 200), ("edit", 200), ("secrets", 200), (None, 403)])
def test_who_may_change_clients_may_test(host: Host, permission: str | None, status: int) -> None:
    by_role = {"Helper": (permission,)} if permission else {}
    other = make_host(host.engine, viewer_roles=("Helper",) if not permission else (), role_permissions=by_role)
    client = own_client(host)
    other.actor = replace(NORTHWIND, roles=frozenset({"Helper"}))
    assert other.get(f"/{client.id}/test").status_code == status
    assert ("Test now" in other.get(f"/{client.id}").text) == (status == 200)


def test_the_handover_tests_the_secret_that_it_shows(host: Host, htmx: bool) -> None:
    """The form is not that of Done, which would put the secret into an address; the script wipes its field (W14)."""
    page = read(host.post("/new", VALUES, htmx=htmx))
    (form,) = [attributes for tag, attributes in page.tags if tag == "form" and attributes.get("id") == "ic-test"]
    (button,) = [attributes for tag, attributes in page.tags if attributes.get("form") == "ic-test"]
    assert (form["method"], form["target"], "type" in button) == ("post", "_blank", False)
    assert "data-secret" in page.inputs["client_secret"]
    data = {"csrf_token": page.value("csrf_token"), "client_secret": page.value("client_secret")}
    headers = {**HTMX, "HX-Target": "div#ic-test-answer"}
    answer = host.client.post(form["action"], data=data, headers=headers)
    assert form["action"].startswith(PREFIX)
    assert answer.status_code == 200
    assert "<form" not in answer.text
    assert answer_of(answer.text)["token_type"] == "Bearer"
    del data["csrf_token"]
    forged = host.client.post(form["action"], data=data, headers=headers)
    assert "press Test now again" in forged.text
