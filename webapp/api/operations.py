"""Operations of the management API: what each needs, and how a request to one becomes a response."""

import inspect
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from flask import Response, request
from flask.typing import RouteCallable
from pydantic import BaseModel
from sqlalchemy.orm import Session

from ..core import idempotency
from ..core.account_settings import renew_keys_only_roles
from ..core.audit.actions import RefusalReason
from ..core.audit.events import record_refusal
from ..core.client_changes import StaleVersion
from ..core.database.models import IdempotentResponse
from ..core.database.unit_of_work import read_session, unit_of_work
from ..core.errors import RateLimited, Unavailable
from ..core.i18n import ENGLISH, use_language
from ..host import services
from ..http_request import parse_key, restore_body
from .callers import Caller, authenticate, authorise
from .problems import Problem, ProblemRaised
from .requests import check_secure, parse_arguments, parse_body, parse_version, read_whole_body
from .responses import JSON_TYPE, json_response, problem_response, raw_response
from .schemas import CreatedOutput

_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,200}", re.ASCII)
REPLAYED_HEADER = "Idempotent-Replayed"
_REFUSALS = {
    Problem.API_NOT_ALLOWED: RefusalReason.FORBIDDEN,
    Problem.SCOPE_MISSING: RefusalReason.FORBIDDEN,
    Problem.OWN_CLIENT: RefusalReason.FORBIDDEN,
    Problem.ROLE_NOT_HELD: RefusalReason.FORBIDDEN,
    Problem.RATE_LIMITED: RefusalReason.THROTTLED,
}


class Call(NamedTuple):
    """A parsed request to an operation.

    :param session: for reading, or the unit of work of the change.
    :param path: the IDs in the path, by the names in the route.
    :param arguments: the arguments of the query string, as the operation's schema has them.
    :param body: the body, as the operation's schema has it.
    :param version: the version in `If-Match`, where the operation needs one.
    """

    session: Session
    caller: Caller
    path: Mapping[str, uuid.UUID]
    arguments: Any
    body: Any
    version: int

    @property
    def key(self) -> uuid.UUID:
        """The key of the client in the path."""
        return self.path["key"]

    @property
    def account_id(self) -> str:
        """The account to which everything is restricted."""
        return self.caller.client.account_id


class Reply(NamedTuple):
    """A successful response, with its additional headers."""

    body: BaseModel | None
    headers: Mapping[str, str] = {}


View = Callable[[Call], Reply]


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of a path.

    :param id: the `operationId`, from which generated clients take the names of their functions.
    :param attempt: what a refused attempt is called in the audit log: the last part of the endpoint of the screen.
    :param body: the schema of the body; None: there is none.
    :param body_is_optional: whether the body may be left out, which means its defaults.
    :param needs_version: whether it needs `If-Match`.
    :param problems: the problems that only some operations have.
    :param headers: the descriptions of its additional response headers by name.
    """

    view: View
    id: str
    tag: str
    scope: str
    attempt: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_is_optional: bool = False
    response: type[BaseModel] | None = None
    status: int = 200
    needs_version: bool = False
    problems: tuple[Problem, ...] = ()
    headers: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """Its name, the first line of the view's docstring."""
        return self._paragraphs[0].removesuffix(".")

    @property
    def description(self) -> str:
        """What it does, in Markdown: the other paragraphs of the docstring."""
        return "\n\n".join(self._paragraphs[1:])

    @property
    def _paragraphs(self) -> list[str]:
        text = inspect.getdoc(self.view) or ""
        return [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]


def operation(**properties: Any) -> Callable[[View], Operation]:
    """Return a decorator that makes an operation of a view; its docstring is published."""
    return lambda view: Operation(view, **properties)


def make_view(name: str, operations: Mapping[str, Operation]) -> RouteCallable:
    """Return a view of Flask with this name, which answers every method of a path."""

    def respond(**path: str) -> Response:
        restore_body()
        return _respond(operations, path)

    respond.__name__ = name
    return respond


def _respond(operations: Mapping[str, Operation], path: Mapping[str, str]) -> Response:
    use_language(lambda: ENGLISH)
    headers: dict[str, str] = {}
    caller: Caller | None = None
    called: Operation | None = None
    try:
        check_secure()
        called = operations.get("GET" if request.method == "HEAD" else request.method)
        if called is None:
            raise _method_not_allowed(operations)
        caller = authenticate()
        headers |= _count_request(caller)
        authorise(caller, called.scope)
        return _perform(called, caller, path, headers)
    except Exception as error:
        response = problem_response(error, headers)
        if caller is not None and called is not None:
            _record_refusal(error, caller, called, path)
        return response


