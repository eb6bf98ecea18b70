"""Introspection (RFC 7662): authorised callers and responses (T3, T5, T6, T8, T10, T11, A7)."""

import base64
import json
import logging
import socket
from collections.abc import Callable
from typing import Any

import jwt
import pytest
import time_machine
from sqlalchemy import Engine, select, update
from werkzeug.test import TestResponse

from tests.support.endpoint import (
    API_SECRET,
    AUDIENCE,
    ISSUER,
    Endpoint,
    add_api,
    argon2_computations,
    basic_header,
    change_client,
    statements,
)
from tests.support.factories import ACCOUNT, HASHER, OTHER_ACCOUNT, SECRET, make_account, make_author, make_client
from tests.support.refusals import GENERATED_SECRET, WRONG_GENERATED_SECRET
from webapp.core import client_changes
from webapp.core.clients.client_ids import is_client_id_taken
from webapp.core.database.models import AuditEvent, IdentityClient, ResourceServer, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, InvalidFields
from webapp.core.secrets.generation import Secret
from webapp.core.tokens.access_tokens import AccessTokens
from webapp.core.tokens.resource_servers import add_resource_server, list_resource_servers, remove_resource_server

PARAMETERS = "$argon2id$v=19$m=19456,t=2,p=1"
INACTIVE = b'{"active": false}'


def claims_of(token: str) -> dict[str, Any]:
    return dict(jwt.decode(token, options={"verify_signature": False}))


def is_active(response: TestResponse) -> bool:
    assert response.status_code == 200
    assert response.json is not None
    if not response.json["active"]:
        assert response.data == INACTIVE
    return bool(response.json["active"])


def issue(
    endpoint: Endpoint, client: IdentityClient, tokens: AccessTokens | None = None, lifetime_seconds: int = 600
) -> str:
    """Sign a token with the endpoint's key."""
    return (tokens or endpoint.services.tokens).issue(
        endpoint.services.keys.signing_key(utc_now()),
        client_id=client.client_id,
        account_id=ACCOUNT,
        roles=["MerchantUser"],
        scope="API",
        lifetime_seconds=lifetime_seconds,
        generation=0,
        now=utc_now(),
    )


@pytest.mark.parametrize("by", ["resource server", "the client itself"])
def test_active_token_returns_its_claims(each_endpoint: Endpoint, by: str) -> None:
    """Return `active: true` and the claims of the token (T10, T11)."""
    client = make_client(each_endpoint.engine, roles=("MerchantUser", "CreatePayment"))
    token = each_endpoint.token(client, scope="API stored-recipients")
    caller = client if by == "the client itself" else add_api(each_endpoint.engine)
    response = each_endpoint.introspect(token, caller)
    claims = claims_of(token)
    names = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")
    assert response.status_code == 200
    assert response.json == {"active": True, "token_type": "Bearer"} | {name: claims[name] for name in names}
    assert (response.json["scope"], response.json["aud"]) == ("API stored-recipients", AUDIENCE)


def test_tokens_of_other_clients_are_inactive(each_endpoint: Endpoint) -> None:
    """Return identical bytes and headers for other clients' tokens, of any account, and for garbage (T10)."""
    engine = each_endpoint.engine
    client, neighbour = make_client(engine), make_client(engine)
    foreigner = make_client(engine, account_id=OTHER_ACCOUNT)
    token = each_endpoint.token(client)
    answers = [each_endpoint.introspect(token, neighbour), each_endpoint.introspect(token, foreigner)]
    answers += [each_endpoint.introspect("garbage", client), each_endpoint.introspect("garbage", add_api(engine))]
    assert {answer.data for answer in answers} == {INACTIVE}
    headers = [[pair for pair in answer.headers if pair[0] != "X-Request-ID"] for answer in answers]
    assert headers == [headers[0]] * 4
    assert is_active(each_endpoint.introspect(token, client))


def resigned(header: dict[str, Any]) -> Callable[[Endpoint, str], str]:
    """Return a function that signs the claims of a token with the right key under another header."""

    def sign(endpoint: Endpoint, token: str) -> str:
        encoded = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
        unsigned = f"{encoded}.{token.split('.')[1]}"
        signature = endpoint.services.keys.signing_key(utc_now()).sign(unsigned.encode())
        return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    return sign


