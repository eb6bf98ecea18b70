"""The example API accepts the issuer's tokens only."""

import base64
import json
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import ec
from flask import request
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.serving import make_server

from examples.payments_api import create_app
from tests.support import servers
from tests.support.endpoint import AUDIENCE, Endpoint
from tests.support.factories import make_client
from webapp.core.database.models import utc_now
from webapp.core.tokens.access_tokens import AccessTokens

ROLES = ("AccountViewer", "CreatePayment")


@pytest.fixture
def issuer(sqlite_engine: Engine) -> Iterator[Endpoint]:
    """Return the endpoint, also served on the loopback address."""
    port = servers.free_port()
    endpoint = Endpoint(sqlite_engine, None, ISSUER=f"http://127.0.0.1:{port}", DEVELOPMENT=True)
    server = make_server("127.0.0.1", port, endpoint.app, threaded=True)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield endpoint
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(issuer: Endpoint) -> FlaskClient:
    """Return the API."""
    return create_app(issuer.services.settings.issuer, AUDIENCE).test_client()


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def status(api: FlaskClient, token: str) -> int:
    return api.get("/accounts", headers=bearer(token)).status_code


def test_200_with_the_role(issuer: Endpoint, api: FlaskClient) -> None:
    client = make_client(issuer.engine, roles=ROLES)
    token = issuer.token(client)
    assert api.get("/accounts", headers=bearer(token)).json == {
        "accounts": [{"account_id": client.account_id, "balance": "1250.00"}]
    }
    response = api.post("/payments", headers=bearer(token))
    assert (response.status_code, response.json) == (201, {"status": "created", "created_by": client.client_id})


def test_403_without_the_role(issuer: Endpoint, api: FlaskClient) -> None:
    token = issuer.token(make_client(issuer.engine, roles=("AccountViewer",)))
    assert status(api, token) == 200
    response = api.post("/payments", headers=bearer(token))
    assert (response.status_code, (response.json or {})["error"]) == (403, "insufficient_scope")
    assert status(api, issuer.token(make_client(issuer.engine, roles=("CreateUrgentPayments",)))) == 403


def part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def header_of(token: str) -> dict[str, Any]:
    return jwt.get_unverified_header(token)


def sign_with_header(issuer: Endpoint, token: str, **changes: Any) -> str:
    """Sign the token's claims with the right key under a changed header; None takes a member away."""
    header = {name: value for name, value in (header_of(token) | changes).items() if value is not None}
    unsigned = f"{part(header)}.{token.split('.')[1]}"
    signature = issuer.services.keys.signing_key(utc_now()).sign(unsigned.encode())
    return f"{unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def issued_by(issuer: Endpoint, tokens: AccessTokens) -> str:
    return tokens.issue(
        issuer.services.keys.signing_key(utc_now()),
        client_id="northwind-api",
        account_id="northwind",
        roles=["AccountViewer"],
        scope="API",
        lifetime_seconds=600,
        generation=0,
        now=utc_now(),
    )


def signed_with_another_key(_: Endpoint, token: str) -> str:
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", header_of(token))


def signed_with_public_key(issuer: Endpoint, token: str) -> str:
    """Sign with HS256, keyed with the public key."""
    claims = jwt.decode(token, options={"verify_signature": False})
    public = issuer.services.keys.signing_key(utc_now()).public_jwk["x"]
    return jwt.encode(claims, public, "HS256", {"kid": header_of(token)["kid"], "typ": "at+jwt"})


Forge = Callable[[Endpoint, str], str]
FORGED: dict[str, Forge] = {
    "garbage": lambda _, __: "garbage",
    "two dots": lambda _, __: "..",
    "not ASCII": lambda _, token: f"{token}\u00e9",
    "changed roles": lambda _, token: f"{token.split('.')[0]}.{part({'roles': ROLES})}.{token.split('.')[2]}",
    "no signature": lambda _, token: f"{part({**header_of(token), 'alg': 'none'})}.{token.split('.')[1]}.",
    "another key": signed_with_another_key,
    "HS256": signed_with_public_key,
    "typ JWT": lambda issuer, token: sign_with_header(issuer, token, typ="JWT"),
    "no typ": lambda issuer, token: sign_with_header(issuer, token, typ=None),
    "no kid": lambda issuer, token: sign_with_header(issuer, token, kid=None),
    "unknown kid": lambda issuer, token: sign_with_header(issuer, token, kid="unknown"),
    "a list of kids": lambda issuer, token: sign_with_header(issuer, token, kid=[header_of(token)["kid"]]),
    "crit": lambda issuer, token: sign_with_header(issuer, token, crit=["exp"]),
    "another issuer": lambda issuer, _: issued_by(issuer, AccessTokens("https://other.example", AUDIENCE)),
    "another audience": lambda issuer, _: issued_by(
        issuer, AccessTokens(issuer.services.settings.issuer, "https://other.example")
    ),
}


