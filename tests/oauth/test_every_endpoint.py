"""Rules that the token, introspection and revocation endpoints share (P1-P7, P13, D1, D8, E1)."""

from typing import Any

import pytest
from flask import Flask
from flask_wtf import CSRFProtect
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.endpoint import (
    FORM,
    Endpoint,
    argon2_computations,
    assert_endpoint_response,
    basic_header,
    interfering_host,
    raising,
    statements,
)
from tests.support.factories import SECRET, make_client
from webapp.core.errors import Unavailable

CLIENT_ID = "northwind-api"
RIGHT = {"client_id": CLIENT_ID, "client_secret": SECRET, "token": "garbage"}
PATHS = ["/connect/introspect", "/connect/revocation"]
every_path = pytest.mark.parametrize("path", PATHS)


@pytest.fixture(autouse=True)
def _client(endpoint: Endpoint) -> None:
    make_client(endpoint.engine, client_id=CLIENT_ID)


def is_refused(response: TestResponse, status: int, error: str) -> bool:
    return (response.status_code, response.json and response.json["error"]) == (status, error)


def test_every_route_is_public_or_authenticates_clients(endpoint: Endpoint) -> None:
    """Require that each route is listed as public or authenticates the client (A1)."""
    rules = {
        rule.rule
        for rule in endpoint.app.url_map.iter_rules()
        if rule.endpoint.startswith("identity_clients_endpoint.")
    }
    assert PATHS == ["/connect/introspect", "/connect/revocation"]
    documents = {"jwks.json", "oauth-authorization-server", "openid-configuration"}
    assert rules == {"/connect/token", *PATHS, "/connect/<path:path>", *(f"/.well-known/{name}" for name in documents)}