ES256 = {"alg": "ES256", "typ": "at+jwt"}
HOSTILE: dict[str, Callable[[Endpoint, str], str]] = {
    "garbage": lambda _, __: "garbage",
    "not ASCII": lambda _, token: f"{token}é",
    "NUL": lambda _, token: f"{token}\0",
    "changed claims": lambda _, token: token.replace(".", ".A", 1),
    "no signature": lambda _, token: token.rpartition(".")[0] + ".",
    "alg none": resigned({"alg": "none", "typ": "at+jwt"}),
    "typ JWT": resigned({"alg": "ES256", "typ": "JWT"}),
    "no kid": resigned(ES256),
    "unknown kid": resigned(ES256 | {"kid": "unknown"}),
    "a list of kids": resigned(ES256 | {"kid": ["a", "b"]}),
    "a path as kid": resigned(ES256 | {"kid": "../../etc/passwd"}),
    "SQL as kid": resigned(ES256 | {"kid": "' OR '1'='1"}),
    "a kid of 65 characters": resigned(ES256 | {"kid": "x" * 65}),
    "a key set's address": resigned(ES256 | {"kid": "x", "jku": "https://evil.example/jwks.json"}),
    "a certificate's address": resigned(ES256 | {"kid": "x", "x5u": "https://evil.example/cert.pem"}),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_token_is_inactive(endpoint: Endpoint, hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Report a crafted token as inactive without any outgoing connection (T6, T5)."""
    client = make_client(endpoint.engine)
    token = HOSTILE[hostile](endpoint, endpoint.token(client))

    def refuse(*_: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert endpoint.introspect(token, client).data == INACTIVE


def test_token_of_another_audience_or_issuer_is_inactive(endpoint: Endpoint) -> None:
    """Report tokens with another audience or issuer as inactive (T4, T5)."""
    client = make_client(endpoint.engine)
    assert is_active(endpoint.introspect(issue(endpoint, client), client))
    for tokens in (AccessTokens(ISSUER, "https://other.example"), AccessTokens("https://other.example", AUDIENCE)):
        assert not is_active(endpoint.introspect(issue(endpoint, client, tokens), client))


@pytest.mark.parametrize(("after", "active"), [(599, True), (600, False)])
def test_token_is_inactive_from_exp(endpoint: Endpoint, after: int, active: bool) -> None:
    """Report a token as inactive from its `exp` on (T11)."""
    client, api = make_client(endpoint.engine, token_duration=10), add_api(endpoint.engine)
    with time_machine.travel("2026-03-01 12:00:00+00:00", tick=False) as clock:
        token = endpoint.token(client)
        clock.shift(after)
        assert is_active(endpoint.introspect(token, api)) is active


def withdraw_the_key(endpoint: Endpoint, client: IdentityClient) -> None:
    endpoint.services.keys.withdraw(endpoint.services.keys.signing_key(utc_now()).kid, utc_now(), "tests")


def revoke_all(endpoint: Endpoint, client: IdentityClient) -> None:
    with unit_of_work(endpoint.engine) as session:
        client_changes.revoke_tokens(session, author=make_author(), key=client.id)


STOPS: dict[str, Callable[[Endpoint, IdentityClient], None]] = {
    "disabled": lambda endpoint, client: change_client(endpoint.engine, client, enabled=False),
    "deleted": lambda endpoint, client: change_client(endpoint.engine, client, deleted_at=utc_now()),
    "feature off": lambda endpoint, _: make_account(endpoint.engine, feature_enabled=False),
    "tokens revoked": revoke_all,
    "key withdrawn": withdraw_the_key,
}


@pytest.mark.parametrize("stop", STOPS)
def test_disabling_and_revoking_apply_to_every_process(each_endpoint: Endpoint, stop: str) -> None:
    """Report a token as inactive at once, also where its key and secret are cached (T8, T11, A7)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    processes = (each_endpoint, Endpoint(each_endpoint.engine))
    token = each_endpoint.token(client)
    assert [is_active(process.introspect(token, api)) for process in processes] == [True, True]
    STOPS[stop](each_endpoint, client)
    assert [is_active(process.introspect(token, api)) for process in processes] == [False, False]


def test_tokens_are_active_after_client_is_enabled_again(endpoint: Endpoint) -> None:
    """Report unexpired tokens as active after the client is enabled again (T11)."""
    client, api = make_client(endpoint.engine), add_api(endpoint.engine)
    token = endpoint.token(client)
    change_client(endpoint.engine, client, enabled=False)
    assert endpoint.introspect(token, client).status_code == 401
    change_client(endpoint.engine, client, enabled=True)
    assert is_active(endpoint.introspect(token, api))


def test_token_with_new_key_of_another_process_is_active(endpoint: Endpoint) -> None:
    """Load a signing key that this process has not seen yet."""
    client, api = make_client(endpoint.engine), add_api(endpoint.engine)
    other = Endpoint(endpoint.engine)
    first = other.token(client)
    assert is_active(endpoint.introspect(first, api))
    withdraw_the_key(other, client)
    second = other.token(client)
    assert is_active(endpoint.introspect(second, api))
    assert not is_active(endpoint.introspect(first, api))


def test_token_of_former_client_id_belongs_to_client(each_endpoint: Endpoint) -> None:
    """Match a token to its client after the client ID was changed (T3)."""
    engine = each_endpoint.engine
    client, api = make_client(engine, client_id="Northwind-Old"), add_api(engine)
    token = each_endpoint.token(client)
    change_client(engine, client, client_id="northwind-new", client_id_folded="northwind-new")
    renamed = ("northwind-new", SECRET)
    assert is_active(each_endpoint.introspect(token, api))
    assert is_active(each_endpoint.introspect(token, renamed))
    assert each_endpoint.introspect(token, ("Northwind-Old", SECRET)).status_code == 401
    with unit_of_work(engine) as session:
        client_changes.revoke_tokens(session, author=make_author(), key=client.id)
    assert not is_active(each_endpoint.introspect(token, api))


@pytest.mark.parametrize("parameters", [{}, {"token": ""}, {"token_type_hint": "access_token"}])
def test_missing_token_parameter_is_refused(endpoint: Endpoint, parameters: dict[str, str]) -> None:
    """Return invalid_request without the `token` parameter (T10)."""
    header = {"Authorization": basic_header(*add_api(endpoint.engine))}
    response = endpoint.post(parameters, "/connect/introspect", headers=header)
    assert (response.status_code, response.json) == (
        400,
        {"error": "invalid_request", "error_description": "The parameter token is missing."},
    )
    assert endpoint.post(parameters, "/connect/introspect").status_code == 401


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "pass_token", "é"])
def test_hint_and_unknown_parameters_are_ignored(endpoint: Endpoint, hint: str) -> None:
    """Ignore `token_type_hint` and unknown parameters (T10)."""
    client = make_client(endpoint.engine)
    form = {"client_id": client.client_id, "client_secret": SECRET, "token": endpoint.token(client)}
    assert is_active(endpoint.post({**form, "token_type_hint": hint, "more": "1"}, "/connect/introspect"))


