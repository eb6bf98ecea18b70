"""Rules for all responses of the API: headers, problems, limits (I8, D1, D5, C6)."""

import logging
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine

from tests.support.api import API_CATALOGUE, HELD, PREFIX, Api, allow_api, make_caller, problem_of
from tests.support.endpoint import Endpoint, interfering_host
from tests.support.factories import SECRET, make_account, make_client
from webapp.api.problems import Problem
from webapp.api.resources import RESOURCES
from webapp.core.database.models import utc_now
from webapp.core.errors import Unavailable

JSON_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def test_every_response_is_private_json(api: Api) -> None:
    """With the security headers, and never cached (P13, W15, W16)."""
    responses = [
        api.call("GET", "/clients"),
        api.call("POST", "/clients", {"client_id": "claims-feed", "roles": ["MerchantUser"]}),
        api.call("GET", "/nowhere"),
        api.call("GET", "/clients", token="x"),
        api.call("PUT", "/clients", {}),
        api.client.get(f"{PREFIX}/openapi.json"),
    ]
    for response in responses:
        assert {name: response.headers.get(name) for name in JSON_HEADERS} == JSON_HEADERS
        assert response.content_type in ("application/json", "application/problem+json")
        assert response.headers["X-Request-ID"]
        assert len(response.headers) == len({name.lower() for name, _ in response.headers})


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_another_method_is_405(api: Api, method: str) -> None:
    """Before the caller is authenticated (RFC 9110 section 15.5.6)."""
    for path, _, operations in RESOURCES:
        response = api.client.open(PREFIX + path.replace("<", "").replace(">", ""), method=method)
        if method in operations:
            assert response.status_code == 401, path
        else:
            assert problem_of(response) == (405, "method-not-allowed"), path
            allowed = set(response.headers["Allow"].split(", "))
            assert allowed == operations.keys() | ({"HEAD"} if "GET" in operations else set())


def test_head_is_get_without_a_body(api: Api) -> None:
    response = api.call("HEAD", "/clients")
    assert (response.status_code, response.data) == (200, b"")


