"""The JSON responses of the management API, and the mapping of errors to them."""

import json
import logging
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from ..core.client_changes import StaleVersion
from ..core.clients.allowed_networks import NetworksUnconfirmed
from ..core.database.models import ClientKey, IdentityClient
from ..core.errors import FieldError, InvalidFields, NotFound, RateLimited, Unavailable
from ..core.idempotency import KeyReused
from ..core.secrets.errors import (
    LastLiveSecret,
    LastSecretWouldEnd,
    SecretActionRefused,
    SecretHasEnded,
    SecretNotAllowed,
    SecretRecentlyUsed,
    TooManyKeys,
)
from ..core.secrets.keys import KEYS_MAX
from ..final_response import FinalResponse
from ..host import request_id, services
from ..security_headers import JSON_POLICY
from .problems import Problem, ProblemRaised

LOG = logging.getLogger(__name__)
JSON_TYPE, PROBLEM_TYPE = "application/json", "application/problem+json"
# Core's names of fields, where the API has others.
_MEMBERS = {"token_duration": "token_duration_minutes", "allowed_networks": "networks"}
# Core's messages on secrets name a button of the screens.
_SECRET_REFUSED = (
    "Use 6 to 100 printable ASCII characters that are hard to guess and that the client does not use already,"  # noqa: S105
    " or leave the member out to have a secret generated."
)
_BY_STATUS = {problem.status: problem for problem in Problem if problem.status in (404, 405, 413, 415, 429, 500, 503)}


def json_response(
    body: BaseModel | None, status: int, headers: Mapping[str, str], *, content_type: str = JSON_TYPE
) -> FinalResponse:
    """Return the response with this body, or with none."""
    text = b"" if body is None else body.model_dump_json().encode()
    return raw_response(text, status, headers, content_type=content_type)


def raw_response(body: bytes, status: int, headers: Mapping[str, str], *, content_type: str) -> FinalResponse:
    """Return the response with these bytes, and with the headers of every response of the API."""
    return FinalResponse(
        body,
        status,
        {
            "Cache-Control": "no-store",
            "Content-Security-Policy": JSON_POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Request-ID": request_id(),
            **({"Content-Type": content_type} if body else {}),
            **headers,
        },
    )


def problem_response(error: Exception, headers: Mapping[str, str]) -> FinalResponse:
    """Return the response to an error.

    :param headers: headers of the request's other responses too, such as those of the rate limit.
    """
    raised = to_problem(error)
    problem = raised.problem
    body: dict[str, Any] = {
        "type": problem_type(problem),
        "title": problem.title,
        "status": problem.status,
        "detail": raised.detail,
        "errors": list(raised.errors),
        **raised.members,
    }
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    return raw_response(text, problem.status, {**headers, **raised.headers}, content_type=PROBLEM_TYPE)


def problem_type(problem: Problem) -> str:
    """Return the `type` of a problem: the address of its description on the reference page."""
    settings = services().settings
    return f"{settings.issuer}{settings.api_prefix}/reference#{problem.slug}"


def to_problem(error: Exception) -> ProblemRaised:
    """Return the problem of an error of core, of Flask or of a hook of the host, else that of a fault of ours."""
    match error:
        case ProblemRaised():
            return error
        case NotFound():
            return ProblemRaised(Problem.NOT_FOUND, "Check the address, and that the account of the token is right.")
        case StaleVersion():
            return ProblemRaised(
                Problem.STALE_VERSION,
                "Nothing was changed. Read the client again, and repeat the change with its new ETag.",
                headers={"ETag": etag(error.current.version)},
            )
        case FieldError() | InvalidFields():
            return _invalid_fields(error.errors)
        case KeyReused():
            return ProblemRaised(Problem.KEY_REUSED, "Send a new Idempotency-Key with each new request.")
        case NetworksUnconfirmed():
            return _networks_unconfirmed(error)
        case SecretActionRefused():
            return _secret_action_refused(error)
        case RateLimited():
            return _retry(Problem.RATE_LIMITED, error.retry_after_seconds)
        case Unavailable():
            return _retry(Problem.UNAVAILABLE, error.retry_after_seconds)
        case HTTPException():
            return _http_error(error)
    # Only where it happened: the message and the variables may contain a secret (L4, L5).
    frames = traceback.extract_tb(error.__traceback__)
    calls = " > ".join(f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in frames)
    LOG.error("Management API: %s in request %s at %s", type(error).__name__, request_id(), calls)
    return _http_error(HTTPException())


