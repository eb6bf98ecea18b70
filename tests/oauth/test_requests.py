"""Syntax of requests to the token endpoint (P1-P5, P9, D1)."""

import base64
import io

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from tests.support.endpoint import AUDIENCE, FORM, Endpoint, Parameters, basic_header, statements
from tests.support.factories import SECRET, make_client
from webapp.core.database.models import TokenRequest
from webapp.core.database.unit_of_work import read_session

GRANT = ("grant_type", "client_credentials")
CLIENT_ID = "northwind-api"
RIGHT = {"grant_type": "client_credentials", "client_id": CLIENT_ID, "client_secret": SECRET}


@pytest.fixture(autouse=True)
def _client(endpoint: Endpoint) -> None:
    make_client(endpoint.engine, client_id=CLIENT_ID)


def is_refused(response: TestResponse, status: int, error: str) -> bool:
    return (response.status_code, response.json and response.json["error"]) == (status, error)


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "INVENTED"]
)
def test_other_methods_are_405_with_allow(endpoint: Endpoint, method: str) -> None:
    """Return 405 with an Allow header for any method but POST (P1)."""
    response = endpoint.client.open("/connect/token", method=method, data=RIGHT, content_type=FORM)
    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    assert response.mimetype == "application/json"
    assert method == "HEAD" or (response.json and response.json["error"] == "invalid_request")


def test_url_map_lists_only_post(endpoint: Endpoint) -> None:
    """Register the route for POST only, as tools that read the URL map expect (P1)."""
    (rule,) = endpoint.app.url_map.iter_rules("identity_clients_endpoint.token")
    assert list(rule.methods or ()) == ["POST"]


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (FORM, 200),
        (f"{FORM}; charset=UTF-8", 200),
        ("Application/X-WWW-Form-URLEncoded;charset=utf-8", 200),
        (None, 400),
        ("", 400),
        ("application/json", 400),
        ("multipart/form-data; boundary=x", 400),
        ("text/plain", 400),
        (f"text/plain; {FORM}", 400),
        (f"{FORM}x", 400),
    ],
)
def test_other_content_types_are_refused(endpoint: Endpoint, content_type: str | None, status: int) -> None:
    """Refuse any content type but application/x-www-form-urlencoded (P1)."""
    body = "&".join(f"{name}={value}" for name, value in RIGHT.items())
    response = endpoint.client.post("/connect/token", data=body, content_type=content_type)
    assert response.status_code == status
    assert status == 200 or is_refused(response, 400, "invalid_request")


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("client_id=x", 400),
        ("client_secret=x", 400),
        ("client_secret", 400),
        ("grant_type=client_credentials", 400),
        ("scope=API", 400),
        ("token=x", 400),
        ("client_assertion=x", 400),
        ("foo=1&scope=", 400),
        ("%63lient_id=x", 400),
        ("tenant=1", 200),
        ("CLIENT_ID=x", 200),
    ],
)
def test_protocol_parameter_in_query_is_refused(endpoint: Endpoint, query: str, status: int) -> None:
    """Return invalid_request even if the body is complete and correct (P2)."""
    response = endpoint.client.post(f"/connect/token?{query}", data=RIGHT, content_type=FORM)
    assert response.status_code == status
    assert status == 200 or is_refused(response, 400, "invalid_request")
    assert status == 200 or "access_token" not in response.text


@pytest.mark.parametrize("name", ["grant_type", "client_id", "client_secret", "scope", "foo", "client_assertion"])
@pytest.mark.parametrize("values", [("same", "same"), ("one", "other"), ("", "other")])
def test_repeated_parameter_is_refused(endpoint: Endpoint, name: str, values: tuple[str, str]) -> None:
    """Return invalid_request for a repeated parameter, also with equal values (P3)."""
    parameters = [pair for pair in RIGHT.items() if pair[0] != name] + [(name, value) for value in values]
    assert is_refused(endpoint.post(parameters), 400, "invalid_request")


@pytest.mark.parametrize(
    ("parameters", "status", "error"),
    [
        ({**RIGHT, "foo": "1"}, 200, None),
        ({**RIGHT, "scope": ""}, 200, None),
        ({**RIGHT, "client_assertion": ""}, 200, None),
        ({**RIGHT, "grant_type": ""}, 400, "invalid_request"),
        ({**RIGHT, "client_secret": ""}, 401, "invalid_client"),
        ({**RIGHT, "client_id": ""}, 401, "invalid_client"),
    ],
)
def test_empty_and_unknown_parameters(
    endpoint: Endpoint, parameters: Parameters, status: int, error: str | None
) -> None:
    """Treat an empty value as absent, and ignore unknown parameters (P3)."""
    response = endpoint.post(parameters)
    assert response.status_code == status
    assert (response.json or {}).get("error") == error


RIGHT_BASIC, WRONG_BASIC = basic_header(CLIENT_ID, SECRET), basic_header(CLIENT_ID, "wrong-secret")


