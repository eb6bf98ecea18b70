"""Credentials sent over plain HTTP (C6)."""

import logging
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.endpoint import (
    ENDPOINTS,
    FORM,
    Endpoint,
    argon2_computations,
    basic_header,
    latest_requests,
    statements,
)
from tests.support.factories import SECRET, make_client

PLAIN = "http://id.mas.example"
RIGHT = {"grant_type": "client_credentials", "client_id": "northwind-api", "client_secret": SECRET}
BASIC = {"Authorization": basic_header("northwind-api", SECRET)}


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize(
    ("options", "exposed"),
    [
        ({"data": RIGHT}, True),
        ({"data": {"grant_type": "client_credentials"}, "headers": BASIC}, True),
        ({"json": RIGHT, "headers": BASIC}, True),
        ({"method": "GET", "headers": BASIC}, True),
        ({"data": {"grant_type": "client_credentials"}}, False),
        ({"data": {**RIGHT, "pad": "x" * 9000}}, False),
        ({"method": "DELETE"}, False),
    ],
)
def test_plain_http_is_400_and_recorded(
    endpoint: Endpoint, path: str, options: dict[str, Any], exposed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Return 400 without redirect or verification, and show the owner the exposed secret (L2, C6, P13)."""
    client = make_client(endpoint.engine, client_id="northwind-api")
    with argon2_computations() as hashed, statements(endpoint.engine) as seen:
        response = endpoint.client.open(path, **{"method": "POST", "base_url": PLAIN} | options)
    assert response.status_code == 400
    assert response.json is not None
    assert response.json["error"] == "invalid_request"
    assert response.json["error_description"].startswith("Use https.")
    assert "Location" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert not hashed
    assert not seen
    assert latest_requests(endpoint, client.id) == [("plain http", None, "127.0.0.1")] * exposed
    log_records = [record for record in caplog.records if record.name == "webapp.oauth.request"]
    assert [record.levelno for record in log_records] == [logging.WARNING] * exposed
    for cause in ("X-Forwarded-Proto", "waitress", "ProxyFix", "IDENTITY_CLIENTS_TRUSTED_PROXIES") * exposed:
        assert cause in caplog.text
    assert SECRET not in caplog.text


def test_unknown_id_over_plain_http_is_not_logged(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Keep an unknown client ID out of the log, since it may be a misplaced secret (C6, L3)."""
    form = {**RIGHT, "client_id": "a-secret-in-the-wrong-field"}
    assert endpoint.client.post(ENDPOINTS[0], base_url=PLAIN, data=form).status_code == 400
    endpoint.services.recorder.write()
    assert "a-secret-in-the-wrong-field" not in caplog.text


def test_tls_terminating_proxy_must_be_trusted(sqlite_engine: Engine) -> None:
    """Accept X-Forwarded-Proto from a trusted proxy only (C6)."""
    make_client(sqlite_engine, client_id="northwind-api")
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "192.0.2.7"}
    for hops, status in ((0, 400), (1, 200), (2, 200)):
        endpoint = Endpoint(sqlite_engine, TRUSTED_PROXIES=hops)
        response = endpoint.client.post(ENDPOINTS[0], base_url=PLAIN, data=RIGHT, headers=headers)
        assert response.status_code == status


def test_loopback_may_use_http_in_development(sqlite_engine: Engine) -> None:
    """Allow plain HTTP on the loopback address in development mode (C6)."""
    endpoint = Endpoint(sqlite_engine, DEVELOPMENT=True)
    make_client(sqlite_engine, client_id="northwind-api")
    response = endpoint.client.post(ENDPOINTS[0], base_url="http://127.0.0.1:5000", data=RIGHT, content_type=FORM)
    assert response.status_code == 200