def _perform(called: Operation, caller: Caller, path: Mapping[str, str], headers: Mapping[str, str]) -> Response:
    arguments = parse_arguments(called.query)
    raw = read_whole_body()
    body = parse_body(raw, called.body, is_optional=called.body_is_optional)
    version = parse_version() if called.needs_version else 0
    keys = {name: parse_key(text) for name, text in path.items()}
    if request.method in ("GET", "HEAD"):
        with read_session(services().engine) as session:
            reply = called.view(Call(session, caller, keys, arguments, body, version))
        return json_response(reply.body, called.status, {**headers, **reply.headers})
    key = _idempotency_key(caller, raw) if request.method == "POST" else None
    with unit_of_work(services().engine) as session:
        before = idempotency.claim(session, key) if key else None
        if before is not None:
            return _replay(before, headers)
        renew_keys_only_roles(session, caller.client.account_id, services().catalogue.money_roles)
        reply = called.view(Call(session, caller, keys, arguments, body, version))
        if key:
            stored = "" if reply.body is None else _without_secret(reply.body).model_dump_json()
            idempotency.store_response(session, key, status=called.status, headers=reply.headers, body=stored)
    return json_response(reply.body, called.status, {**headers, **reply.headers})


def _idempotency_key(caller: Caller, body: bytes) -> idempotency.IdempotencyKey | None:
    """Return the idempotency key of the request, None if it has none.

    :raises ProblemRaised: it is malformed.
    """
    given = request.headers.get("Idempotency-Key")
    if given is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(given):
        detail = "Send 1 to 200 printable ASCII characters without spaces, such as a random UUID."
        raise ProblemRaised(Problem.MALFORMED, detail, errors=[{"detail": detail, "header": "Idempotency-Key"}])
    whole = b"\0".join((request.method.encode(), request.path.encode(), body))
    return idempotency.make_key(caller.client.id, given, whole, services().settings.peppers().values())


def _without_secret(body: BaseModel) -> BaseModel:
    return body.model_copy(update={"client_secret": None}) if isinstance(body, CreatedOutput) else body


def _replay(before: IdempotentResponse, headers: Mapping[str, str]) -> Response:
    """Return the response of the earlier request with the same key, without its secret."""
    own = {**headers, **before.headers, REPLAYED_HEADER: "true"}
    return raw_response(before.body.encode(), before.status, own, content_type=JSON_TYPE)


def _count_request(caller: Caller) -> dict[str, str]:
    """Count the request of a caller; return the headers with the rest of its quota (D5).

    :raises ProblemRaised: the quota of the minute is used up.
    """
    quota = services().rate_limits.count_api_request(caller.client.id)
    headers = {
        "RateLimit-Policy": f'"default";q={quota.amount};w={quota.window_seconds}',
        "RateLimit": f'"default";r={quota.remaining};t={quota.reset_after_seconds}',
    }
    if quota.is_exceeded:
        raise ProblemRaised(
            Problem.RATE_LIMITED,
            f"Nothing was done. Try again in {quota.reset_after_seconds} s.",
            headers={**headers, "Retry-After": str(quota.reset_after_seconds)},
        )
    return headers


def _method_not_allowed(operations: Mapping[str, Operation]) -> ProblemRaised:
    methods = [*operations, *(["HEAD"] if "GET" in operations else [])]
    return ProblemRaised(
        Problem.METHOD_NOT_ALLOWED, f"Use {' or '.join(operations)}.", headers={"Allow": ", ".join(sorted(methods))}
    )


def _record_refusal(error: Exception, caller: Caller, called: Operation, path: Mapping[str, str]) -> None:
    """Record in the audit log that the caller was refused, within the limit of such events (L2)."""
    match error:
        case ProblemRaised() if error.problem in _REFUSALS:
            reason = _REFUSALS[error.problem]
        case StaleVersion():
            reason = RefusalReason.STALE_VERSION
        case RateLimited():
            reason = RefusalReason.THROTTLED
        case _:
            return
    try:
        key = uuid.UUID(path["key"])
    except (KeyError, ValueError):
        key = None
    try:
        with unit_of_work(services().engine) as session:
            record_refusal(
                session,
                author=caller.author,
                refusal=reason,
                attempt=called.attempt,
                key=key,
                rate_limits=services().rate_limits,
            )
    except Unavailable:
        return  # the refusal itself needs no database