# Resource servers


def remove(engine: Engine, name: str) -> None:
    with unit_of_work(engine) as session:
        remove_resource_server(session, actor="tests", name=name)


Arrange = Callable[[Endpoint, IdentityClient], None]
CAUSES: dict[str, tuple[str, str, Arrange]] = {
    "unknown": ("unknown caller", SECRET, lambda _, __: None),
    "client, wrong secret": ("client", "a-wrong-secret", lambda _, __: None),
    "resource server, wrong secret": ("api", "a-wrong-secret", lambda _, __: None),
    "disabled": ("client", SECRET, lambda e, client: change_client(e.engine, client, enabled=False)),
    "feature off": ("client", SECRET, lambda e, _: make_account(e.engine, feature_enabled=False)),
    "resource server removed": ("api", API_SECRET, lambda e, _: remove(e.engine, "payments-api")),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_refusals_are_identical_in_response_and_cost(each_endpoint: Endpoint, cause: str) -> None:
    """Return identical refusals at identical cost, also after earlier successes of both callers (P8, P7)."""
    client, (api, secret) = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    token = each_endpoint.token(client)
    assert is_active(each_endpoint.introspect(token, client))
    assert is_active(each_endpoint.introspect(token, (api, secret)))
    name, given, arrange = CAUSES[cause]
    arrange(each_endpoint, client)
    caller = {"unknown caller": "no-such-client", "client": client.client_id, "api": api}[name], given
    with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        response = each_endpoint.introspect(token, caller)
    assert (response.status_code, response.data) == (401, b'{"error": "invalid_client"}')
    assert hashed == [PARAMETERS] * 2
    assert len(seen) == 2


def test_resource_server_may_only_introspect(endpoint: Endpoint) -> None:
    """Refuse token requests and revocations of a resource server (T10)."""
    client, api = make_client(endpoint.engine), add_api(endpoint.engine)
    token = endpoint.token(client)
    assert endpoint.request_token(*api).status_code == 401
    assert endpoint.revoke(token, api).status_code == 401
    assert is_active(endpoint.introspect(token, api))


def test_resource_server_secret_is_hashed_like_a_clients(each_endpoint: Endpoint) -> None:
    """Store argon2id with the product's parameters, and cache a successful verification (S1, S9)."""
    api, token = add_api(each_endpoint.engine), each_endpoint.token(make_client(each_endpoint.engine))
    with read_session(each_endpoint.engine) as session:
        stored = session.scalars(select(ResourceServer.secret_hash)).one()
    assert stored.startswith(f"{PARAMETERS}$")
    with argon2_computations() as hashed:
        assert is_active(each_endpoint.introspect(token, api))
        assert is_active(each_endpoint.introspect(token, api))
    assert len(hashed) == 1


@pytest.mark.parametrize("secret", [API_SECRET, GENERATED_SECRET], ids=["typed", "generated"])
def test_legacy_hash_of_resource_server_is_renewed(each_endpoint: Endpoint, secret: str) -> None:
    """Renew a legacy hash; until then generated secrets cost two argon2id computations (S1, P8)."""
    engine = each_endpoint.engine
    (server_id, _), token = add_api(engine), each_endpoint.token(make_client(engine))
    stored = HASHER.argon2id(secret)
    with unit_of_work(engine) as session:
        session.execute(update(ResourceServer).values(secret_hash=stored, legacy_scheme=True))
    with argon2_computations() as hashed:
        assert each_endpoint.introspect(token, ("nobodys-id", WRONG_GENERATED_SECRET)).status_code == 401
    assert hashed == [PARAMETERS] * 2
    assert is_active(each_endpoint.introspect(token, (server_id, secret)))
    with read_session(engine) as session:
        server = session.scalars(select(ResourceServer)).one()
    assert server.secret_hash.startswith("$hmac-sha256$" if secret == GENERATED_SECRET else PARAMETERS)
    assert not server.legacy_scheme
    with argon2_computations() as hashed:
        assert is_active(each_endpoint.introspect(token, (server_id, secret)))
    assert not hashed


def test_old_parameters_of_resource_server_hash_are_renewed(endpoint: Endpoint) -> None:
    """Replace a hash with old parameters at the next success (S1)."""
    api, token = add_api(endpoint.engine), endpoint.token(make_client(endpoint.engine))
    with unit_of_work(endpoint.engine) as session:
        session.execute(
            update(ResourceServer).values(secret_hash=HASHER.argon2id(API_SECRET, time_cost=1, memory_cost=8))
        )
    assert is_active(endpoint.introspect(token, api))
    with read_session(endpoint.engine) as session:
        assert session.scalars(select(ResourceServer.secret_hash)).one().startswith(PARAMETERS)


def test_removed_resource_server_is_refused(each_endpoint: Endpoint) -> None:
    """Refuse a resource server from the first request after its removal (T10)."""
    engine = each_endpoint.engine
    api, other = add_api(engine), add_api(engine, "accounts-api")
    processes = (each_endpoint, Endpoint(engine))
    assert [process.introspect("x", api).status_code for process in processes] == [200, 200]
    remove(engine, "payments-api")
    assert [process.introspect("x", api).status_code for process in processes] == [401, 401]
    assert each_endpoint.introspect("x", other).status_code == 200
    with read_session(engine) as session:
        assert [server.name for server in list_resource_servers(session)] == ["accounts-api"]


def test_resource_server_id_is_reserved(engine: Engine) -> None:
    """Refuse the ID of a resource server for a client in any letter case, also after its removal."""
    make_account(engine)
    api, _ = add_api(engine)
    for _ in range(2):
        for client_id in (api, api.upper()):
            with read_session(engine) as session:
                assert is_client_id_taken(session, client_id=client_id, account_id=ACCOUNT, key=None)
            with pytest.raises(InvalidFields) as refused:
                make_client(engine, client_id=client_id)
            assert [type(error).__name__ for error in refused.value.errors] == ["ClientIdTaken"]
        with read_session(engine) as session:
            names = [server.name for server in list_resource_servers(session)]
        if names:
            remove(engine, *names)


@pytest.mark.parametrize("name", ["", "  ", "ab", "x" * 101, "a\x00bc", "payments-api", " payments-api "])
def test_resource_server_name_is_unique(engine: Engine, name: str) -> None:
    add_api(engine)
    with pytest.raises(FieldError) as refused, unit_of_work(engine) as session:
        add_resource_server(session, actor="tests", name=name, secret=Secret(SECRET), hasher=HASHER)
    assert refused.value.field == "name"
    with read_session(engine) as session:
        assert len(list_resource_servers(session)) == 1


def test_resource_server_changes_are_audit_events(engine: Engine) -> None:
    """Record additions and removals of resource servers as platform audit events (L1)."""
    api, _ = add_api(engine)
    remove(engine, "payments-api")
    with read_session(engine) as session:
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    assert [(event.account_id, event.actor_label, event.action) for event in events] == [
        (None, "tests", "resource server added"),
        (None, "tests", "resource server removed"),
    ]
    assert events[0].changes == {"name": [None, "payments-api"], "resource_server_id": [None, api]}
    assert events[1].changes == {"name": ["payments-api", None], "resource_server_id": [api, None]}


def test_resource_server_commands(endpoint: Endpoint) -> None:
    """Print the secret once; error messages say how to correct the input."""
    run = endpoint.app.test_cli_runner().invoke
    group = ["identity-clients", "resource-server"]
    added = run(args=[*group, "add", "Payments API"])
    assert added.exit_code == 0
    lines = dict(line.split("\t") for line in added.output.splitlines() if "\t" in line)
    token = endpoint.token(make_client(endpoint.engine))
    assert is_active(endpoint.introspect(token, (lines["ID"], lines["Secret"])))
    listed = run(args=[*group, "list"])
    assert listed.output.startswith(f"Payments API\t{lines['ID']}\tadded 20")
    assert lines["Secret"] not in listed.output
    for arguments, says in ((["add", "Payments API"], "already"), (["remove", "Nobody"], "resource-server list")):
        refused = run(args=[*group, *arguments])
        assert refused.exit_code == 1
        assert says in refused.output
    assert run(args=[*group, "remove", "Payments API"]).exit_code == 0
    assert endpoint.introspect(token, (lines["ID"], lines["Secret"])).status_code == 401


def test_no_token_or_secret_in_logs_or_database(
    each_endpoint: Endpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Keep tokens and secrets out of logs at the lowest level of every logger, and out of the database (L4)."""
    client, api = make_client(each_endpoint.engine), add_api(each_endpoint.engine)
    token = each_endpoint.token(client)
    with caplog.at_level(logging.DEBUG):
        for name in ("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "psycopg"):
            caplog.set_level(logging.DEBUG, name)
        each_endpoint.engine.echo = "debug"
        each_endpoint.introspect(token, api)
        each_endpoint.introspect(token, client)
        each_endpoint.introspect(token, (token, SECRET))
        assert each_endpoint.revoke(token, client).status_code == 200
        each_endpoint.engine.echo = False
    captured = capfd.readouterr()
    logged = "\n".join([caplog.text, captured.out, captured.err])
    assert "INSERT INTO identity_client_revoked_tokens" in logged
    for canary in (SECRET, API_SECRET, token, token.split(".")[2], "argon2id"):
        assert canary not in logged