@pytest.mark.parametrize(
    ("header", "body", "status", "error"),
    [
        (RIGHT_BASIC, {}, 200, None),
        (RIGHT_BASIC, {"client_id": CLIENT_ID}, 200, None),
        (WRONG_BASIC, {"client_id": CLIENT_ID}, 401, "invalid_client"),
        (RIGHT_BASIC, {"client_id": "northwind-other"}, 400, "invalid_request"),
        (RIGHT_BASIC, {"client_id": CLIENT_ID.upper()}, 400, "invalid_request"),
        (RIGHT_BASIC, {"client_secret": SECRET}, 400, "invalid_request"),
        (WRONG_BASIC, {"client_secret": SECRET}, 400, "invalid_request"),
        (RIGHT_BASIC, {"client_id": CLIENT_ID, "client_secret": SECRET}, 400, "invalid_request"),
        (RIGHT_BASIC, {"client_assertion": "x.y.z"}, 400, "invalid_request"),
        ("Bearer x", {"client_id": CLIENT_ID, "client_secret": SECRET}, 400, "invalid_request"),
        (None, {"client_id": CLIENT_ID, "client_secret": SECRET, "client_assertion": "x"}, 400, "invalid_request"),
        (None, {"client_id": CLIENT_ID, "client_assertion": "x.y.z"}, 401, "invalid_client"),
        (None, {"client_assertion": "x.y.z", "client_assertion_type": "jwt"}, 401, "invalid_client"),
        (None, {"client_id": CLIENT_ID}, 401, "invalid_client"),
        (None, {"client_secret": SECRET}, 401, "invalid_client"),
        (None, {}, 401, "invalid_client"),
    ],
)
def test_two_authentication_methods_are_refused(
    endpoint: Endpoint, header: str | None, body: dict[str, str], status: int, error: str | None
) -> None:
    """Refuse a request that uses more than one authentication method (P4)."""
    headers = {"Authorization": header} if header else {}
    response = endpoint.post({**dict([GRANT]), **body}, headers=headers)
    assert response.status_code == status
    assert (response.json or {}).get("error") == error


@pytest.mark.parametrize("scheme", ["Basic ", "basic ", "BASIC ", "bAsIc  "])
def test_scheme_is_case_insensitive(endpoint: Endpoint, scheme: str) -> None:
    """Accept the scheme name Basic in any letter case (P5)."""
    header = scheme + RIGHT_BASIC.removeprefix("Basic ")
    assert endpoint.post([GRANT], headers={"Authorization": header}).status_code == 200


@pytest.mark.parametrize("secret", ["a+b%c:d e", "%2541%2541", "percent%41", "plus+plus", "col:on:s", "quote\"'&=\\"])
@pytest.mark.parametrize("basic", [True, False])
def test_credentials_are_decoded_exactly_once(endpoint: Endpoint, secret: str, basic: bool) -> None:
    """Decode the ID and secret once, in the Basic header and in the body (P5)."""
    client = make_client(endpoint.engine, client_id="id with % + : ok", secret=secret)
    assert endpoint.request_token(client, secret, basic=basic).status_code == 200
    assert (
        endpoint.request_token(client, secret.replace("%41", "A").replace("%25", "%") + "!", basic=basic).status_code
        == 401
    )


def test_double_encoded_credentials_are_refused(endpoint: Endpoint) -> None:
    """Refuse credentials that were encoded twice (P5)."""
    client = make_client(endpoint.engine, secret="secret-A-1")
    raw = base64.b64encode(f"{client.client_id}:secret-%2541-1".encode()).decode()
    assert endpoint.post([GRANT], headers={"Authorization": f"Basic {raw}"}).status_code == 401
    raw = base64.b64encode(f"{client.client_id}:secret-%41-1".encode()).decode()
    assert endpoint.post([GRANT], headers={"Authorization": f"Basic {raw}"}).status_code == 200


def encoded(raw: bytes) -> str:
    return "Basic " + base64.b64encode(raw).decode()


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic ",
        "Basic !!!!",
        RIGHT_BASIC.rstrip("=") + "=!",
        RIGHT_BASIC + "\tx",
        RIGHT_BASIC + ", " + RIGHT_BASIC,
        RIGHT_BASIC.replace("Basic ", "Basic\t"),
        RIGHT_BASIC.replace("Basic ", "Basi "),
        RIGHT_BASIC[:-3],
        encoded(f"{CLIENT_ID}{SECRET}".encode()),
        encoded(b"\xff\xfe:" + SECRET.encode()),
        encoded(f"{CLIENT_ID}:%FF%FE%FD-secret".encode()),
        encoded(f"{CLIENT_ID}:{SECRET}".encode("utf-16")),
        "Basic " + "é" * 10,
        "Bearer " + RIGHT_BASIC.removeprefix("Basic "),
        "Negotiate",
    ],
)
def test_undecodable_header_is_invalid_client(endpoint: Endpoint, header: str) -> None:
    """Return invalid_client for a Basic header that cannot be decoded (P5)."""
    with statements(endpoint.engine) as seen:
        response = endpoint.post([GRANT], environ_overrides={"HTTP_AUTHORIZATION": header})
    assert is_refused(response, 401, "invalid_client")
    assert not seen


