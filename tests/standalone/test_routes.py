"""Every route of the stand-alone MAS for every kind of user; an unclassified route fails."""

import uuid
from collections.abc import Callable

import pytest
from flask import Flask
from flask.testing import FlaskClient

from tests.support.mas import Mas, sign_in
from webapp.api.resources import RESOURCES
from webapp.web.http.access import Access
from webapp.web.routes import PERMISSIONS

# Each endpoint is in exactly one of these lists (A1).
PUBLIC = {
    "identity_clients_endpoint.metadata",
    "identity_clients_endpoint.jwks",
    "identity_clients_endpoint.unknown",
    "mas.sign_in",
    "mas.sign_in_post",
    "mas.sign_out",
    "mas.language",
    "mas.healthz",
}
PUBLIC |= {"mas.readyz", "mas_asset", "identity_clients.asset"}
CLIENT_AUTHENTICATED = {
    "identity_clients_endpoint.token",
    "identity_clients_endpoint.introspect",
    "identity_clients_endpoint.revoke",
}
TOKEN_AUTHENTICATED = {f"identity_clients_api.{endpoint}" for _, endpoint, _ in RESOURCES} | {"mas.metrics"}
PUBLIC |= {f"identity_clients_api.{name}" for name in ("openapi", "reference", "stylesheet", "unknown")}
SIGNED_IN = {"mas.home"}
VIEW = {f"identity_clients.{name}" for name, access in PERMISSIONS.items() if access is Access.VIEW}
MANAGE = {
    f"identity_clients.{name}" for name, access in PERMISSIONS.items() if access not in (Access.PUBLIC, Access.VIEW)
}
LISTS = (PUBLIC, CLIENT_AUTHENTICATED, TOKEN_AUTHENTICATED, SIGNED_IN, VIEW, MANAGE)

KINDS = {
    "signed out": None,
    "admin": ("admin@company.test", "Company", ("MerchantAdmin",)),
    "manager": ("manager@company.test", "Company", ("ManageIdentityClients",)),
    "viewer": ("viewer@company.test", "Company", ("MerchantUser",)),
    "feature off": ("admin@other.test", "Other", ("MerchantAdmin",)),
}
FORM = "application/x-www-form-urlencoded"


def test_every_route_is_in_exactly_one_list(app: Flask) -> None:
    """No route is left out or listed twice (A1)."""
    for endpoint in {rule.endpoint for rule in app.url_map.iter_rules()}:
        assert sum(endpoint in names for names in LISTS) == 1, f"{endpoint}: put it into one access list"


@pytest.fixture
def browser_of(mas: Mas) -> Callable[[str], FlaskClient]:
    """Return a function that returns a signed-in browser for a kind of user."""
    mas.add_account("Company")
    mas.add_account("Other", feature=False)

    def browser(kind: str) -> FlaskClient:
        client = mas.app.test_client()
        user = KINDS[kind]
        if user is not None:
            email, account, roles = user
            mas.add_user(email, account=account, roles=roles)
            assert sign_in(client, email).status_code == 303
        return client

    return browser


@pytest.mark.parametrize("kind", KINDS)
def test_every_route_by_every_kind_of_user(app: Flask, browser_of: Callable[[str], FlaskClient], kind: str) -> None:
    """Signed out leads to sign-in; no role or feature leads to 403; the rest is allowed (A2, W11)."""
    client = browser_of(kind)
    for rule in app.url_map.iter_rules():
        if rule.endpoint in PUBLIC | CLIENT_AUTHENTICATED | TOKEN_AUTHENTICATED:
            continue
        path = rule.rule.replace("<key>", str(uuid.uuid4())).replace("<secret_id>", str(uuid.uuid4()))
        path = path.replace("<key_id>", str(uuid.uuid4()))
        for method in (rule.methods or set()) & {"GET", "POST"}:
            answer = client.open(path, method=method, content_type=FORM)
            what = f"{method} {rule.endpoint} as {kind}: {answer.status_code}"
            if kind == "signed out":
                assert answer.status_code == 303, what
                assert "/login" in answer.location, what
            elif rule.endpoint in SIGNED_IN:
                assert answer.status_code == 200, what
            elif kind in ("viewer", "feature off"):
                assert answer.status_code == 403, what
            else:
                assert answer.status_code == (404 if "<key>" in rule.rule else answer.status_code), what
                assert answer.status_code in (200, 404, 422), what