@pytest.mark.parametrize("path", ["/connect/token/", "/connect/authorize", "/connect/a/b"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("csrf", [False, True], ids=["", "a host with CSRFProtect"])
def test_unknown_path_below_connect_is_json_404(sqlite_engine: Engine, path: str, method: str, csrf: bool) -> None:
    """Return JSON without redirect; the host's own paths below /connect keep working (P13).

    A host's CSRF layer refuses an unknown POST first, since exactly three are exempt (E1).
    """
    app = interfering_host()
    app.add_url_rule("/connect/own", "own", lambda: "own")
    endpoint = Endpoint(sqlite_engine, app)
    if csrf:
        CSRFProtect(app)
    response = endpoint.client.open(path, method=method, data=RIGHT)
    assert_endpoint_response(response, 400 if csrf and method == "POST" else 404)
    assert response.json == {"error": "invalid_request"}
    assert endpoint.client.get("/connect/own").text == "own"


@every_path
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PROPFIND"])
def test_other_methods_are_405_with_allow(endpoint: Endpoint, path: str, method: str) -> None:
    """Return 405 with an Allow header for any method but POST (P1)."""
    response = endpoint.client.open(path, method=method, data=RIGHT, content_type=FORM)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.mimetype == "application/json"


@every_path
@pytest.mark.parametrize("content_type", [None, "application/json", "multipart/form-data; boundary=x", "text/plain"])
def test_other_content_types_are_refused(endpoint: Endpoint, path: str, content_type: str | None) -> None:
    """Refuse any content type but application/x-www-form-urlencoded (P1)."""
    body = "&".join(f"{name}={value}" for name, value in RIGHT.items())
    assert is_refused(endpoint.client.post(path, data=body, content_type=content_type), 400, "invalid_request")


@every_path
@pytest.mark.parametrize("query", ["token=x", "client_id=x", "client_secret", "%74oken=x", "foo=1&scope="])
def test_protocol_parameter_in_query_is_refused(endpoint: Endpoint, path: str, query: str) -> None:
    """Return invalid_request for a protocol parameter in the query string (P2)."""
    assert is_refused(endpoint.post(RIGHT, f"{path}?{query}"), 400, "invalid_request")
    assert endpoint.post(RIGHT, f"{path}?tenant=1").status_code == 200


@every_path
@pytest.mark.parametrize("name", ["token", "token_type_hint", "client_id", "client_secret", "foo"])
def test_repeated_parameter_is_refused(endpoint: Endpoint, path: str, name: str) -> None:
    """Return invalid_request for a repeated parameter (P3)."""
    parameters = [pair for pair in RIGHT.items() if pair[0] != name] + [(name, "same"), (name, "same")]
    assert is_refused(endpoint.post(parameters, path), 400, "invalid_request")


RIGHT_BASIC = basic_header(CLIENT_ID, SECRET)
TOKEN = {"token": "garbage"}


@every_path
@pytest.mark.parametrize(
    ("header", "body", "status"),
    [
        (RIGHT_BASIC, {}, 200),
        (RIGHT_BASIC, {"client_id": CLIENT_ID}, 200),
        (None, {"client_id": CLIENT_ID, "client_secret": SECRET}, 200),
        (basic_header(CLIENT_ID, "wrong-secret"), {}, 401),
        (RIGHT_BASIC, {"client_id": "northwind-other"}, 400),
        (RIGHT_BASIC, {"client_secret": SECRET}, 400),
        (RIGHT_BASIC, {"client_assertion": "x.y.z"}, 400),
        (None, {"client_assertion": "x.y.z"}, 401),
        (None, {"client_id": CLIENT_ID}, 401),
        (None, {}, 401),
        ("Bearer garbage", {}, 401),
        ("Basic !!!!", {}, 401),
    ],
)
def test_client_authentication_methods(
    endpoint: Endpoint, path: str, header: str | None, body: dict[str, str], status: int
) -> None:
    """Return the same bytes and headers for every fault of the credentials (P7, P4, P5)."""
    response = endpoint.post(TOKEN | body, path, headers={"Authorization": header} if header else {})
    assert response.status_code == status
    if status == 401:
        assert response.data == b'{"error": "invalid_client"}'
        assert response.headers["WWW-Authenticate"] == 'Basic realm="identity", charset="UTF-8"'
    elif status == 400:
        assert is_refused(response, 400, "invalid_request")


@every_path
@pytest.mark.parametrize("basic", [True, False])
def test_credentials_are_decoded_exactly_once(endpoint: Endpoint, path: str, basic: bool) -> None:
    """Form-decode the ID and secret of the Basic header once (P5)."""
    client_id, secret = "id with % + : ok", "a+b%c:d e"
    make_client(endpoint.engine, client_id=client_id, secret=secret)
    if basic:
        response = endpoint.post(TOKEN, path, headers={"Authorization": basic_header(client_id, secret)})
    else:
        response = endpoint.post(TOKEN | {"client_id": client_id, "client_secret": secret}, path)
    assert response.status_code == 200


@every_path
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.one_of(st.text("abc\0\r\né�\x7f ", min_size=1, max_size=5), st.just("x" * 101)))
def test_malformed_values_are_refused_without_query_or_hash(endpoint: Endpoint, path: str, value: str) -> None:
    """Reject malformed credentials before any database query or hash (P6)."""
    for credentials in ((value, SECRET), (CLIENT_ID, value)):
        with argon2_computations() as hashed, statements(endpoint.engine) as seen:
            response = endpoint.post(TOKEN | dict(zip(("client_id", "client_secret"), credentials, strict=True)), path)
        assert (response.status_code, response.data) == (401, b'{"error": "invalid_client"}')
        assert not hashed
        assert not seen


@every_path
@pytest.mark.parametrize(("size", "status"), [(8192, 200), (8193, 413)])
def test_body_limit_is_8_kib(endpoint: Endpoint, path: str, size: int, status: int) -> None:
    """Accept a body of 8 KiB and refuse a longer one (D1)."""
    body = "&".join(f"{name}={value}" for name, value in RIGHT.items())
    response = endpoint.client.post(path, data=body + "x" * (size - len(body)), content_type=FORM)
    assert response.status_code == status


@every_path
@pytest.mark.parametrize(
    ("status", "options"),
    [
        (400, {"data": RIGHT, "query_string": "token=x"}),
        (401, {"data": {**RIGHT, "client_secret": "a-wrong-secret"}}),
        (405, {"method": "OPTIONS"}),
        (413, {"data": {**RIGHT, "foo": "x" * 9000}}),
        (403, {"data": RIGHT, "headers": {"X-Trouble": "403"}}),
        (429, {"data": RIGHT, "headers": {"X-Trouble": "429"}}),
        (500, {"data": RIGHT, "headers": {"X-Trouble": "crash"}}),
        (503, {"data": RIGHT, "headers": {"X-Trouble": "503"}}),
    ],
)
def test_errors_are_json_in_any_host(sqlite_engine: Engine, path: str, status: int, options: dict[str, Any]) -> None:
    """Return JSON with the product's headers for every error status, whatever the host adds (P13)."""
    hosted = Endpoint(sqlite_engine, interfering_host())
    assert_endpoint_response(hosted.client.open(path, **{"method": "POST", "content_type": FORM} | options), status)


@every_path
def test_success_has_the_same_headers(sqlite_engine: Engine, path: str) -> None:
    """Send the same headers with a success; the body of a revocation is empty (T12, P13)."""
    response = Endpoint(sqlite_engine, interfering_host()).post(RIGHT, path)
    assert response.status_code == 200
    assert response.data == {"/connect/introspect": b'{"active": false}', "/connect/revocation": b""}[path]
    varying = ("Content-Length", "Vary", "X-Request-ID")
    assert {name: value for name, value in response.headers if name not in varying} == {
        "Content-Type": "application/json",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    }


@every_path
@pytest.mark.parametrize(
    "place", ["webapp.core.authentication.authenticator.FastReads.rows", "webapp.core.tokens.signing_keys.connect"]
)
def test_unreachable_database_is_503(
    endpoint: Endpoint, path: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Return 503 with Retry-After when the database is unreachable (P13, D8)."""
    monkeypatch.setattr(place, raising(Unavailable()))
    response = endpoint.post(RIGHT, path)
    assert_endpoint_response(response, 503)
    assert "Retry-After" in response.headers


@every_path
@pytest.mark.parametrize("csrf_first", [True, False])
def test_endpoints_are_exempt_from_host_csrf(sqlite_engine: Engine, path: str, csrf_first: bool) -> None:
    """Exempt the endpoints from the host's CSRF protection (E1)."""
    app, csrf = Flask("host"), CSRFProtect()
    app.secret_key = "s" * 32
    if csrf_first:
        csrf.init_app(app)
    endpoint = Endpoint(sqlite_engine, app)
    if not csrf_first:
        csrf.init_app(app)
    assert endpoint.post(RIGHT, path).status_code == 200