@pytest.mark.parametrize("body", [b"grant_type=%FF&client_id=x", b"grant_type=\xff", b"\xc3\x28=1", b"%ff=1"])
def test_body_that_is_not_utf_8_is_refused(endpoint: Endpoint, body: bytes) -> None:
    """Return invalid_request for a body that is not UTF-8 (P5)."""
    response = endpoint.client.post("/connect/token", data=body, content_type=FORM)
    assert is_refused(response, 400, "invalid_request")


@pytest.mark.parametrize(
    ("grant_type", "error"),
    [
        (None, "invalid_request"),
        ("", "invalid_request"),
        ("Client_Credentials", "unsupported_grant_type"),
        ("client_credentials ", "unsupported_grant_type"),
        ("password", "unsupported_grant_type"),
        ("refresh_token", "unsupported_grant_type"),
        ("authorization_code", "unsupported_grant_type"),
        ("urn:ietf:params:oauth:grant-type:jwt-bearer", "unsupported_grant_type"),
    ],
)
def test_only_client_credentials_grant(endpoint: Endpoint, grant_type: str | None, error: str) -> None:
    """Refuse a missing grant_type and any grant but client_credentials (P9)."""
    parameters = {**RIGHT, "grant_type": grant_type} if grant_type is not None else {**RIGHT}
    if grant_type is None:
        del parameters["grant_type"]
    assert is_refused(endpoint.post(parameters), 400, error)


def body_of(size: int) -> bytes:
    start = "&".join(f"{name}={value}" for name, value in RIGHT.items()) + "&foo="
    return (start + "x" * (size - len(start))).encode()


@pytest.mark.parametrize(("size", "status"), [(8192, 200), (8193, 413), (100_000, 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_body_limit_is_8_kib(endpoint: Endpoint, size: int, status: int, chunked: bool) -> None:
    """Accept a body of 8 KiB and refuse a longer one (D1)."""
    if chunked:
        environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
        response = endpoint.client.post(
            "/connect/token",
            input_stream=io.BytesIO(body_of(size)),
            content_type=FORM,
            environ_overrides=environ,
        )
    else:
        response = endpoint.client.post("/connect/token", data=body_of(size), content_type=FORM)
    assert response.status_code == status
    assert status == 200 or is_refused(response, 413, "invalid_request")


@pytest.mark.parametrize(("count", "status"), [(50, 200), (51, 413)])
def test_body_limit_is_50_parameters(endpoint: Endpoint, count: int, status: int) -> None:
    """Accept 50 parameters and refuse 51 (D1)."""
    more = [(f"p{number}", "") for number in range(count - len(RIGHT))]
    assert endpoint.post([*RIGHT.items(), *more]).status_code == status


@pytest.mark.parametrize(
    ("resources", "status", "error"),
    [
        ([AUDIENCE], 200, None),
        ([AUDIENCE, AUDIENCE], 200, None),
        (["", AUDIENCE], 200, None),
        ([""], 200, None),
        (["https://other.example"], 400, "invalid_target"),
        ([AUDIENCE, "https://other.example"], 400, "invalid_target"),
        ([f"{AUDIENCE}/"], 400, "invalid_target"),
        ([AUDIENCE.upper()], 400, "invalid_target"),
    ],
)
def test_resource_must_be_the_audience(
    endpoint: Endpoint, resources: list[str], status: int, error: str | None
) -> None:
    """Accept repeated `resource` values (RFC 8707 section 2), and record the reason of a refusal (P3)."""
    response = endpoint.post([*RIGHT.items(), *(("resource", value) for value in resources)])
    assert (response.status_code, (response.json or {}).get("error")) == (status, error)
    endpoint.services.recorder.write()
    with read_session(endpoint.engine) as session:
        [recorded] = session.scalars(select(TokenRequest))
    assert (recorded.outcome, recorded.secret_label) == ("issued" if status == 200 else "resource not allowed", "A")


def test_resource_is_checked_after_authentication(endpoint: Endpoint) -> None:
    """Return invalid_client before invalid_target (P3)."""
    wrong = {**RIGHT, "client_secret": "a-wrong-secret", "resource": "https://other.example"}
    assert endpoint.post(wrong).status_code == 401


def test_other_parameters_may_not_repeat_beside_resource(endpoint: Endpoint) -> None:
    """Refuse other repeated parameters beside a repeated `resource` (P3)."""
    repeated = [("resource", AUDIENCE)] * 2 + [("scope", "")] * 2
    response = endpoint.post([*RIGHT.items(), *repeated])
    assert (response.status_code, (response.json or {})["error"]) == (400, "invalid_request")
