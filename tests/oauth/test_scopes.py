"""Scopes and roles of tokens (P10, P11, P12, A4)."""

import pytest
from sqlalchemy import Engine

from tests.support.endpoint import Endpoint, argon2_computations, change_client
from tests.support.factories import ACCOUNT, SECRET, make_account, make_client
from webapp import ApiRole
from webapp.core.database.models import utc_now

ROLES = ("MerchantUser", "CreatePayment")
ALL = "API payment-requests stored-recipients"
NOT_A_LIST = "The scope is not a list of scopes separated by spaces."
NOT_ALLOWED = "The client may not have every scope that it asked for."
NO_ROLES = "The account holds none of the client's API roles any more."


@pytest.mark.parametrize(
    ("asked", "granted"),
    [
        (None, ALL),
        ("", ALL),
        ("API", "API"),
        ("stored-recipients API", "stored-recipients API"),
        ("API  payment-requests", "API payment-requests"),
        ("  API ", "API"),
        ("API API API", "API"),
        (ALL, ALL),
        (" " * 997 + "API", "API"),
    ],
)
def test_scope_is_the_requested_or_all(endpoint: Endpoint, asked: str | None, granted: str) -> None:
    """Grant the requested scopes, or all when none is requested (P10, P12)."""
    client = make_client(endpoint.engine, roles=ROLES)
    response = endpoint.request_token(client, scope=asked)
    assert response.status_code == 200
    assert response.json is not None
    assert response.json["scope"] == granted


@pytest.mark.parametrize(
    ("asked", "description"),
    [
        (" ", NOT_A_LIST),
        ("   ", NOT_A_LIST),
        ("API\tpayment-requests", NOT_A_LIST),
        ("API\npayment-requests", NOT_A_LIST),
        ("API\r\n", NOT_A_LIST),
        ("API\x0b", NOT_A_LIST),
        ("API\x00", NOT_A_LIST),
        ('AP"I', NOT_A_LIST),
        ("AP\\I", NOT_A_LIST),
        ("APÍ", NOT_A_LIST),
        ("API\x7f", NOT_A_LIST),
        ("API\u00a0", NOT_A_LIST),
        ("API" + " " * 998, NOT_A_LIST),
        ("api", NOT_ALLOWED),
        ("Payment-Requests", NOT_ALLOWED),
        ("reports:read", NOT_ALLOWED),
        ("no-such-scope", NOT_ALLOWED),
        ("API reports:read", NOT_ALLOWED),
        ("API no-such-scope", NOT_ALLOWED),
        ("API,payment-requests", NOT_ALLOWED),
        ("*", NOT_ALLOWED),
    ],
)
def test_unavailable_scope_refuses_the_request(endpoint: Endpoint, asked: str, description: str) -> None:
    """Never narrow the scope; existing and unknown scopes get the same bytes (P11, P10)."""
    response = endpoint.request_token(make_client(endpoint.engine, roles=ROLES), scope=asked)
    assert response.status_code == 400
    assert response.json == {"error": "invalid_scope", "error_description": description}


@pytest.mark.parametrize("scope", ["no-such-scope", "\t", "reports:read"])
def test_scope_is_checked_after_authentication(endpoint: Endpoint, scope: str) -> None:
    """Return invalid_client before invalid_scope (P11)."""
    client = make_client(endpoint.engine)
    with argon2_computations() as hashed:
        assert endpoint.request_token(client, "a-wrong-secret", scope=scope).status_code == 401
    assert len(hashed) == 2


def roles_and_scope(endpoint: Endpoint, scope: str | None = None) -> tuple[int, list[str], str]:
    response = endpoint.request_token("northwind-api", scope=scope)
    if response.status_code != 200:
        return response.status_code, [], ""
    assert response.json is not None
    services = endpoint.services
    claims = services.tokens.verify(response.json["access_token"], services.keys.for_header, utc_now())
    assert claims is not None
    assert claims["scope"] == response.json["scope"]
    return 200, claims["roles"], claims["scope"]


def test_role_withdrawn_from_account_is_not_granted(each_endpoint: Endpoint) -> None:
    """Leave a role out of the next token once the account has lost it (A4)."""
    engine: Engine = each_endpoint.engine
    make_client(engine, client_id="northwind-api", roles=ROLES)
    assert roles_and_scope(each_endpoint) == (200, list(ROLES), ALL)
    make_account(engine, ACCOUNT, grantable_roles={"MerchantUser", "ReportViewer"})
    assert roles_and_scope(each_endpoint) == (200, ["MerchantUser"], "API")
    assert roles_and_scope(each_endpoint, scope="payment-requests")[0] == 400
    make_account(engine, ACCOUNT, grantable_roles=None)
    assert roles_and_scope(each_endpoint) == (200, list(ROLES), ALL)


@pytest.mark.parametrize("asked", [None, "API", "\t"])
def test_client_without_roles_gets_no_token(endpoint: Endpoint, asked: str | None) -> None:
    """Refuse a client all of whose roles were withdrawn from the account (A4)."""
    client = make_client(endpoint.engine, roles=ROLES)
    make_account(endpoint.engine, ACCOUNT, grantable_roles={"ReportViewer"})
    response = endpoint.request_token(client, scope=asked)
    assert response.status_code == 400
    assert response.json == {"error": "invalid_scope", "error_description": NO_ROLES}


def test_role_removed_from_catalogue_is_not_granted(sqlite_engine: Engine) -> None:
    role = ApiRole("MerchantUser", "API access", "Read.", "Read", ("API",))
    endpoint = Endpoint(sqlite_engine, API_ROLES=(role,))
    make_client(sqlite_engine, client_id="northwind-api", roles=ROLES)
    assert roles_and_scope(endpoint) == (200, ["MerchantUser"], "API")


def test_role_change_applies_to_next_request(each_endpoint: Endpoint) -> None:
    """Apply added and removed roles to the next token request (A7)."""
    client = make_client(each_endpoint.engine, client_id="northwind-api", roles=ROLES)
    assert roles_and_scope(each_endpoint)[1] == list(ROLES)
    change_client(each_endpoint.engine, client, roles=frozenset({"ReportViewer"}))
    assert roles_and_scope(each_endpoint) == (200, ["ReportViewer"], "API reports:read")


@pytest.mark.parametrize(("minutes", "seconds"), [(10, 600), (37, 2220), (60, 3600)])
def test_members_of_a_success_response(endpoint: Endpoint, minutes: int, seconds: int) -> None:
    """Return access_token, token_type, expires_in and scope only (P12)."""
    client = make_client(endpoint.engine, token_duration=minutes)
    response = endpoint.request_token(client)
    assert response.json is not None
    assert response.json.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert response.json["token_type"] == "Bearer"
    assert response.json["expires_in"] == seconds
    assert type(response.json["expires_in"]) is int


@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "scope", "foo", "client_assertion"])
def test_response_echoes_no_input(endpoint: Endpoint, name: str) -> None:
    """Echo no request value in a response (P12)."""
    canary = "<script>canary</script>"
    parameters = {
        "grant_type": "client_credentials",
        "client_id": make_client(endpoint.engine).client_id,
        "client_secret": SECRET,
        name: canary,
    }
    response = endpoint.post(parameters)
    assert b"canary" not in response.data
    assert "canary" not in str(response.headers)
