"""The endpoint as `make run` serves it, called by independent client libraries over HTTP."""

import http.client
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any
from urllib.parse import urlencode, urlsplit

import jwt
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.integrations.requests_client import OAuthError
from oauthlib.oauth2 import BackendApplicationClient, OAuth2Error
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from sqlalchemy import Engine

from tests.support import servers
from tests.support.endpoint import FORM, add_api, basic_header, change_client, change_secret
from tests.support.factories import PEPPER_SETTING, SECRET, make_account, make_author, make_client
from webapp.core import client_changes
from webapp.core.clients.allowed_networks import check_networks
from webapp.core.database.engine import make_engine
from webapp.core.database.unit_of_work import unit_of_work

AUDIENCE = "https://api.mas.example"
AWKWARD_SECRET = "a+b%c:d e&f=g/?"
ACCOUNT = "the-live-account"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.LiveServer]:
    """Return the server with two processes and a pepper that the tests know."""
    with servers.serve(
        tmp_path_factory.mktemp("identity"),
        IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
        IDENTITY_CLIENTS_FAILURES_PER_CLIENT_AND_ADDRESS="1000000",
        IDENTITY_CLIENTS_FAILURES_PER_ADDRESS="1000000",
        WEB_CONCURRENCY="2",
    ) as server:
        yield server


@pytest.fixture(scope="module")
def engine(server: servers.LiveServer) -> Iterator[Engine]:
    """Return the product's engine on the server's database."""
    engine = make_engine(server.database_url)
    make_account(engine, ACCOUNT)
    yield engine
    engine.dispose()


@pytest.fixture(scope="module")
def metadata(server: servers.LiveServer) -> dict[str, Any]:
    """Return the server metadata, discovered from the issuer."""
    document = requests.get(f"{server.url}/.well-known/oauth-authorization-server", timeout=10).json()
    assert document["issuer"] == server.url
    return dict(document)


@pytest.fixture(autouse=True)
def _plain_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")


def claims_of(token: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """Verify a token with only the issuer's metadata, as an API does; return its claims."""
    key = jwt.PyJWKClient(metadata["jwks_uri"]).get_signing_key_from_jwt(token)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience=AUDIENCE,
        issuer=metadata["issuer"],
        options={"require": ["iss", "sub", "aud", "iat", "nbf", "exp", "jti"]},
    )
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    return claims


# The library does not form-encode what it sends by Basic, as RFC 6749 section 2.3.1 demands: awkward values go by post.
@pytest.mark.parametrize(
    ("method", "secret"),
    [("client_secret_basic", SECRET), ("client_secret_post", SECRET), ("client_secret_post", AWKWARD_SECRET)],
)
def test_authlib_gets_a_token(engine: Engine, metadata: dict[str, Any], method: str, secret: str) -> None:
    client = make_client(engine, account_id=ACCOUNT, secret=secret, roles=("MerchantUser", "CreatePayment"))
    assert method in metadata["token_endpoint_auth_methods_supported"]
    with AuthlibSession(client.client_id, secret, token_endpoint_auth_method=method) as session:
        token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials", scope="API")
    assert (token["token_type"], token["expires_in"], token["scope"]) == ("Bearer", 3600, "API")
    claims = claims_of(token["access_token"], metadata)
    assert (claims["client_id"], claims["account_id"]) == (client.client_id, ACCOUNT)
    assert claims["roles"] == ["MerchantUser", "CreatePayment"]


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_requests_oauthlib_gets_a_token(engine: Engine, metadata: dict[str, Any], method: str) -> None:
    client = make_client(engine, account_id=ACCOUNT, token_duration=10)
    with OAuth2Session(client=BackendApplicationClient(client.client_id)) as session:
        if method == "client_secret_basic":
            token = session.fetch_token(metadata["token_endpoint"], auth=HTTPBasicAuth(client.client_id, SECRET))
        else:
            token = session.fetch_token(
                metadata["token_endpoint"], client_id=client.client_id, client_secret=SECRET, include_client_id=True
            )
    assert token["expires_in"] == 600
    assert token["scope"] == ["API"]
    claims = claims_of(token["access_token"], metadata)
    assert claims["exp"] - claims["iat"] == 600


