"""Responses of the endpoint in any host and under any fault (P12, P13, L4, L5, W15, W16, D8, E1)."""

import io
import logging
import re
from typing import Any

import pytest
from flask import Flask
from flask_wtf import CSRFProtect
from sqlalchemy import Engine, text
from sqlalchemy.pool import QueuePool
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from tests.support.endpoint import (
    FORM,
    Endpoint,
    assert_endpoint_response,
    interfering_host,
    raising,
    statements,
    store_weaker_hash,
)
from tests.support.factories import SECRET, make_client
from webapp.core.database.engine import make_engine
from webapp.core.errors import Unavailable
from webapp.oauth.errors import ErrorKind

RIGHT = {"grant_type": "client_credentials", "client_id": "northwind-api", "client_secret": SECRET}


@pytest.fixture
def hosted(sqlite_engine: Engine) -> Endpoint:
    """Return the endpoint in a hostile host, with a client."""
    endpoint = Endpoint(sqlite_engine, interfering_host())
    make_client(sqlite_engine, client_id="northwind-api")
    return endpoint


@pytest.mark.parametrize(
    ("status", "options"),
    [
        (200, {"data": RIGHT}),
        (400, {"data": {}}),
        (400, {"data": RIGHT, "query_string": "client_id=x"}),
        (400, {"data": RIGHT, "content_type": "text/plain"}),
        (400, {"data": {**RIGHT, "scope": "nothing"}}),
        (401, {"data": {**RIGHT, "client_secret": "a-wrong-secret"}}),
        (405, {"data": RIGHT, "method": "PUT"}),
        (405, {"method": "OPTIONS"}),
        (405, {"method": "GET"}),
        (413, {"data": {**RIGHT, "foo": "x" * 9000}}),
        (400, {"data": RIGHT, "headers": {"X-Trouble": "400"}}),
        (401, {"data": RIGHT, "headers": {"X-Trouble": "401"}}),
        (403, {"data": RIGHT, "headers": {"X-Trouble": "403"}}),
        (413, {"data": RIGHT, "headers": {"X-Trouble": "413"}}),
        (415, {"data": RIGHT, "headers": {"X-Trouble": "415"}}),
        (429, {"data": RIGHT, "headers": {"X-Trouble": "429"}}),
        (500, {"data": RIGHT, "headers": {"X-Trouble": "500"}}),
        (503, {"data": RIGHT, "headers": {"X-Trouble": "503"}}),
        (500, {"data": RIGHT, "headers": {"X-Trouble": "crash"}}),
    ],
)
def test_errors_are_json_in_any_host(hosted: Endpoint, status: int, options: dict[str, Any]) -> None:
    """Return JSON although the host sets cookies, CORS headers and HTML error pages (P13, W15, W16)."""
    given = {"method": "POST", "content_type": FORM} | options
    assert_endpoint_response(hosted.client.open("/connect/token", **given), status)


@pytest.mark.parametrize(
    ("error", "retry_after"), [(TooManyRequests(retry_after=7), "7"), (ServiceUnavailable(retry_after=9), "9")]
)
def test_retry_after_of_the_host_is_kept(sqlite_engine: Engine, error: Exception, retry_after: str) -> None:
    """Keep the Retry-After of an HTTP error that the host raises (P13)."""
    endpoint = Endpoint(sqlite_engine)
    endpoint.app.before_request(raising(error))
    response = endpoint.request_token("northwind-api")
    assert response.json == {"error": "temporarily_unavailable"}
    assert response.headers["Retry-After"] == retry_after


