"""The preview of a client's next token (T2)."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape

import pytest
import time_machine
from werkzeug.datastructures import MultiDict

from tests.support.factories import SECRET, make_client
from tests.support.host import HARBOUR, NORTHWIND, Host
from tests.support.markup import one_line
from webapp.core.database.models import ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import unit_of_work
from webapp.host import EXTENSION

NOW = datetime(2026, 11, 23, 10, 42, 7, tzinfo=UTC)
ROLES = ("MerchantUser", "AccountViewer", "CreatePayment")


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with three roles, which allow four scopes."""
    return make_client(host.engine, client_id="acme-claims-prod", roles=ROLES, token_duration=15)


def claims(html: str) -> dict[str, object]:
    """Return the claims that a page shows."""
    [shown] = re.findall(r'aria-label="Token claims"\s*>(.*?)</pre>', html, re.DOTALL)
    found: dict[str, object] = json.loads(unescape(shown))
    return found


def section(host: Host, client: IdentityClient, *scopes: str) -> str:
    """Return the section for these scopes as htmx requests it."""
    query = MultiDict([("scope", scope) for scope in scopes])
    answer = host.get(f"/{client.id}/preview", htmx=True, query_string=query)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    "asked", [None, "accounts:read", "payment-requests stored-recipients", "API accounts:read payment-requests"]
)
def test_the_preview_equals_the_token(host: Host, client: IdentityClient, asked: str | None) -> None:
    """Every claim in the same order; only `jti` differs (T2)."""
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}
    with time_machine.travel(NOW, tick=False):
        shown = claims(section(host, client, *(asked or "").split()))
        answer = host.client.post(
            "/connect/token", data=form | ({"scope": asked} if asked else {}), base_url="https://localhost"
        )
        services = host.app.extensions[EXTENSION]
        token = services.tokens.verify((answer.json or {})["access_token"], services.keys.for_header, NOW)
    assert token
    assert list(shown) == list(token)
    assert shown.pop("jti") == "(new in each token)"
    del token["jti"]
    assert shown == token


@time_machine.travel(NOW, tick=False)
def test_the_times_are_described_in_words(host: Host, client: IdentityClient) -> None:
    html = section(host, client)
    assert claims(html)["exp"] == NOW.timestamp() + 15 * 60
    assert "as if it were issued at 10:42 GMT, to end at 10:57 GMT" in html
    assert "Not a working token." in html


def test_a_scope_that_the_client_may_not_have_is_left_out(host: Host, client: IdentityClient) -> None:
    """Such an address was typed or forged (I4)."""
    assert claims(section(host, client, "accounts:read", "reports:read", '"><x'))["scope"] == "accounts:read"
    every = "API accounts:read payment-requests stored-recipients"
    assert claims(section(host, client))["scope"] == claims(section(host, client, "reports:read"))["scope"] == every


def test_without_javascript_it_is_a_form_on_a_page(host: Host, client: IdentityClient) -> None:
    """A GET form, and the whole page for a browser; the selection is kept (W13)."""
    page = host.get(f"/{client.id}/preview?scope=accounts:read").text
    assert claims(page)["scope"] == "accounts:read"
    page = one_line(page)
    assert "<html" in page
    assert f'method="get" action="/administration/identity-clients/{client.id}/preview"' in page
    assert re.findall(r'name="scope" value="([^"]+)" checked', page) == ["accounts:read"]
    assert "<noscript><button" in page
    assert claims(host.get(f"/{client.id}").text)["client_id"] == "acme-claims-prod"


def test_a_token_that_would_be_refused_is_announced(host: Host, client: IdentityClient) -> None:
    """A disabled client, no role left, or no live secret (A4, S8)."""
    assert "no token is given" not in section(host, client)
    disabled = section(host, make_client(host.engine, enabled=False))
    assert "This client is disabled, so no token is given until it is enabled. It would contain:" in one_line(disabled)
    assert claims(disabled)
    with unit_of_work(host.engine) as session:
        secret = session.query(ClientSecret).where(ClientSecret.client_key == client.id).one()
        secret.ends_at = utc_now() - timedelta(seconds=1)
    assert "None of its secrets and keys works now, so no token is given." in section(host, client)
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"ReportViewer"}))
    nothing = section(host, client)
    assert "No role is left to this client, so no token is given." in nothing
    assert "Token claims" not in nothing


def test_roles_that_the_account_no_longer_holds_are_left_out(host: Host, client: IdentityClient) -> None:
    """The token would not have them either (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser", "AccountViewer"}))
    assert claims(section(host, client))["roles"] == ["MerchantUser", "AccountViewer"]
    assert claims(section(host, client))["scope"] == "API accounts:read"


def test_another_accounts_client_has_no_preview(host: Host, client: IdentityClient) -> None:
    """It is not found (A3)."""
    host.actor = HARBOUR
    answer = host.get(f"/{client.id}/preview")
    assert answer.status_code == 404
    assert "acme" not in answer.text