@pytest.mark.parametrize("forged", FORGED)
@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_401_for_a_foreign_token(issuer: Endpoint, api: FlaskClient, forged: str) -> None:
    token = issuer.token(make_client(issuer.engine, roles=ROLES))
    assert status(api, token) == 200
    assert status(api, issued_by(issuer, issuer.services.tokens)) == 200
    response = api.get("/accounts", headers=bearer(FORGED[forged](issuer, token)))
    assert (response.status_code, (response.json or {})["error"]) == (401, "invalid_token")
    assert response.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Basic eDp4"}])
def test_401_without_a_token(api: FlaskClient, headers: dict[str, str]) -> None:
    assert api.get("/accounts", headers=headers).status_code == 401


def test_401_for_an_expired_token(issuer: Endpoint, api: FlaskClient) -> None:
    """A token expires with the API's leeway for clocks."""
    token = issuer.token(make_client(issuer.engine, roles=ROLES, token_duration=10))
    issued_at = jwt.decode(token, options={"verify_signature": False})["iat"]
    for seconds, expected in ((659, 200), (661, 401)):
        with time_machine.travel(issued_at + seconds, tick=False):
            assert status(api, token) == expected


@pytest.mark.parametrize(("behind_seconds", "expected"), [(1, 200), (30, 200), (60, 200), (61, 401)])
def test_200_where_the_clock_is_behind(issuer: Endpoint, api: FlaskClient, behind_seconds: int, expected: int) -> None:
    """Authlib checks `iat` as well, so that the clock needs a leeway (T2)."""
    token = issuer.token(make_client(issuer.engine, roles=("AccountViewer",)))
    issued_at = jwt.decode(token, options={"verify_signature": False})["iat"]
    with time_machine.travel(issued_at - behind_seconds, tick=False):
        assert api.get("/accounts", headers=bearer(token)).status_code == expected


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the clock of the API, in seconds, which a test can advance."""
    seconds = [1000.0]
    monkeypatch.setattr("examples.payments_api.time.monotonic", lambda: seconds[0])
    return seconds


def test_key_cache_reloads_for_an_unknown_key(
    issuer: Endpoint, api: FlaskClient, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accept every active token across key changes; refuse withdrawn keys after 300 s (T8)."""
    reads: list[str] = []
    issuer.app.before_request(lambda: reads.append(request.path))
    client = make_client(issuer.engine, roles=ROLES)
    first = issuer.token(client)
    reads.clear()
    assert [status(api, first) for _ in range(5)] == [200] * 5
    assert reads == ["/.well-known/oauth-authorization-server", "/.well-known/jwks.json"]
    clock[0] += 100
    assert [status(api, signed_with_another_key(issuer, first).replace(".", "x.", 1)) for _ in range(5)] == [401] * 5
    keys = issuer.services.keys
    keys.withdraw(header_of(first)["kid"], utc_now(), "tests")
    second = issuer.token(client)
    clock[0] += 10
    assert status(api, second) == 200
    assert status(api, first) == 401, "the key set was read anew for the second"
    monkeypatch.setattr(type(keys), "published", lambda *_: (_ for _ in ()).throw(RuntimeError))
    clock[0] += 299
    assert status(api, second) == 200
    clock[0] += 1
    assert status(api, second) == 503, "it goes on with old keys no longer"


def test_a_withdrawn_key_is_accepted_for_300_seconds_at_most(
    issuer: Endpoint, api: FlaskClient, clock: list[float]
) -> None:
    token = issuer.token(make_client(issuer.engine, roles=ROLES))
    assert status(api, token) == 200
    issuer.services.keys.withdraw(header_of(token)["kid"], utc_now(), "tests")
    clock[0] += 299
    assert status(api, token) == 200
    clock[0] += 1
    assert status(api, token) == 401