def etag(version: int) -> str:
    """Return the entity tag of a version of a client."""
    return f'"{version}"'


def version_header(client: IdentityClient) -> Mapping[str, str]:
    """Return the `ETag` of a client's current version."""
    return {"ETag": etag(client.version)}


def _invalid_fields(errors: Sequence[FieldError]) -> ProblemRaised:
    return ProblemRaised(
        Problem.INVALID_FIELDS,
        "Nothing was changed. Correct the values that are listed in errors.",
        errors=[
            {
                "detail": _message(error),
                "pointer": f"#/{_MEMBERS.get(error.field, error.field)}",
            }
            for error in errors
        ],
    )


def _message(error: FieldError) -> str:
    is_refused_secret = error.field == "client_secret" and not isinstance(error, SecretNotAllowed)
    return _SECRET_REFUSED if is_refused_secret else str(error.message)


def _networks_unconfirmed(error: NetworksUnconfirmed) -> ProblemRaised:
    follows = error.consequences
    sentences = [f"{address} called within 7 days, and would be refused." for address in follows.refused]
    if follows.opens:
        sentences.append("The client, which is restricted now, could call from anywhere.")
    return ProblemRaised(
        Problem.CONFIRMATION_REQUIRED,
        f"{' '.join(sentences)} Repeat the request with these values in `confirmed`.",
        members={"to_confirm": sorted(follows.keys)},
    )


def _secret_action_refused(error: SecretActionRefused) -> ProblemRaised:
    kind = "key" if isinstance(error.secret, ClientKey) else "secret"
    name = f"{kind} {error.secret.label}"
    subject = name[0].upper() + name[1:]
    again = "Repeat the request with confirmed true."
    match error:
        case SecretRecentlyUsed():
            detail = f"{subject} was used at {_time(error.at)}. Its caller would be refused from now on. {again}"
            return ProblemRaised(Problem.CONFIRMATION_REQUIRED, detail)
        case LastSecretWouldEnd():
            detail = f"No secret or key would work after {_time(error.ends_at)}, and no token is issued then. {again}"
            return ProblemRaised(Problem.CONFIRMATION_REQUIRED, detail)
        case LastLiveSecret():
            detail = f"Create another secret or add another key first: {name} is the only one that works."
            return ProblemRaised(Problem.LAST_SECRET, detail)
        case SecretHasEnded():
            return ProblemRaised(Problem.SECRET_ENDED, f"{subject} has ended. Create or add another one.")
        case TooManyKeys():
            return ProblemRaised(
                Problem.TOO_MANY_KEYS, f"{KEYS_MAX} keys have not ended. End {name}, the oldest, first."
            )
    return ProblemRaised(Problem.TWO_SECRETS, f"End {name} first, or repeat the request with end_older true.")


def _retry(problem: Problem, after_seconds: int) -> ProblemRaised:
    return ProblemRaised(
        problem,
        f"Nothing was changed. Try again in {after_seconds} s.",
        headers={"Retry-After": str(after_seconds)},
    )


def _http_error(error: HTTPException) -> ProblemRaised:
    """Return the problem of an HTTP error of Flask or of a hook of the host."""
    status = error.code or 500
    problem = _BY_STATUS.get(status, Problem.MALFORMED if status < 500 else Problem.SERVER_ERROR)
    kept = {name: value for name, value in error.get_headers() if name.lower() in ("allow", "retry-after")}
    details = {
        Problem.NOT_FOUND: "Check the address.",
        Problem.SERVER_ERROR: f"Try again. If it happens again, tell support the request {request_id()}.",
        Problem.TOO_LARGE: "Send at most 64 KiB.",
    }
    return ProblemRaised(problem, details.get(problem, "The request was refused."), headers=kept)


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