def introspect(metadata: dict[str, Any], token: str, caller: tuple[str, str]) -> dict[str, Any]:
    """Introspect a token with the credentials of this caller."""
    response = requests.post(
        metadata["introspection_endpoint"], {"token": token}, auth=HTTPBasicAuth(*caller), timeout=10
    )
    assert response.status_code == 200
    return dict(response.json())


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_introspects_and_revokes_its_token(engine: Engine, metadata: dict[str, Any], method: str) -> None:
    """Introspect and revoke a token with Authlib (T10, T12)."""
    client = make_client(engine, account_id=ACCOUNT)
    assert method in metadata["introspection_endpoint_auth_methods_supported"]
    assert method in metadata["revocation_endpoint_auth_methods_supported"]
    with AuthlibSession(client.client_id, SECRET, token_endpoint_auth_method=method) as session:
        session.revocation_endpoint_auth_method = method
        token = session.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")["access_token"]
        claims = session.introspect_token(metadata["introspection_endpoint"], token).json()
        assert claims.pop("active") is True
        assert claims.pop("token_type") == "Bearer"
        assert claims.items() <= claims_of(token, metadata).items()
        revoked = session.revoke_token(metadata["revocation_endpoint"], token)
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert session.introspect_token(metadata["introspection_endpoint"], token).json() == {"active": False}


def test_requests_oauthlib_revokes_its_token(engine: Engine, metadata: dict[str, Any]) -> None:
    """Revoke a token with requests-oauthlib (T12)."""
    client, api = make_client(engine, account_id=ACCOUNT), add_api(engine, "the API of requests-oauthlib")
    basic = HTTPBasicAuth(client.client_id, SECRET)
    with OAuth2Session(client=BackendApplicationClient(client.client_id)) as session:
        token = session.fetch_token(metadata["token_endpoint"], auth=basic)["access_token"]
        assert introspect(metadata, token, api)["active"] is True
        url, headers, body = session._client.prepare_token_revocation_request(metadata["revocation_endpoint"], token)
        revoked = requests.post(url, body, headers=headers, auth=basic, timeout=10)
    assert (revoked.status_code, revoked.content) == (200, b"")
    assert introspect(metadata, token, api) == {"active": False}


def test_both_libraries_parse_error_responses(engine: Engine, metadata: dict[str, Any]) -> None:
    client = make_client(engine, account_id=ACCOUNT)
    with (
        AuthlibSession(client.client_id, "a-wrong-secret") as authlib,
        pytest.raises(OAuthError, match="invalid_client"),
    ):
        authlib.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    with (
        OAuth2Session(client=BackendApplicationClient(client.client_id, scope=["nothing"])) as oauthlib,
        pytest.raises(OAuth2Error) as refused,
    ):
        oauthlib.fetch_token(metadata["token_endpoint"], auth=HTTPBasicAuth(client.client_id, SECRET))
    assert refused.value.error == "invalid_scope"


