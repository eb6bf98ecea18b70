"""`Idempotency-Key`: a repeated POST changes nothing and shows no secret again."""

from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import func, select

from tests.support.api import Api, allow_api, make_caller, problem_of
from tests.support.concurrency import run_concurrently
from tests.support.factories import OTHER_ACCOUNT, make_account, make_client
from webapp.core import idempotency
from webapp.core.database.models import IdempotentResponse, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work

BODY = {"client_id": "claims-feed", "roles": ["MerchantUser"]}
KEY = {"Idempotency-Key": "4f9a5a1e-3f1c-4b5e-9d0c-6a1f8f5d2a11"}


def count_clients(api: Api) -> int:
    with read_session(api.engine) as session:
        return session.scalar(select(func.count()).select_from(IdentityClient)) or 0


def test_a_repeated_request_gets_the_same_response_without_the_secret(each_api: Api) -> None:
    """The secret is in the first response only, and not in the table (S6)."""
    first = each_api.call("POST", "/clients", BODY, headers=KEY)
    again = each_api.call("POST", "/clients", BODY, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert (first.json or {})["client_secret"]
    assert again.json == {**(first.json or {}), "client_secret": None}
    assert (again.headers["ETag"], again.headers["Location"]) == (first.headers["ETag"], first.headers["Location"])
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    assert count_clients(each_api) == 2
    with read_session(each_api.engine) as session:
        stored = session.scalars(select(IdempotentResponse)).one()
    assert (first.json or {})["client_secret"] not in f"{stored.body}{stored.headers}{stored.fingerprint}"


def test_a_rotation_is_repeated_with_its_former_version(api: Api) -> None:
    """Without the key the repeated request would be stale (S7)."""
    client = make_client(api.engine)
    path = f"/clients/{client.id}/secrets"
    first = api.call("POST", path, {}, version=1, headers=KEY)
    again = api.call("POST", path, {}, version=1, headers=KEY)
    assert (again.status_code, again.json["id"]) == (201, first.json["id"])  # type: ignore[index]
    assert problem_of(api.call("POST", path, {}, version=1)) == (412, "stale-version")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/clients", {**BODY, "name": "Other"}),
        ("POST", "/clients", {**BODY, "client_secret": "chosen secret"}),
        ("POST", "/clients/{id}/revoke-tokens", None),
    ],
)
def test_a_key_belongs_to_one_request(api: Api, method: str, path: str, body: Any) -> None:
    client = make_client(api.engine)
    assert api.call("POST", "/clients", BODY, headers=KEY).status_code == 201
    response = api.call(method, path.format(id=client.id), body, headers=KEY)
    assert problem_of(response) == (422, "idempotency-key-reused")


def test_a_key_belongs_to_one_caller(api: Api) -> None:
    other = make_caller(api.engine, "other-deployer")
    make_account(api.engine, OTHER_ACCOUNT)
    allow_api(api.engine, OTHER_ACCOUNT)
    foreign = make_caller(api.engine, "foreign-deployer", account_id=OTHER_ACCOUNT)
    for number, caller in enumerate((api.caller, other, foreign)):
        body = {**BODY, "client_id": f"claims-{number}"}
        response = api.call("POST", "/clients", body, headers=KEY, token=api.token(caller))
        assert (response.status_code, response.headers.get("Idempotent-Replayed")) == (201, None)


@pytest.mark.parametrize(("hours", "is_replayed"), [(23.9, True), (24.1, False)])
def test_a_key_is_stored_for_24_hours(api: Api, hours: float, is_replayed: bool) -> None:
    client = make_client(api.engine)
    path = f"/clients/{client.id}/revoke-tokens"
    with time_machine.travel(utc_now(), tick=False) as clock:
        api.call("POST", path, headers=KEY)
        clock.shift(timedelta(hours=hours))
        again = api.call("POST", path, headers=KEY)
        assert (again.status_code, "Idempotent-Replayed" in again.headers) == (204, is_replayed)


def test_the_purge_deletes_stored_responses(api: Api) -> None:
    api.call("POST", "/clients", BODY, headers=KEY)
    for hours, kept in ((23.9, 1), (24.1, 0)):
        with unit_of_work(api.engine) as session:
            idempotency.purge_responses(session, utc_now() + timedelta(hours=hours))
            assert session.scalar(select(func.count()).select_from(IdempotentResponse)) == kept


def test_a_refused_request_does_not_use_its_key(api: Api) -> None:
    refused = api.call("POST", "/clients", {**BODY, "client_id": "x"}, headers=KEY)
    assert problem_of(refused) == (422, "invalid-fields")
    assert api.call("POST", "/clients", BODY, headers=KEY).status_code == 201


def test_simultaneous_requests_with_one_key_create_one_client(each_api: Api) -> None:
    token = each_api.token(each_api.caller)

    def create() -> tuple[int, bool]:
        headers = {"Authorization": f"Bearer {token}", **KEY}
        response = each_api.app.test_client().post("/api/identity-clients/v1/clients", json=BODY, headers=headers)
        return response.status_code, "Idempotent-Replayed" in response.headers

    answers = run_concurrently([create] * 4)
    assert sorted(answers) == [(201, False), (201, True), (201, True), (201, True)]
    assert count_clients(each_api) == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "ключ"])
def test_a_malformed_key_is_400(api: Api, key: str) -> None:
    response = api.call("POST", "/clients", BODY, headers={"Idempotency-Key": key})
    assert problem_of(response) == (400, "malformed-request")
