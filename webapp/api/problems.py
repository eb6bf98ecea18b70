"""The errors of the management API as problem details (RFC 9457)."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any


class Problem(Enum):
    """Every kind of error: HTTP status, the last part of its `type`, and its `title`."""

    PLAIN_HTTP = 400, "plain-http", "The request came over plain http"
    MALFORMED = 400, "malformed-request", "The request does not match the schema"
    UNAUTHENTICATED = 401, "unauthenticated", "The request has no valid access token"
    API_NOT_ALLOWED = 403, "api-not-allowed", "The account does not allow the management API"
    SCOPE_MISSING = 403, "scope-missing", "The access token has not the scope for this"
    OWN_CLIENT = 403, "own-client", "A client cannot change itself"
    ROLE_NOT_HELD = 403, "role-not-held", "The client has, or would get, a role that you do not hold"
    NOT_FOUND = 404, "not-found", "There is no such resource in your account"
    METHOD_NOT_ALLOWED = 405, "method-not-allowed", "The resource has no such method"
    LAST_SECRET = 409, "last-secret", "The only secret or key that works can be neither ended nor paused"
    SECRET_ENDED = 409, "secret-ended", "The secret or key has ended, and stays so"
    TWO_SECRETS = 409, "two-secrets", "Two secrets have not ended"
    TOO_MANY_KEYS = 409, "too-many-keys", "The client has as many keys as it may have"
    CONFIRMATION_REQUIRED = 409, "confirmation-required", "The change has a consequence to confirm"
    STALE_VERSION = 412, "stale-version", "The client was changed since you read it"
    TOO_LARGE = 413, "too-large", "The body is too large"
    WRONG_CONTENT_TYPE = 415, "wrong-content-type", "The body has another content type"
    INVALID_FIELDS = 422, "invalid-fields", "A value breaks a rule"
    KEY_REUSED = 422, "idempotency-key-reused", "The idempotency key was used for another request"
    VERSION_REQUIRED = 428, "version-required", "The request does not say which version it changes"
    RATE_LIMITED = 429, "rate-limited", "Too many requests"
    SERVER_ERROR = 500, "server-error", "Something went wrong on our side"
    UNAVAILABLE = 503, "unavailable", "The service is busy"

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]

    @property
    def slug(self) -> str:
        """The last part of the `type`, and the anchor of its description on the reference page."""
        return self.value[1]

    @property
    def title(self) -> str:
        """What the kind of problem is, the same for each occurrence."""
        return self.value[2]


class ProblemRaised(Exception):
    """Ends a request with a problem.

    :param detail: what is wrong with this request and how to correct it; no part of a secret.
    :param errors: what is wrong with each part of the request, as the schema `FieldProblem` has it.
    :param headers: headers that the response adds.
    :param members: extension members.
    """

    def __init__(
        self,
        problem: Problem,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(problem.slug)
        self.problem = problem
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.members = members or {}