def statuses(server: servers.LiveServer, client_id: str, count: int = 12) -> set[int]:
    """Send requests, each over a new connection so that both processes answer; return the statuses."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    return {requests.post(f"{server.url}/connect/token", form, timeout=10).status_code for _ in range(count)}


def roles_of_tokens(server: servers.LiveServer, client_id: str, count: int = 12) -> set[tuple[str, ...]]:
    """Request tokens, each over a new connection so that both processes answer; return their roles."""
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
    tokens = [requests.post(f"{server.url}/connect/token", form, timeout=10).json() for _ in range(count)]
    return {tuple(jwt.decode(token["access_token"], options={"verify_signature": False})["roles"]) for token in tokens}


def test_change_applies_to_both_processes(server: servers.LiveServer, engine: Engine) -> None:
    """Apply a change to the next request on both processes (A7)."""
    client = make_client(engine, account_id="account-a7")
    client_id = client.client_id
    assert statuses(server, client_id) == {200}
    change_client(engine, client, enabled=False)
    assert statuses(server, client_id) == {401}
    change_client(engine, client, enabled=True)
    assert statuses(server, client_id) == {200}
    make_account(engine, "account-a7", feature_enabled=False)
    assert statuses(server, client_id) == {401}
    make_account(engine, "account-a7")
    assert statuses(server, client_id) == {200}
    change_client(engine, client, allowed_networks=check_networks("198.51.100.0/24"))
    assert statuses(server, client_id) == {401}
    change_client(engine, client, allowed_networks=check_networks("127.0.0.1"))
    assert statuses(server, client_id) == {200}
    change_client(engine, client, roles=frozenset({"ReportViewer"}))
    assert roles_of_tokens(server, client_id) == {("ReportViewer",)}
    change_secret(engine, client, paused_at=client.created_at)
    assert statuses(server, client_id) == {401}


def test_revoking_all_tokens_applies_to_both_processes(engine: Engine, metadata: dict[str, Any]) -> None:
    """Revoke all tokens on both processes within a second (T13)."""
    client, api = make_client(engine, account_id=ACCOUNT), add_api(engine, "the API of two processes")
    form = {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET}

    def token() -> str:
        return str(requests.post(metadata["token_endpoint"], form, timeout=10).json()["access_token"])

    def seen(token: str) -> set[bool]:
        return {introspect(metadata, token, api)["active"] for _ in range(8)}

    earlier = [token() for _ in range(4)]
    assert [seen(one) for one in earlier] == [{True}] * 4
    with unit_of_work(engine) as session:
        client_changes.revoke_tokens(session, author=make_author(ACCOUNT), key=client.id)
    later = [token() for _ in range(4)]
    assert [seen(one) for one in earlier] == [{False}] * 4
    assert [seen(one) for one in later] == [{True}] * 4


def exchange(server: servers.LiveServer, method: str, headers: list[tuple[str, str]], body: bytes) -> tuple[int, Any]:
    """Send a raw request, and return the JSON of the response."""
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.putrequest(method, "/connect/token")
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders(body)
    response = connection.getresponse()
    text = response.read()
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Set-Cookie"] is None
    connection.close()
    return response.status, json.loads(text) if text else None


def chunked(body: bytes, size: int = 1000) -> bytes:
    parts = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(("size", "status"), [(8192, 200), (8193, 413), (60_000, 413)])
@pytest.mark.parametrize("by_chunks", [False, True], ids=["with length", "chunked"])
def test_body_limit_on_the_wire_is_8_kib(
    server: servers.LiveServer, engine: Engine, size: int, status: int, by_chunks: bool
) -> None:
    """Refuse longer bodies, also chunked ones, which the framework would truncate silently (D1)."""
    client = make_client(engine, account_id=ACCOUNT)
    form = urlencode(
        {"grant_type": "client_credentials", "client_id": client.client_id, "client_secret": SECRET, "pad": ""}
    ).encode()
    body = form + b"x" * (size - len(form))
    length = ("Transfer-Encoding", "chunked") if by_chunks else ("Content-Length", str(size))
    sent = exchange(server, "POST", [("Content-Type", FORM), length], chunked(body) if by_chunks else body)
    assert sent[0] == status
    assert status == 200 or sent[1]["error"] == "invalid_request"


@pytest.mark.parametrize("method", ["GET", "OPTIONS", "DELETE", "PROPFIND", "INVENTED"])
def test_other_methods_are_json_405(server: servers.LiveServer, method: str) -> None:
    """Return 405 as JSON from the server process (P1, P13)."""
    status, answer = exchange(server, method, [], b"")
    assert (status, answer["error"]) == (405, "invalid_request")


def test_two_authorization_headers_are_refused(server: servers.LiveServer, engine: Engine) -> None:
    """Refuse a request with two Authorization headers (P4, P5)."""
    client = make_client(engine, account_id=ACCOUNT)
    body = b"grant_type=client_credentials"
    headers = [("Content-Type", FORM), ("Content-Length", str(len(body)))]
    right, wrong = basic_header(client.client_id, SECRET), basic_header(client.client_id, "a-wrong-secret")
    assert exchange(server, "POST", [*headers, ("Authorization", right)], body)[0] == 200
    status, _ = exchange(server, "POST", [*headers, ("Authorization", wrong), ("Authorization", right)], body)
    assert status in (400, 401)


def test_concurrent_first_requests_create_one_signing_key(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("fresh")
    with servers.serve(directory, IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING, WEB_CONCURRENCY="2") as server:
        engine = make_engine(server.database_url)
        client_id = make_client(engine, account_id=ACCOUNT).client_id
        engine.dispose()
        barrier = Barrier(8)

        def first_token(_: int) -> str:
            form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": SECRET}
            barrier.wait()
            answer = requests.post(f"{server.url}/connect/token", form, timeout=20).json()
            return str(jwt.get_unverified_header(answer["access_token"])["kid"])

        with ThreadPoolExecutor(8) as pool:
            kids = set(pool.map(first_token, range(8)))
        published = requests.get(f"{server.url}/.well-known/jwks.json", timeout=10).json()["keys"]
        log = server.log.read_text()
    assert len(kids) == 1
    assert {key["kid"] for key in published} == kids
    assert SECRET not in log
    assert not re.search("Traceback|eyJ|argon2id", log)