@pytest.mark.parametrize("service", ["authenticator", "keys"])
def test_unreachable_database_is_503(hosted: Endpoint, service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return 503 with Retry-After when the database is unreachable (P13, D8)."""
    method = {"authenticator": "authenticate", "keys": "signing_key"}[service]
    monkeypatch.setattr(type(getattr(hosted.services, service)), method, raising(Unavailable()))
    response = hosted.post(RIGHT)
    assert_endpoint_response(response, 503)
    assert response.json == {"error": "temporarily_unavailable"}
    assert response.headers["Retry-After"] == "5"


def test_unreadable_file_and_exhausted_pool_are_503(sqlite_url: str) -> None:
    """Return 503 when the database file is unreadable and when every connection is in use (D8)."""
    engine = make_engine(sqlite_url)
    endpoint = Endpoint(engine)
    make_client(engine, client_id="northwind-api")
    pool = engine.pool
    assert isinstance(pool, QueuePool)
    pool._timeout = 0.05
    connections = [engine.connect() for _ in range(15)]
    assert endpoint.post(RIGHT).status_code == 503
    for connection in connections:
        connection.close()
    assert endpoint.post(RIGHT).status_code == 200
    engine.dispose()


def test_locked_postgresql_that_stops_is_503(postgresql_url: str, postgresql_server: Engine) -> None:
    """Return 503 when PostgreSQL stops while a request waits for a lock (D8)."""
    engine = make_engine(postgresql_url)
    endpoint = Endpoint(engine)
    make_client(engine, client_id="northwind-api")
    assert endpoint.post(RIGHT).status_code == 200
    name = engine.url.database
    with postgresql_server.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
        )
        assert endpoint.post(RIGHT).status_code == 503
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true"))
    assert endpoint.post(RIGHT).status_code == 200
    engine.dispose()


class Leaky(Exception):
    """An exception that carries the sent values, as those of libraries do."""


@pytest.mark.parametrize("place", ["authenticator", "tokens"])
def test_unexpected_error_reveals_nothing(
    hosted: Endpoint, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Keep message, local variables and body out of the response and the log (L5, L4)."""
    method = {"authenticator": "authenticate", "tokens": "issue"}[place]
    monkeypatch.setattr(type(getattr(hosted.services, place)), method, raising(Leaky(f"secret={SECRET}")))
    with caplog.at_level(logging.DEBUG):
        response = hosted.post(RIGHT, headers={"X-Request-ID": "4bf92f3577b34da6a3ce929d0e0e4736"})
    assert_endpoint_response(response, 500)
    assert response.json == {"error": "server_error"}
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert re.match(
        r"Identity endpoint: Leaky in request 4bf92f3577b34da6a3ce929d0e0e4736 at .*token \(", record.getMessage()
    )
    assert record.exc_info is None
    assert SECRET not in caplog.text + repr([vars(record) for record in caplog.records])


def test_no_secret_hash_or_token_in_logs(
    each_endpoint: Endpoint, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Log none of them at the lowest level of every logger, through success, refusal and renewal (L4)."""
    client = make_client(each_endpoint.engine)
    canary = "canary-of-a-wrong-secret"
    with caplog.at_level(logging.DEBUG):
        for name in ("sqlalchemy", "sqlalchemy.engine", "sqlalchemy.pool", "werkzeug", "psycopg", "flask"):
            caplog.set_level(logging.DEBUG, name)
        each_endpoint.engine.echo = "debug"
        store_weaker_hash(each_endpoint.engine, client)
        token = (each_endpoint.request_token(client).json or {})["access_token"]
        each_endpoint.request_token(client, basic=True)
        each_endpoint.request_token(client, canary)
        each_endpoint.request_token(canary, canary, basic=True)
        each_endpoint.client.get("/.well-known/jwks.json")
        each_endpoint.engine.echo = False
    captured = capfd.readouterr()
    logged = "\n".join([caplog.text, captured.out, captured.err])
    assert "UPDATE identity_client_secrets" in logged
    for secret in (SECRET, canary, token, "$argon2id$", "$hmac-sha256$"):
        assert secret not in logged


def test_error_descriptions_use_allowed_characters() -> None:
    """Use only %x20-21 / %x23-5B / %x5D-7E (RFC 6749 section 5.2, P12)."""
    for refusal in ErrorKind:
        _, code, description = refusal.value
        assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", code + (description or ""))


def test_only_invalid_client_has_no_description() -> None:
    """Omit error_description for invalid_client only (P7)."""
    assert [refusal.name for refusal in ErrorKind if refusal.value[2] is None] == ["INVALID_CLIENT"]


def csrf_host() -> Flask:
    app = Flask("host")
    app.secret_key = "s" * 32
    app.add_url_rule("/host", "own", lambda: "done", methods=["POST"])
    return app


@pytest.mark.parametrize("order", ["csrf first", "csrf last", "csrf without app first", "none"])
def test_csrf_exemptions_in_any_start_order(sqlite_engine: Engine, order: str) -> None:
    """Exempt the three endpoints from the host's CSRF protection, before or after its set-up (E1)."""
    app, csrf = csrf_host(), CSRFProtect()
    if order == "csrf first":
        csrf.init_app(app)
    elif order == "csrf without app first":
        csrf = CSRFProtect(app)
    endpoint = Endpoint(sqlite_engine, app)
    if order == "csrf last":
        csrf.init_app(app)
    make_client(sqlite_engine, client_id="northwind-api")
    assert endpoint.post(RIGHT).status_code == 200
    assert endpoint.client.post("/host").status_code == (200 if order == "none" else 400)
    assert len(csrf._exempt_views) in (0, 3)
    assert not csrf._exempt_blueprints


def test_two_applications_share_nothing(sqlite_url: str, postgresql_url: str) -> None:
    first, second = (Endpoint(make_engine(url)) for url in (sqlite_url, postgresql_url))
    client = make_client(first.engine)
    token = (first.request_token(client).json or {})["access_token"]
    assert second.request_token(client).status_code == 401
    assert second.services.keys.for_header(token.partition(".")[0]) is None
    for endpoint in (first, second):
        endpoint.engine.dispose()


def test_truncated_body_is_refused(endpoint: Endpoint) -> None:
    """Refuse a body that is shorter than its Content-Length (D1)."""
    response = endpoint.client.post(
        "/connect/token", input_stream=io.BytesIO(b"grant_type=client_cred"), content_type=FORM, content_length=500
    )
    assert response.status_code in (400, 401)


def test_cached_client_costs_one_statement(endpoint: Endpoint) -> None:
    make_client(endpoint.engine, client_id="northwind-api")
    assert endpoint.post(RIGHT).status_code == 200
    with statements(endpoint.engine) as seen:
        assert endpoint.post(RIGHT).status_code == 200
    assert len(seen) == 1


def test_failed_hash_renewal_does_not_fail_the_request(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue the token, and retry the renewal at the next success."""
    make_client(endpoint.engine, client_id="northwind-api")
    monkeypatch.setattr(type(endpoint.services.secrets.hasher), "needs_renewal", lambda *_: True)
    monkeypatch.setattr("webapp.core.authentication.authenticator.unit_of_work", raising(Unavailable()))
    assert endpoint.post(RIGHT).status_code == 200
