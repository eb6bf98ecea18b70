"""The WSGI fast path answers token requests exactly as the endpoint behind it."""

import json
import logging
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import Client, TestResponse

from tests.support.databases import migrate_everything
from tests.support.factories import SECRET, make_client
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.host import EXTENSION
from webapp.standalone import create_app
from webapp.standalone.body_deadline import BodyDeadline
from webapp.standalone.logs import JsonFormatter
from webapp.standalone.token_fast_path import TokenFastPath

TOKEN_PATH = "/connect/token"

VALID_FORM = {"grant_type": "client_credentials", "client_id": "northwind-api", "client_secret": SECRET}
HTTPS = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.1"}
PROTOCOL_HEADERS = (
    "Content-Type",
    "Content-Length",
    "Cache-Control",
    "Pragma",
    "WWW-Authenticate",
    "Allow",
    "Content-Security-Policy",
    "X-Content-Type-Options",
    "Strict-Transport-Security",
)
REQUESTS: dict[str, tuple[int, dict[str, Any]]] = {
    "right": (200, {}),
    "wrong secret": (401, {"data": {**VALID_FORM, "client_secret": "a wrong secret"}}),
    "unknown": (401, {"data": {**VALID_FORM, "client_id": "nobody-knows-me"}}),
    "nothing": (400, {"data": {}}),
    "scope": (400, {"data": {**VALID_FORM, "scope": "not-mine"}}),
    "GET": (405, {"method": "GET", "data": None}),
    "HEAD": (405, {"method": "HEAD", "data": None}),
    "OPTIONS": (405, {"method": "OPTIONS", "data": None}),
    "too long": (413, {"data": {**VALID_FORM, "pad": "x" * 9_000}}),
    "query": (400, {"query_string": "client_id=x"}),
    "plain http": (400, {"headers": {}}),
    "foreign host": (400, {"headers": {**HTTPS, "Host": "evil.example"}}),
}


@pytest.fixture
def production(sqlite_url: str, tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """Return the application as in production, behind a proxy, with a client."""
    app = create_app(
        PRODUCTION_SETTINGS
        | {
            "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url,
            "IDENTITY_CLIENTS_TRUSTED_PROXIES": "1",
            "INSTANCE_PATH": str(tmp_path_factory.mktemp("instance")),
        }
    )
    services = app.extensions[EXTENSION]
    migrate_everything(services.engine)
    make_client(services.engine, client_id="northwind-api", hasher=services.secrets.hasher)
    return app


def request_token(client: Client, options: dict[str, Any]) -> TestResponse:
    return client.open(
        TOKEN_PATH,
        **{"method": "POST", "data": VALID_FORM, "headers": HTTPS, "base_url": "http://localhost", **options},
    )


def comparable(response: TestResponse) -> tuple[Any, ...]:
    """Return the parts of a response that a caller sees; the token differs each time, so it is masked."""
    body = response.get_data(as_text=True)
    sent = {**json.loads(body), "access_token": "..."} if response.status_code == 200 else body
    headers = {name: response.headers.get(name) for name in PROTOCOL_HEADERS}
    return response.status_code, sent, headers


@pytest.mark.parametrize(("status", "options"), REQUESTS.values(), ids=REQUESTS)
def test_the_fast_path_answers_as_flask_does(production: Flask, status: int, options: dict[str, Any]) -> None:
    """Status, headers and body are equal (P1, P2, P7, P12, P13, C5, C6, D1, W16)."""
    outermost = production.wsgi_app
    assert isinstance(outermost, BodyDeadline)
    fast_path = outermost.app
    assert isinstance(fast_path, TokenFastPath)
    from_fast_path = request_token(production.test_client(), options)
    from_flask = request_token(Client(fast_path.app), options)
    assert from_fast_path.status_code == status
    assert comparable(from_fast_path) == comparable(from_flask)
    names = [name.lower() for name, _ in from_fast_path.headers]
    assert len(names) == len(set(names)), "a header occurs twice"
    assert "Set-Cookie" not in from_fast_path.headers


def test_the_fast_path_handles_token_requests_only(production: Flask) -> None:
    client: FlaskClient = production.test_client()
    assert client.get("/healthz").data == b"ok\n"
    assert client.get(f"{TOKEN_PATH}/", headers=HTTPS).status_code == 404
    assert client.get("/.well-known/jwks.json", headers=HTTPS).json is not None


def test_refusals_are_logged_and_issued_tokens_only_at_debug_level(
    production: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Issued tokens are recorded for their client (L2), so that logs of a busy server stay readable (L6)."""
    given = {**HTTPS, "X-Request-ID": "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"}
    with caplog.at_level(logging.DEBUG):
        issued = request_token(production.test_client(), {"headers": given})
        refused = request_token(production.test_client(), {"headers": given, **REQUESTS["wrong secret"][1]})
    lines = [record for record in caplog.records if record.getMessage() == "request"]
    assert [(record.levelno, vars(record)["status"]) for record in lines] == [
        (logging.DEBUG, 200),
        (logging.INFO, 401),
    ]
    assert {vars(record)["path"] for record in lines} == {TOKEN_PATH}
    assert {vars(record)["address"] for record in lines} == {"192.0.2.1"}
    assert issued.headers["X-Request-ID"] == refused.headers["X-Request-ID"] == "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"


def test_log_lines_of_the_fast_path_have_the_request_id(production: Flask) -> None:
    """Although Flask has no request context (L6)."""
    written: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(JsonFormatter())
    handler.emit = lambda record: written.append(handler.format(record))  # type: ignore[method-assign]
    logging.getLogger().addHandler(handler)
    try:
        answer = request_token(
            production.test_client(), {"headers": {"X-Request-ID": "4BF92F3577B34DA6A3CE929D0E0E4736"}}
        )
    finally:
        logging.getLogger().removeHandler(handler)
    assert answer.status_code == 400
    [warning] = [line for line in map(json.loads, written) if line["level"] == "warning"]
    assert warning["request_id"] == "4BF92F3577B34DA6A3CE929D0E0E4736"
    assert "plain http" in warning["message"]
