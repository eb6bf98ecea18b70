"""The settings of the account."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, select

from tests.support.api import API_CATALOGUE, HELD
from tests.support.factories import make_client
from tests.support.host import HARBOUR, NORTHWIND, Host, make_host
from tests.support.keys import private_key, private_pem, public_pem
from tests.support.screens import SECRET, VALUES
from webapp.core.account_settings import are_assertions_strict, is_management_api_enabled
from webapp.core.database.models import IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session


@pytest.fixture
def api_host(sqlite_engine: Engine) -> Host:
    """Return a host with the management API."""
    return make_host(sqlite_engine, api_enabled=True)


def is_allowed(host: Host, account_id: str = "northwind") -> bool:
    with read_session(host.engine) as session:
        return is_management_api_enabled(session, account_id)


def test_an_administrator_allows_the_api_and_forbids_it(api_host: Host) -> None:
    """It is off by default and per account; each change is an audit event (L1)."""
    page = api_host.get("/settings").text
    assert 'name="management_api"' in page
    assert "checked" not in page
    assert "https://identity.example/api/identity-clients/v1/reference" in page
    assert not is_allowed(api_host)
    saved = api_host.post("/settings", {"management_api": "y"})
    assert (saved.status_code, saved.location) == (303, "/administration/identity-clients/settings?done=settings")
    assert "checked" in api_host.get("/settings?done=settings").text
    assert (is_allowed(api_host), is_allowed(api_host, "harbour")) == (True, False)
    assert api_host.post("/settings", {"management_api": "y"}).status_code == 303
    assert api_host.post("/settings", {}).status_code == 303
    assert not is_allowed(api_host)
    activity = api_host.get("/activity").text
    assert activity.count("allowed the management API") == 1, "saved without a change is no event"
    assert activity.count("no longer allows the management API") == 1


@pytest.mark.parametrize(
    ("roles", "status"),
    [({"MerchantAdmin"}, 200), ({"ManageIdentityClients"}, 200), ({"Editor"}, 403), ({"Auditor"}, 403)],
)
def test_only_managers_of_the_account_see_it(sqlite_engine: Engine, roles: set[str], status: int) -> None:
    """Viewers do not (A2)."""
    permissions = {"Editor": ["create", "edit", "secrets", "delete"]}
    host = make_host(sqlite_engine, api_enabled=True, viewer_roles=("Auditor",), role_permissions=permissions)
    host.actor = replace(NORTHWIND, roles=frozenset(roles))
    assert host.get("/settings").status_code == status
    assert ("/settings" in host.get().text) is (status == 200)


def test_it_needs_a_recent_sign_in(api_host: Host) -> None:
    """Within 30 minutes (W5)."""
    api_host.actor = replace(NORTHWIND, signed_in_at=utc_now() - timedelta(minutes=31))
    response = api_host.post("/settings", {"management_api": "y"})
    assert response.status_code == 401
    assert "press Save again" in response.text
    assert not is_allowed(api_host)


def test_it_needs_the_csrf_token(api_host: Host) -> None:
    """Without it nothing changes (W8)."""
    assert api_host.post("/settings", {"management_api": "y"}, token=False).status_code == 422
    assert not is_allowed(api_host)


def test_without_the_api_its_switch_is_left_out(host: Host) -> None:
    """Its value stays when the form is saved."""
    page = host.get("/settings").text
    assert 'name="management_api"' not in page
    assert 'name="strict_assertions"' in page
    assert "/settings" in host.get().text
    assert host.post("/settings", {"management_api": "y"}).status_code == 303
    assert not is_allowed(host)


def test_an_administrator_demands_strict_assertions(host: Host) -> None:
    """Off by default; each change is an audit event of the account (S11, L1)."""

    def is_strict(account_id: str = "northwind") -> bool:
        with read_session(host.engine) as session:
            return are_assertions_strict(session, account_id)

    assert "checked" not in host.get("/settings").text
    assert not is_strict()
    for _ in range(2):
        assert host.post("/settings", {"strict_assertions": "y"}).status_code == 303
    assert (is_strict(), is_strict("harbour")) == (True, False)
    assert "checked" in host.get("/settings").text
    host.post("/settings", {})
    assert not is_strict()
    activity = host.get("/activity").text
    assert activity.count("let only strict assertions be accepted") == 1
    assert activity.count("let other than strict assertions be accepted again") == 1


def test_an_administrator_forbids_secrets_to_clients_that_move_money(host: Host) -> None:
    """New ones are created with a key, those with a secret need attention, and nothing of theirs ends (S11, L1)."""
    money = ["MerchantUser", "CreatePayment"]
    before = make_client(host.engine, account_id="northwind", client_id="before-client", roles=money)
    assert 'name="public_key"' not in host.get("/new").text
    assert host.post("/settings", {"keys_only": "y"}).status_code == 303
    assert "checked" in host.get("/settings").text
    assert "forbade secrets to clients that move money" in host.get("/activity").text
    listed = host.get("?attention=secret").text
    assert "before-client" in listed
    assert "Moves money with a secret" in listed
    for htmx in (False, True):
        page = host.get(f"/{before.id}/secret", htmx=htmx).text
        assert "Add a key in its place." in page
        assert 'name="client_secret"' not in page
    refused = host.post("/new", VALUES | {"client_id": "payer-client", "roles": money})
    assert refused.status_code == 422
    assert "Clients that move money have a public key in place of a secret" in refused.text
    private = host.post("/new", VALUES | {"client_id": "payer-client", "public_key": private_pem(private_key())})
    assert private.status_code == 422
    assert "treat it as leaked" in private.text
    assert "BEGIN PRIVATE KEY" not in private.text
    pem = public_pem(private_key())
    for htmx in (False, True):
        values = VALUES | {"client_id": f"payer-client-{htmx}", "roles": money, "public_key": pem}
        created = host.post("/new", values, htmx=htmx)
        assert created.status_code == (200 if htmx else 303)
        assert SECRET not in created.text
    page = host.get(created.headers["Location"] if not htmx else "?q=payer-client-False").text
    assert "payer-client" in page
    with read_session(host.engine) as session:
        [client, _] = session.scalars(
            select(IdentityClient).where(IdentityClient.client_id.startswith("payer")).order_by(IdentityClient.id)
        ).all()
    details = host.get(f"/{client.id}?done=created-with-key").text
    assert "It can ask for tokens with its key from now." in details
    assert "Key 1" in details
    host.post("/settings", {})
    assert "allowed secrets to clients that move money again" in host.get("/activity").text


def test_the_preview_shows_the_role_only_where_the_account_allows_the_api(api_host: Host) -> None:
    """As the next token, which has neither role nor scopes while the switch is off."""
    client = make_client(api_host.engine, account_id="northwind", roles=HELD, catalogue=API_CATALOGUE)
    for allowed in (False, True):
        api_host.post("/settings", {"management_api": "y"} if allowed else {})
        text = api_host.get(f"/{client.id}/preview").text
        assert ("identity-clients:write" in text) is allowed
        assert ('"ManageIdentityClients"' in text.replace("&#34;", '"')) is allowed


def test_the_role_is_marked_as_sensitive(api_host: Host) -> None:
    page = api_host.get("/new").text
    assert page.count("Manages clients") == 1
    api_host.actor = HARBOUR
    client = make_client(api_host.engine, account_id="harbour")
    data = {"roles": ["MerchantUser", "ManageIdentityClients"]}
    note = api_host.post(f"/check/roles?client={client.id}", data, htmx=True).text
    assert "It could change other clients by the management API." in note
