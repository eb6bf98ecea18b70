"""What the endpoint answers with: JSON, under headers that no host weakens."""

import json
import logging
import traceback
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, NamedTuple
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import HTTPException

from ..core.authentication import authenticator
from ..core.errors import RateLimited, Unavailable
from ..host import Services
from ..http_request import request_id_of
from ..security_headers import JSON_POLICY

LOG = logging.getLogger(__name__)
FIXED_HEADERS = {
    "Content-Type": "application/json",
    "Content-Security-Policy": JSON_POLICY,
    "X-Content-Type-Options": "nosniff",
}
_NOT_STORED = {"Cache-Control": "no-store", "Pragma": "no-cache"} | FIXED_HEADERS
_to_json = json.JSONEncoder().encode


class Answer(NamedTuple):
    """What goes back to the caller, with every header that is ours to settle (P13, W15, W16)."""

    body: bytes
    status: int
    headers: Mapping[str, str]


def json_answer(body: Mapping[str, Any] | None, status: int = 200, headers: Mapping[str, str] = _NOT_STORED) -> Answer:
    """Return an answer; None is an empty body."""
    return Answer(b"" if body is None else _to_json(body).encode(), status, headers)


View = Callable[[WSGIEnvironment, Services], Answer]
"""A view of the endpoint: a function of the request and of what the application holds, whoever calls it."""


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


def answered(view: View, environ: WSGIEnvironment, ours: Services) -> Answer:
    """Return what a view answers, or the answer to the error that ended it; this never fails."""
    try:
        return view(environ, ours)
    except Exception as error:
        return answer_to(error, environ)


def answer_to(error: Exception, environ: WSGIEnvironment) -> Answer:
    """Return the answer to whatever ended a request: a refusal, an outage, an error of the framework's or of ours."""
    match error:
        case Refused():
            return _refused(error.refusal)
        case authenticator.AuthenticationFailed():
            return _refused(Refusal.CLIENT)  # the one refusal of all who did not authenticate (P7)
        case Unavailable() | RateLimited():
            # The database is out of reach (D8), too many hashes are computed (D7), too many were refused (D4), or a
            # quota is used up (D5).
            status = 503 if isinstance(error, Unavailable) else 429
            return _unavailable(status, {"Retry-After": str(error.retry_after_seconds)})
        case HTTPException():
            return _http_error(error)
    return _unexpected(error, environ)


def _refused(refusal: Refusal) -> Answer:
    status, code, description = refusal.value
    body = {"error": code} if description is None else {"error": code, "error_description": description}
    return json_answer(body, status, {**_NOT_STORED, **_REFUSAL_HEADERS.get(status, {})})


def _http_error(error: HTTPException) -> Answer:
    """Turn an HTTP error of the framework's or the host's into JSON (P13)."""
    status = error.code or 500
    if status == Refusal.CLIENT.value[0]:
        return _refused(Refusal.CLIENT)
    if status == Refusal.TOO_LARGE.value[0]:
        return _refused(Refusal.TOO_LARGE)
    if status in (429, 503):
        retry_after = {name: value for name, value in error.get_headers() if name.lower() == "retry-after"}
        return _unavailable(status, retry_after)
    return json_answer({"error": "invalid_request" if status < 500 else "server_error"}, status)


def _unexpected(error: Exception, environ: WSGIEnvironment) -> Answer:
    """Answer 500, and log where it happened; not the message or variables, which may hold what was sent (L4, L5)."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " > ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)
    LOG.error("Identity endpoint: %s in request %s at %s", type(error).__name__, request_id_of(environ), places)
    return json_answer({"error": "server_error"}, 500)


def _unavailable(status: int, headers: Mapping[str, str]) -> Answer:
    return json_answer({"error": "temporarily_unavailable"}, status, {**_NOT_STORED, **headers})
