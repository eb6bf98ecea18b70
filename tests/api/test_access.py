"""Access of a caller to other clients: its own account, roles that it holds, and never itself (A9)."""

from typing import Any

import pytest

from tests.support.api import Api, allow_api, fields_of, make_caller, problem_of
from tests.support.factories import OTHER_ACCOUNT, make_account, make_client
from tests.support.keys import add_key, private_key, public_pem
from webapp.api.resources import RESOURCES
from webapp.core.database.models import IdentityClient

ABSENT = "018f0000-0000-7000-8000-000000000000"
BODIES: dict[str, Any] = {
    "createClient": {"client_id": "another-one", "roles": ["MerchantUser"]},
    "updateClient": {"name": "A name"},
    "createSecret": {},
    "setEndDate": {"ends_at": None},
    "addKey": {"public_key": public_pem(private_key())},
    "setKeyEndDate": {"ends_at": None},
    "setNetworks": {"networks": []},
}
WITH_KEY = [
    (path, method, operation)
    for path, _, operations in RESOURCES
    if "<key>" in path
    for method, operation in operations.items()
]
CHANGES = [(path, method, operation) for path, method, operation in WITH_KEY if method != "GET"]
IDS = [operation.id for _, _, operation in WITH_KEY]


def request(
    api: Api, path: str, method: str, operation: Any, client: IdentityClient, key: str = "", key_id: str = ABSENT
) -> Any:
    url = path.replace("<key>", key or str(client.id)).replace("<secret_id>", str(client.secrets[0].id))
    version = (client.version if key_id == ABSENT else client.version + 1) if operation.needs_version else None
    return api.call(method, url.replace("<key_id>", key_id), BODIES.get(operation.id), version=version)


@pytest.mark.parametrize(("path", "method", "operation"), WITH_KEY, ids=IDS)
def test_a_client_of_another_account_is_absent(api: Api, path: str, method: str, operation: Any) -> None:
    """A foreign client, an absent one and a malformed ID get equal bytes (A3)."""
    foreign = make_client(api.engine, account_id=OTHER_ACCOUNT)
    answers = [
        request(api, path, method, operation, foreign, key) for key in (str(foreign.id), ABSENT, "x", ABSENT.upper())
    ]
    assert {problem_of(answer) for answer in answers} == {(404, "not-found")}
    assert len({answer.data for answer in answers}) == 1


def test_lists_hold_the_own_account_only(api: Api) -> None:
    """Clients and events of other accounts are left out (A9)."""
    make_client(api.engine, account_id=OTHER_ACCOUNT, client_id="foreign-client")
    for path in ("/clients", "/events"):
        assert b"foreign-client" not in api.call("GET", path).data


@pytest.mark.parametrize(("path", "method", "operation"), CHANGES, ids=[operation.id for _, _, operation in CHANGES])
def test_a_caller_cannot_change_itself(api: Api, path: str, method: str, operation: Any) -> None:
    """By any operation that changes a client (A9)."""
    assert problem_of(request(api, path, method, operation, api.caller)) == (403, "own-client")


@pytest.mark.parametrize(("path", "method", "operation"), CHANGES, ids=[operation.id for _, _, operation in CHANGES])
def test_a_change_needs_every_role_of_the_client_unless_it_only_removes_access(
    api: Api, path: str, method: str, operation: Any
) -> None:
    """With a new secret of a client the caller could act with its roles (A9)."""
    client = make_client(api.engine, roles=["MerchantUser", "CreatePayment"])
    key = add_key(api.engine, client, private_key(number=2))
    response = request(api, path, method, operation, client, key_id=str(key.id))
    if operation.id in ("disableClient", "revokeTokens", "pauseSecret", "endSecret", "pauseKey", "endKey"):
        assert response.status_code in (200, 204, 409), response.text
    else:
        assert problem_of(response) == (403, "role-not-held")
        assert response.json["detail"] == "You do not hold CreatePayment."


@pytest.mark.parametrize(
    ("roles", "expected"),
    [
        (["MerchantUser", "ReportViewer"], None),
        (["ManageIdentityClients"], None),
        (["CreatePayment"], (403, "role-not-held")),
        (["MerchantUser", "UploadBatches"], (403, "role-not-held")),
        (["NoSuchRole"], (422, "invalid-fields")),
        ([], (422, "invalid-fields")),
    ],
)
def test_a_caller_grants_only_roles_that_it_holds(api: Api, roles: list[str], expected: tuple[int, str] | None) -> None:
    """At creation and in an update (A9)."""
    created = api.call("POST", "/clients", {"client_id": "another-one", "roles": roles})
    client = make_client(api.engine)
    updated = api.call("PATCH", f"/clients/{client.id}", {"roles": roles}, version=1)
    if expected is None:
        assert (created.status_code, updated.status_code) == (201, 200)
    else:
        assert [problem_of(created), problem_of(updated)] == [expected] * 2
        assert [fields_of(created), fields_of(updated)] == [["#/roles"]] * 2


def test_a_role_withdrawn_from_the_account_is_not_held(api: Api) -> None:
    """The caller's own client may still have it (A4)."""
    make_account(api.engine, grantable_roles=["ManageIdentityClients", "MerchantUser"])
    response = api.call("POST", "/clients", {"client_id": "another-one", "roles": ["ReportViewer"]})
    assert problem_of(response) == (403, "role-not-held")


def test_two_accounts_with_callers_are_separate(api: Api) -> None:
    make_account(api.engine, OTHER_ACCOUNT)
    allow_api(api.engine, OTHER_ACCOUNT)
    other = make_caller(api.engine, "harbour-deployer", account_id=OTHER_ACCOUNT)
    token = api.token(other)
    assert api.call("GET", f"/clients/{api.caller.id}", token=token).status_code == 404
    [own] = api.call("GET", "/clients", token=token).json["items"]  # type: ignore[index]
    assert own["id"] == str(other.id)
