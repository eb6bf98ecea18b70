"""Authentication and scopes of callers of the management API, and the account's switch (A9, A7)."""

from collections.abc import Callable
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import update

from tests.support.api import HELD, READ, WRITE, Api, allow_api, make_caller, problem_of
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_account, make_author
from webapp.core.addresses import AllowedNetwork
from webapp.core.client_changes import revoke_tokens
from webapp.core.clients.enable import set_enabled
from webapp.core.database.models import IdentityClient, utc_now
from webapp.core.database.unit_of_work import unit_of_work

NEW = {"client_id": "another-one", "roles": ["MerchantUser"]}


def change_caller(api: Api, **columns: object) -> None:
    with unit_of_work(api.engine) as session:
        session.execute(update(IdentityClient).where(IdentityClient.id == api.caller.id).values(**columns))


def disable(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        set_enabled(session, author=make_author(), key=api.caller.id, version=1, enabled=False)


def revoke(api: Api) -> None:
    with unit_of_work(api.engine) as session:
        revoke_tokens(session, author=make_author(), key=api.caller.id)


UNAUTHENTICATED: dict[str, Callable[[Api], object]] = {
    "disabled": disable,
    "deleted": lambda api: change_caller(api, deleted_at=utc_now()),
    "revoked": revoke,
    "feature off": lambda api: make_account(api.engine, ACCOUNT, feature_enabled=False),
    "other network": lambda api: change_caller(api, allowed_networks=(AllowedNetwork("192.0.2.0/24", ""),)),
}


@pytest.mark.parametrize("change", UNAUTHENTICATED.values(), ids=UNAUTHENTICATED)
def test_the_end_of_a_token_applies_to_the_next_request(api: Api, change: Callable[[Api], object]) -> None:
    """Disabling, revocation and the like (A7)."""
    token = api.token(api.caller)
    assert api.call("GET", "/clients", token=token).status_code == 200
    change(api)
    response = api.call("GET", "/clients", token=token)
    assert problem_of(response) == (401, "unauthenticated")
    assert response.headers["WWW-Authenticate"] == 'Bearer realm="identity", error="invalid_token"'


@pytest.mark.parametrize("after_minutes", [59, 61])
def test_an_expired_token_is_refused(api: Api, after_minutes: int) -> None:
    with time_machine.travel(utc_now(), tick=False) as clock:
        token = api.token(api.caller)
        clock.shift(timedelta(minutes=after_minutes))
        assert api.call("GET", "/clients", token=token).status_code == (200 if after_minutes < 60 else 401)


@pytest.mark.parametrize(
    ("header", "challenge"),
    [
        (None, "Bearer realm="),
        ("Basic ZGVwbG95ZXI6c2VjcmV0", "Bearer realm="),
        ("Bearer", "invalid_token"),
        ("Bearer a b", "invalid_token"),
        ("Bearer not.a.token", "invalid_token"),
    ],
)
def test_a_request_without_a_valid_token_is_challenged(api: Api, header: str | None, challenge: str) -> None:
    """The error code is left out where no token was sent (RFC 6750 section 3)."""
    headers = {} if header is None else {"Authorization": header}
    response = api.client.get("/api/identity-clients/v1/clients", headers=headers)
    assert problem_of(response) == (401, "unauthenticated")
    assert challenge in response.headers["WWW-Authenticate"]
    assert ("invalid_token" in response.headers["WWW-Authenticate"]) == (challenge == "invalid_token")


def test_the_scheme_is_matched_in_any_letter_case(api: Api) -> None:
    header = {"Authorization": f"bearer {api.token(api.caller)}"}
    assert api.client.get("/api/identity-clients/v1/clients", headers=header).status_code == 200


@pytest.mark.parametrize(
    ("scope", "method", "status"),
    [(READ, "GET", 200), (WRITE, "GET", 403), (READ, "POST", 403), (WRITE, "POST", 201), ("API", "GET", 403)],
)
def test_each_operation_needs_its_scope(api: Api, scope: str, method: str, status: int) -> None:
    """Reading and writing have separate scopes (A9)."""
    token = api.token(api.caller, scope=scope)
    response = api.call(method, "/clients", NEW if method == "POST" else None, token=token)
    assert response.status_code == status
    if status == 403:
        needed = WRITE if method == "POST" else READ
        assert problem_of(response) == (403, "scope-missing")
        expected = f'Bearer realm="identity", error="insufficient_scope", scope="{needed}"'
        assert response.headers["WWW-Authenticate"] == expected


def test_a_role_that_the_caller_loses_is_missing_at_once(api: Api) -> None:
    """Removed from the client, or no longer granted by the account (A7, A4)."""
    token = api.token(api.caller)
    make_account(api.engine, grantable_roles=["MerchantUser"])
    assert problem_of(api.call("GET", "/clients", token=token)) == (403, "scope-missing")
    make_account(api.engine, grantable_roles=None)
    change_caller(api, roles=frozenset({"MerchantUser"}))
    assert problem_of(api.call("GET", "/clients", token=token)) == (403, "scope-missing")


def test_an_account_has_to_allow_the_api(api: Api) -> None:
    """It is off by default: no token gets its scopes, and an earlier token is refused."""
    token = api.token(api.caller)
    allow_api(api.engine, allowed=False)
    assert problem_of(api.call("GET", "/clients", token=token)) == (403, "api-not-allowed")
    assert api.request_token(api.caller, scope=READ).json == {
        "error": "invalid_scope",
        "error_description": "The client may not have every scope that it asked for.",
    }
    assert api.request_token(api.caller).json["scope"] == "API reports:read"  # type: ignore[index]
    other = make_caller(api.engine, "other-deployer", HELD, account_id=OTHER_ACCOUNT)
    assert api.request_token(other, scope=READ).status_code == 400
    allow_api(api.engine, OTHER_ACCOUNT)
    assert api.request_token(other, scope=READ).status_code == 200


def test_refusals_are_in_the_audit_log_under_the_client_id(api: Api) -> None:
    """With the caller as the actor (A9)."""
    api.call("POST", "/clients", NEW, token=api.token(api.caller, scope=READ))
    [event, *_] = api.events()
    assert (event["actor"], event["actor_id"]) == ("deployer", f"client:{api.caller.id}")
    assert event["changes"] == {"refusal": [None, "not allowed"], "attempt": [None, "new"]}
