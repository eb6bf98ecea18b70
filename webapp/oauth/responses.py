"""What the endpoint answers with: JSON, under headers that no host weakens."""

import json
import traceback
from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from flask import Response, current_app
from werkzeug.exceptions import HTTPException

from ..core import authentication
from ..core.errors import Busy, Throttled
from ..host import request_id

_FIXED_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_FOREIGN_HEADERS = ("set-cookie", "access-control-")
_to_json = json.JSONEncoder().encode


class JsonResponse(Response):
    """A JSON answer whose headers are settled last, after every hook of the host and its session (P13, W15, W16)."""

    default_mimetype = "application/json"

    def __init__(
        self, body: Mapping[str, Any] | None, status: int = 200, headers: Mapping[str, str] = _NOT_STORED
    ) -> None:
        super().__init__("" if body is None else _to_json(body), status)
        last = {**headers, **_FIXED_HEADERS}
        self._last_headers = list(last.items())
        self._last_names = frozenset(name.lower() for name in last)

    def get_wsgi_response(self, environ: dict[str, Any]) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return what to send, with no cookie, no cross-origin grant, and our headers as they are.

        The list is built in one pass, since `Headers` looks through all of them for each that it sets: 2 us, not 6.
        """
        kept = [
            (name, value)
            for name, value in self.headers
            if (lower := name.lower()) not in self._last_names and not lower.startswith(_FOREIGN_HEADERS)
        ]
        return self.get_app_iter(environ), self.status, kept + self._last_headers


class Refusal(Enum):
    """Every refusal: status, error code of RFC 6749 section 5.2, and a fixed text that repeats no input (P12).

    `invalid_client` has no text: whatever went wrong, its bytes are the same (P7).
    """

    PLAIN_HTTP = (
        400,
        "invalid_request",
        "Use https. A secret that was sent over plain http is exposed: change it.",
    )
    METHOD = 405, "invalid_request", "Use POST."
    CONTENT_TYPE = 400, "invalid_request", "Send the parameters as application/x-www-form-urlencoded."
    TOO_LARGE = 413, "invalid_request", "The request is too large."
    IN_QUERY = 400, "invalid_request", "Send the parameters in the body, not in the address."
    NOT_UTF_8 = 400, "invalid_request", "The body is not form-encoded UTF-8."
    REPEATED = 400, "invalid_request", "A parameter is there more than once."
    TWO_CREDENTIALS = 400, "invalid_request", "Authenticate in one way only: by HTTP Basic or in the body."
    TWO_CLIENT_IDS = 400, "invalid_request", "The client_id of the body differs from that of HTTP Basic."
    NO_GRANT_TYPE = 400, "invalid_request", "The parameter grant_type is missing."
    GRANT_TYPE = 400, "unsupported_grant_type", "The only grant_type is client_credentials."
    CLIENT = 401, "invalid_client", None
    SCOPE_FORM = 400, "invalid_scope", "The scope is not a list of scopes separated by spaces."
    SCOPE = 400, "invalid_scope", "The client may not have every scope that it asked for."
    NO_ROLES = 400, "invalid_scope", "The account holds none of the client's API roles any more."
    NO_TOKEN = 400, "invalid_request", "The parameter token is missing."
    FOREIGN_TOKEN = 400, "invalid_grant", "The token was issued to another client."


class Refused(Exception):
    """The request ends here, with this refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.name)
        self.refusal = refusal


_REFUSAL_HEADERS = {
    401: {"WWW-Authenticate": 'Basic realm="identity", charset="UTF-8"'},
    405: {"Allow": "POST"},
}


def refused(error: Refused) -> JsonResponse:
    """Answer with the refusal."""
    status, code, description = error.refusal.value
    body = {"error": code} if description is None else {"error": code, "error_description": description}
    return JsonResponse(body, status, {**_NOT_STORED, **_REFUSAL_HEADERS.get(status, {})})


def not_authenticated(_error: authentication.Refused) -> JsonResponse:
    """Answer with the one refusal of all who did not authenticate (P7)."""
    return refused(Refused(Refusal.CLIENT))


def busy(error: Busy) -> JsonResponse:
    """Ask the caller to come back: the database is out of reach (D8), or too many hashes are computed (D7)."""
    return _unavailable(503, {"Retry-After": str(error.retry_after_seconds)})


def throttled(error: Throttled) -> JsonResponse:
    """Ask the caller to come back: too many were refused (D4), or a quota is used up (D5)."""
    return _unavailable(429, {"Retry-After": str(error.retry_after_seconds)})


def http_error(error: HTTPException) -> JsonResponse:
    """Turn an HTTP error of the framework's or the host's into JSON (P13)."""
    status = error.code or 500
    if status == Refusal.CLIENT.value[0]:
        return refused(Refused(Refusal.CLIENT))
    if status == Refusal.TOO_LARGE.value[0]:
        return refused(Refused(Refusal.TOO_LARGE))
    if status in (429, 503):
        retry_after = {name: value for name, value in error.get_headers() if name.lower() == "retry-after"}
        return _unavailable(status, retry_after)
    return JsonResponse({"error": "invalid_request" if status < 500 else "server_error"}, status)


def unexpected(error: Exception) -> JsonResponse:
    """Answer 500, and log where it happened; not the message or variables, which may hold what was sent (L4, L5)."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)
    current_app.logger.error("Identity endpoint: %s in request %s at %s", type(error).__name__, request_id(), places)
    return JsonResponse({"error": "server_error"}, 500)


def _unavailable(status: int, headers: Mapping[str, str]) -> JsonResponse:
    return JsonResponse({"error": "temporarily_unavailable"}, status, {**_NOT_STORED, **headers})