@pytest.mark.parametrize(
    ("method", "content_type", "status"),
    [
        ("POST", "application/json", 201),
        ("POST", "application/json; charset=utf-8", 201),
        ("POST", "application/x-www-form-urlencoded", 415),
        ("POST", "text/plain", 415),
        ("PATCH", "application/merge-patch+json", 200),
        ("PATCH", "application/json", 415),
        ("PATCH", "application/json-patch+json", 415),
    ],
)
def test_only_json_is_read(api: Api, method: str, content_type: str, status: int) -> None:
    """Other content types are refused (I8)."""
    body = {"client_id": "claims-feed", "roles": ["MerchantUser"]} if method == "POST" else {"name": "Name"}
    path = "/clients" if method == "POST" else f"/clients/{make_client(api.engine).id}"
    response = api.call(method, path, body, version=1, content_type=content_type)
    assert response.status_code == status
    if status == 415:
        expected = "Accept-Post" if method == "POST" else "Accept-Patch"
        assert response.headers[expected].endswith("json")


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 422), (64 * 1024 + 1, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_has_at_most_64_kib(api: Api, size: int, status: int, chunked: bool) -> None:
    """With and without a length (D1)."""
    frame = '{"client_id":"claims-feed","roles":["MerchantUser"],"description":""}'
    body = frame.replace('""}', f'"{"x" * (size - len(frame))}"}}').encode()
    options: dict[str, Any] = {"environ_overrides": {"wsgi.input_terminated": True}} if chunked else {}
    response = api.call("POST", "/clients", body, **options)
    assert response.status_code == status


def test_a_body_where_none_is_expected_is_400(api: Api) -> None:
    """It is not ignored (D1)."""
    client = make_client(api.engine)
    assert api.call("POST", f"/clients/{client.id}/revoke-tokens", {"x": 1}).status_code == 400


def test_requests_of_a_client_are_limited(sqlite_engine: Engine) -> None:
    """Each client has its own quota, and after `Retry-After` one more request succeeds (D5)."""
    endpoint = Endpoint(sqlite_engine, API_ENABLED=True, API_REQUESTS_PER_CLIENT_AND_MINUTE=3)
    make_account(sqlite_engine)
    allow_api(sqlite_engine)
    tokens = [endpoint.token(make_caller(sqlite_engine, name)) for name in ("deployer", "other-one")]
    url = f"{PREFIX}/roles"

    def get(token: str) -> Any:
        return endpoint.client.get(url, headers={"Authorization": f"Bearer {token}"})

    with time_machine.travel(utc_now(), tick=False) as clock:
        remaining = []
        for _ in range(3):
            response = get(tokens[0])
            assert response.headers["RateLimit-Policy"] == '"default";q=3;w=60'
            remaining.append(response.headers["RateLimit"])
            clock.shift(timedelta(seconds=1))
        assert remaining == ['"default";r=2;t=60', '"default";r=1;t=59', '"default";r=0;t=58']
        refused = get(tokens[0])
        assert problem_of(refused) == (429, "rate-limited")
        assert (refused.headers["Retry-After"], refused.headers["RateLimit"]) == ("57", '"default";r=0;t=57')
        assert get(tokens[1]).status_code == 200
        clock.shift(timedelta(seconds=57))
        assert get(tokens[0]).status_code == 200


def test_quotas_of_core_are_429(sqlite_engine: Engine) -> None:
    """With `Retry-After` (D5)."""
    endpoint = Endpoint(sqlite_engine, API_ENABLED=True, NEW_CLIENTS_PER_ACCOUNT_AND_HOUR=1)
    make_account(sqlite_engine)
    allow_api(sqlite_engine)
    header = {"Authorization": f"Bearer {endpoint.token(make_caller(sqlite_engine))}"}
    answers = [
        endpoint.client.post(
            f"{PREFIX}/clients", json={"client_id": f"client-{n}", "roles": ["MerchantUser"]}, headers=header
        )
        for n in range(2)
    ]
    assert answers[0].status_code == 201
    assert problem_of(answers[1]) == (429, "rate-limited")
    assert int(answers[1].headers["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"base_url": "https://localhost"}, 200),
        ({"base_url": "http://localhost"}, 400),
        ({"base_url": "http://localhost", "headers": {"X-Forwarded-Proto": "https"}}, 400),
    ],
)
def test_a_token_over_plain_http_is_refused(api: Api, options: dict[str, Any], status: int) -> None:
    """Without a redirect, which would send it again (C6)."""
    response = api.call("GET", "/roles", **options)
    assert response.status_code == status
    if status == 400:
        assert problem_of(response) == (400, "plain-http")


def test_an_unusable_database_is_503(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `Retry-After` (D8)."""
    token = api.token(api.caller)

    def unavailable(*_: object, **__: object) -> None:
        raise Unavailable

    monkeypatch.setattr("webapp.core.tokens.revocation.get_token_status", unavailable)
    response = api.call("GET", "/clients", token=token)
    assert (problem_of(response), response.headers["Retry-After"]) == ((503, "unavailable"), "5")


def test_a_500_contains_and_logs_no_value(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the type and the location of the error (L5)."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"near {SECRET}")

    monkeypatch.setattr("webapp.api.clients.find_clients", broken)
    with caplog.at_level(logging.DEBUG):
        response = api.call("GET", "/clients")
    assert problem_of(response) == (500, "server-error")
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text + response.text


# In a host


def test_the_hooks_of_a_host_change_no_response(sqlite_engine: Engine) -> None:
    """The API's own headers and bodies stay (E2)."""
    endpoint = Endpoint(sqlite_engine, interfering_host(), API_ENABLED=True)
    for path in ("/clients", "/nowhere", "/clients/x/y/z", "/openapi.json", "/reference/x.css"):
        response = endpoint.client.get(PREFIX + path)
        assert response.status_code != 418
        assert response.headers["Cache-Control"] == "no-store"
        assert not [
            name for name, _ in response.headers if name.lower() in ("set-cookie", "access-control-allow-origin")
        ]
    assert endpoint.client.get("/elsewhere").status_code == 418


def test_without_the_setting_there_is_no_api_and_no_role_for_it(sqlite_engine: Engine) -> None:
    """The feature is off by default (E2)."""
    endpoint = Endpoint(sqlite_engine)
    assert endpoint.client.get(f"{PREFIX}/openapi.json").status_code == 404
    assert "ManageIdentityClients" not in endpoint.services.catalogue
    assert set(API_CATALOGUE) - set(endpoint.services.catalogue) == {"ManageIdentityClients"} <= set(HELD)


def test_every_problem_has_a_unique_type() -> None:
    assert len({problem.slug for problem in Problem}) == len(Problem)
