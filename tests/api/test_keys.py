"""Public keys through the API: add, end, pause, resume, end date (S7, S8, S11)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.support.api import API_CATALOGUE, HELD, Api, fields_of, make_caller, problem_of
from tests.support.factories import make_author, make_client
from tests.support.keys import add_key, assertion_of, private_key, private_pem, public_pem, with_assertion
from webapp.core.account_settings import set_keys_only
from webapp.core.database.models import ClientKey, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.secrets.public_keys import parse_public_key


def add(api: Api, client: IdentityClient, version: int, public_key: Any) -> Any:
    return api.call("POST", f"/clients/{client.id}/keys", {"public_key": public_key}, version=version)


def jwk(number: int = 1, **members: Any) -> dict[str, Any]:
    return {**json.loads(parse_public_key(public_pem(private_key(number=number))).jwk), **members}


def keys_of(api: Api, client: IdentityClient) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = api.call("GET", f"/clients/{client.id}/keys").json["items"]  # type: ignore[index]
    return items


def act(api: Api, client: IdentityClient, number: int, action: str, version: int, body: Any = None) -> Any:
    path = f"/clients/{client.id}/keys/{keys_of(api, client)[number - 1]['id']}/{action}"
    return api.call("PUT" if action == "end-date" else "POST", path, body, version=version)


@pytest.mark.parametrize(
    "public_key",
    [public_pem(private_key()), jwk(), jwk(kid="mine", use="sig", alg="ES256"), json.dumps(jwk()), {"keys": [jwk()]}],
    ids=["PEM", "JWK", "JWK with more members", "JWK as text", "JWK Set"],
)
def test_a_key_is_added_as_pem_or_jwk_and_gets_tokens(api: Api, public_key: Any) -> None:
    client = make_client(api.engine)
    added = add(api, client, 1, public_key)
    assert (added.status_code, added.headers["ETag"]) == (201, '"2"'), added.text
    assert added.headers["Location"].endswith(f"/clients/{client.id}/keys/{added.json['id']}")
    assert api.call("GET", added.headers["Location"]).json == added.json
    assert keys_of(api, client) == [added.json]
    thumbprint = parse_public_key(public_pem(private_key())).thumbprint
    expected = {"label": "1", "state": "current", "algorithm": "ES256", "thumbprint": thumbprint, "ends_at": None}
    assert expected.items() <= added.json.items()
    assert api.post(with_assertion(assertion_of(client))).status_code == 200
    [event] = api.events(action="client key added")
    assert (event["actor"], event["client_id"]) == (api.caller.client_id, client.client_id)


REFUSED: dict[str, tuple[Any, str]] = {
    "private PEM": (private_pem(private_key()), "This is a private key."),
    "private JWK": (jwk(d="canary-canary"), "This is a private key."),
    "symmetric": ({"kty": "oct", "k": "canary-canary"}, "This is a private key."),
    "no key": ("a key", "This is no public key"),
    "empty": ("", "Paste a public key"),
    "empty object": ({}, "Use a key of one of these types"),
    "type is a list": (jwk(kty=["EC"]), "Use a key of one of these types"),
    "RSA of another use": (jwk(use="enc"), "This key is for encryption"),
}


@pytest.mark.parametrize(("public_key", "message"), REFUSED.values(), ids=REFUSED)
def test_a_key_that_cannot_be_used_is_refused(api: Api, public_key: Any, message: str) -> None:
    """A private one is neither stored nor repeated, and the response says what to do (S11)."""
    client = make_client(api.engine)
    response = add(api, client, 1, public_key)
    assert (problem_of(response), fields_of(response)) == ((422, "invalid-fields"), ["#/public_key"])
    [error] = response.json["errors"]
    assert error["detail"].startswith(message)
    if "private" in message:
        assert "treat it as leaked" in error["detail"]
    assert "canary" not in response.text
    with read_session(api.engine) as session:
        assert session.scalars(select(ClientKey)).all() == []


@pytest.mark.parametrize("public_key", [None, 1, ["x"]])
def test_a_key_is_text_or_an_object(api: Api, public_key: Any) -> None:
    response = add(api, make_client(api.engine), 1, public_key)
    assert problem_of(response) == (400, "malformed-request")


def test_a_registered_key_is_not_added_again_and_five_are_the_most(api: Api) -> None:
    """Keys that have ended do not count (S11)."""
    client = make_client(api.engine)
    for number in range(1, 6):
        assert add(api, client, number, jwk(number)).status_code == 201
    sixth = add(api, client, 6, jwk(6))
    assert problem_of(sixth) == (409, "too-many-keys")
    assert sixth.json["detail"] == "5 keys have not ended. End key 1, the oldest, first."
    assert act(api, client, 1, "end", 6).status_code == 200
    assert fields_of(add(api, client, 7, jwk(1))) == ["#/public_key"]
    assert add(api, client, 7, jwk(6)).json["label"] == "6"


def test_pause_resume_end_and_end_date(api: Api) -> None:
    client = make_client(api.engine)
    add(api, client, 1, jwk())
    ends_at = (utc_now() + timedelta(days=30)).replace(microsecond=0)
    dated = act(api, client, 1, "end-date", 2, {"ends_at": ends_at.isoformat()})
    assert (dated.json["state"], dated.json["ends_at"]) == ("ending", ends_at.isoformat().replace("+00:00", "Z"))
    assert act(api, client, 1, "pause", 3).json["state"] == "paused"
    assert api.post(with_assertion(assertion_of(client))).status_code == 401
    assert act(api, client, 1, "resume", 4).json["state"] == "ending"
    used = api.post(with_assertion(assertion_of(client)))
    assert used.status_code == 200
    assert act(api, client, 1, "end", 5).json["state"] == "ended"
    assert problem_of(act(api, client, 1, "resume", 6)) == (409, "secret-ended")
    assert [event["action"] for event in api.events()[:4]] == [
        "client key ended",
        "client key resumed",
        "client key paused",
        "client key end date set",
    ]


@pytest.mark.parametrize("action", ["end", "pause"])
def test_the_last_live_credential_stays(api: Api, action: str) -> None:
    """Whether a secret or a key: it can be neither ended nor paused (S7)."""
    client = make_client(api.engine)
    add(api, client, 1, jwk())
    path = f"/clients/{client.id}/secrets/{client.secrets[0].id}/{action}"
    assert api.call("POST", path, version=2).status_code == 200
    refused = act(api, client, 1, action, 3, {"confirmed": True})
    assert problem_of(refused) == (409, "last-secret")
    assert "key 1 is the only one that works" in refused.json["detail"]
    assert api.post(with_assertion(assertion_of(client))).status_code == 200


def test_a_key_of_another_client_and_a_secret_are_absent(api: Api) -> None:
    client, other = make_client(api.engine), make_client(api.engine)
    for absent in (add_key(api.engine, other).id, client.secrets[0].id):
        assert api.call("GET", f"/clients/{client.id}/keys/{absent}").status_code == 404
        assert api.call("POST", f"/clients/{client.id}/keys/{absent}/end", version=1).status_code == 404


# In place of a secret


def test_a_client_is_created_with_a_key_and_no_secret(api: Api) -> None:
    created = api.create(client_id="client-with-key", public_key=jwk())
    assert created["client_secret"] is None
    path = f"/clients/{created['id']}"
    assert api.call("GET", f"{path}/secrets").json["items"] == []  # type: ignore[index]
    [key] = api.call("GET", f"{path}/keys").json["items"]  # type: ignore[index]
    assert key["label"] == "1"
    both = {
        "client_id": "another-client",
        "roles": ["MerchantUser"],
        "public_key": jwk(2),
        "client_secret": "chosen one",
    }
    assert fields_of(api.call("POST", "/clients", both)) == ["#/public_key"]


def test_an_account_forbids_secrets_to_clients_that_move_money(api: Api) -> None:
    """At creation, for a new role and for a new secret, by the rules of the screens."""
    caller = make_caller(api.engine, "payment-deployer", roles=(*HELD, "CreatePayment"))
    money, token = ["MerchantUser", "CreatePayment"], api.token(caller)
    before = make_client(api.engine, roles=money)
    with unit_of_work(api.engine) as session:
        set_keys_only(session, author=make_author(), money_roles=API_CATALOGUE.money_roles, enabled=True)
    body = {"client_id": "payer-client", "roles": money}
    for members in ({}, {"client_secret": "a secret of my choice"}):
        refused = api.call("POST", "/clients", body | members, token=token)
        assert (problem_of(refused), fields_of(refused)) == ((422, "invalid-fields"), ["#/public_key"])
    assert api.call("POST", "/clients", {**body, "public_key": jwk()}, token=token).status_code == 201
    harmless = make_client(api.engine)
    patched = api.call("PATCH", f"/clients/{harmless.id}", {"roles": money}, version=1, token=token)
    assert (problem_of(patched), fields_of(patched)) == ((422, "invalid-fields"), ["#/roles"])
    rotated = api.call("POST", f"/clients/{before.id}/secrets", {}, version=1, token=token)
    assert (problem_of(rotated), fields_of(rotated)) == ((422, "invalid-fields"), ["#/client_secret"])
    assert "Add a key" in rotated.text
    listed = api.call("GET", "/clients?attention=secret").json["items"]  # type: ignore[index]
    assert [client["id"] for client in listed] == [str(before.id), str(caller.id)]
