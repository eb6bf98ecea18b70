"""Parse the parts of a request: path, query string, headers and body."""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

from flask import request
from pydantic import BaseModel, ValidationError

from ..host import services
from ..http_request import is_secure, read_body
from .problems import Problem, ProblemRaised

BODY_BYTES_MAX = 64 * 1024
MERGE_PATCH_TYPE = "application/merge-patch+json"
ENTITY_TAG = r'(W/)?"[!#-~]*"'
"""An entity tag (RFC 9110 section 8.8.3), of which ours are digits."""
_VERSION_TAG = re.compile(r'"([0-9]{1,9})"', re.ASCII)
_MESSAGES = {"extra_forbidden": "This member is unknown.", "missing": "This member is missing."}
Schema = TypeVar("Schema", bound=BaseModel)


def check_secure() -> None:
    """Refuse a request over plain http, which exposes its token; in development it is allowed (C6).

    :raises ProblemRaised: it came over plain http.
    """
    settings = services().settings
    if not (settings.development or is_secure(request.environ, settings)):
        raise ProblemRaised(Problem.PLAIN_HTTP, "Use https. The token that was sent is exposed: revoke it.")


def parse_arguments(schema: type[Schema] | None) -> Schema | None:
    """Return the arguments of the query string.

    :raises ProblemRaised: one is unknown, invalid, or there twice.
    """
    lists = request.args.to_dict(flat=False)
    problems = [
        {"detail": "This argument is there more than once.", "parameter": name}
        for name, values in lists.items()
        if len(values) > 1
    ]
    if schema is None:
        problems += [{"detail": "This argument is unknown.", "parameter": name} for name in lists]
    if problems:
        raise _malformed(problems)
    if schema is None:
        return None
    try:
        return schema.model_validate_strings(request.args.to_dict(), strict=True)
    except ValidationError as error:
        raise _malformed(
            {"detail": str(detail), "parameter": ".".join(map(str, path))} for detail, path in _errors_of(error)
        ) from None


def read_whole_body() -> bytes:
    """Return the bytes of the body.

    :raises RequestEntityTooLarge: it is longer than 64 KiB (D1).
    """
    return read_body(request.environ, BODY_BYTES_MAX)


def parse_body(body: bytes, schema: type[Schema] | None, *, is_optional: bool = False) -> Schema | None:
    """Return the body as its schema has it.

    :param is_optional: whether a request without body means the defaults of the schema.
    :raises ProblemRaised: it has another content type, or does not match the schema (I8).
    """
    if schema is None:
        if body.strip():
            raise ProblemRaised(Problem.MALFORMED, "Send no body with this request.")
        return None
    if is_optional and not body:
        return schema()
    expected = MERGE_PATCH_TYPE if request.method == "PATCH" else "application/json"
    if request.mimetype != expected:
        raise ProblemRaised(
            Problem.WRONG_CONTENT_TYPE,
            f"Send the body as {expected}.",
            headers={"Accept-Patch" if request.method == "PATCH" else "Accept-Post": expected},
        )
    try:
        return schema.model_validate_json(body)
    except ValidationError as error:
        raise _malformed(
            {"detail": detail, "pointer": "".join(["#", *(f"/{_escape(part)}" for part in path)])}
            for detail, path in _errors_of(error)
        ) from None


def parse_version() -> int:
    """Return the version in `If-Match` that a change is based on; -1, which no client has, for any other entity tag.

    :raises ProblemRaised: the header is missing, is `*`, which names no version, or is no entity tag.
    """
    given = request.headers.get("If-Match", "").strip()
    detail = "Send the ETag of the client as you read it in If-Match."
    errors = [{"detail": detail, "header": "If-Match"}]
    if given in ("", "*"):
        raise ProblemRaised(Problem.VERSION_REQUIRED, detail, errors=errors)
    if not re.fullmatch(ENTITY_TAG, given):
        raise ProblemRaised(Problem.MALFORMED, detail, errors=errors)
    found = _VERSION_TAG.fullmatch(given)
    return int(found[1]) if found else -1


def argument_error(name: str, detail: str) -> ProblemRaised:
    """Return the problem of an argument of the query string that has the right form, and a value that is none."""
    errors = [{"detail": detail, "parameter": name}]
    return ProblemRaised(Problem.INVALID_FIELDS, "Correct what is listed in errors.", errors=errors)


def _malformed(problems: Iterable[dict[str, str]]) -> ProblemRaised:
    return ProblemRaised(Problem.MALFORMED, "Correct what is listed in errors.", errors=list(problems))


def _errors_of(error: ValidationError) -> Iterable[tuple[str, tuple[int | str, ...]]]:
    for each in error.errors(include_url=False, include_context=False, include_input=False):
        yield _MESSAGES.get(each["type"], f"{each['msg']}."), each["loc"]


def _escape(part: Any) -> str:
    """Return a part of a JSON pointer (RFC 6901)."""
    return str(part)[:100].replace("~", "~0").replace("/", "~1")
