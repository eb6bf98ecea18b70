"""The JSON responses of the identity endpoint, and the one place where an error becomes a response."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import HTTPException

from ..core import metrics
from ..core.authentication.assertions import ClientAssertion
from ..core.authentication.authenticator import AuthenticationFailed
from ..core.errors import RateLimited, Unavailable
from ..host import Services
from ..http_request import request_id_of
from ..security_headers import JSON_POLICY
from .errors import ErrorKind, OAuthError
from .request import Credentials, OAuthRequest, parse_request

LOG = logging.getLogger(__name__)
JSON_HEADERS = {
    "Content-Type": "application/json",
    "Content-Security-Policy": JSON_POLICY,
    "X-Content-Type-Options": "nosniff",
}
NO_STORE_HEADERS = {"Cache-Control": "no-store", "Pragma": "no-cache"} | JSON_HEADERS
_HEADERS_BY_STATUS = {
    401: {"WWW-Authenticate": 'Basic realm="identity", charset="UTF-8"'},
    405: {"Allow": "POST"},
}
_ENDPOINTS = {"token": "token", "introspect": "introspection", "revoke": "revocation"}
"""The metrics' name of each view's endpoint."""
_to_json = json.JSONEncoder().encode


class JsonResponse(NamedTuple):
    """A response, with every header that the endpoint sets (P13, W15, W16)."""

    body: bytes
    status: int
    headers: Mapping[str, str]


View = Callable[[OAuthRequest, Services], JsonResponse]
"""A view of the endpoint. It raises `OAuthError`, or an error of core, where it does not respond."""


def json_response(
    body: Mapping[str, Any] | None, status: int = 200, headers: Mapping[str, str] = NO_STORE_HEADERS
) -> JsonResponse:
    """Return a response with this JSON body, or an empty one for None."""
    return JsonResponse(b"" if body is None else _to_json(body).encode(), status, headers)


def handle(view: View, environ: WSGIEnvironment, services: Services) -> JsonResponse:
    """Return the response to a request: the view's, or that of the error that it raised. Never raises."""
    began, method, outcome = time.perf_counter(), "none", metrics.SUCCESS
    try:
        request = parse_request(environ, services.settings)
        if request.credentials is not None:
            method = _method(request.credentials, environ)
        response = view(request, services)
    except Exception as error:
        outcome = outcome_of(error)
        response = error_response(error, request_id_of(environ))
    metrics.observe(_ENDPOINTS[view.__name__], method, outcome, time.perf_counter() - began)
    return response


def outcome_of(error: Exception) -> str:
    """Return the outcome of a request that ended in an error, as the metrics call it."""
    match error:
        case OAuthError():
            return error.kind.name.lower()
        case AuthenticationFailed():
            return error.reason.replace(" ", "_")
        case Unavailable():
            return "unavailable"
        case RateLimited():
            return "throttled"
    return metrics.OTHER if isinstance(error, HTTPException) else "server_error"


def _method(credentials: Credentials | ClientAssertion, environ: WSGIEnvironment) -> str:
    if isinstance(credentials, ClientAssertion):
        return "private_key_jwt"
    return "client_secret_basic" if "HTTP_AUTHORIZATION" in environ else "client_secret_post"


def error_response(error: Exception, request_id: str) -> JsonResponse:
    """Return the response to an error of the protocol, of core, or of Flask and the host, else 500."""
    match error:
        case OAuthError():
            return _protocol_error(error.kind)
        case AuthenticationFailed():
            return _protocol_error(ErrorKind.INVALID_CLIENT)
        case Unavailable():
            return _temporarily_unavailable(503, {"Retry-After": str(error.retry_after_seconds)})
        case RateLimited():
            return _temporarily_unavailable(429, {"Retry-After": str(error.retry_after_seconds)})
        case HTTPException():
            return _http_error(error)
    # Only where it happened: the message and the variables may contain a secret (L4, L5).
    frames = traceback.extract_tb(error.__traceback__)
    calls = " > ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)
    LOG.error("Identity endpoint: %s in request %s at %s", type(error).__name__, request_id, calls)
    return json_response({"error": "server_error"}, 500)


def _protocol_error(kind: ErrorKind) -> JsonResponse:
    status, code, description = kind.value
    body = {"error": code} if description is None else {"error": code, "error_description": description}
    return json_response(body, status, {**NO_STORE_HEADERS, **_HEADERS_BY_STATUS.get(status, {})})


def _http_error(error: HTTPException) -> JsonResponse:
    """Return an HTTP error of Flask or of a hook of the host as JSON (P13)."""
    status = error.code or 500
    if status == 401:
        return _protocol_error(ErrorKind.INVALID_CLIENT)
    if status == 413:
        return _protocol_error(ErrorKind.TOO_LARGE)
    if status in (429, 503):
        retry_after = {name: value for name, value in error.get_headers() if name.lower() == "retry-after"}
        return _temporarily_unavailable(status, retry_after)
    return json_response({"error": "invalid_request" if status < 500 else "server_error"}, status)


def _temporarily_unavailable(status: int, headers: Mapping[str, str]) -> JsonResponse:
    return json_response({"error": "temporarily_unavailable"}, status, {**NO_STORE_HEADERS, **headers})
