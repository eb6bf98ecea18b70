"""The outcomes of token requests, as they are stored."""

from enum import StrEnum


class AuthenticationFailure(StrEnum):
    """Why an authentication failed: for the merchant who owns the client, never for the caller (P7)."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong secret"  # noqa: S105 - the name of a reason
    ENDED_SECRET = "ended secret"  # noqa: S105 - the name of a reason
    PAUSED_SECRET = "paused secret"  # noqa: S105 - the name of a reason
    DELETED = "deleted"
    DISABLED = "disabled"
    ACCOUNT_OFF = "account off"
    ADDRESS_NOT_ALLOWED = "address not allowed"


class Outcome(StrEnum):
    """What became of a token request, where no `authentication.Reason` tells; the value is stored and never changes."""

    ISSUED = "issued"
    THROTTLED = "throttled"
    SCOPE_MALFORMED = "scope malformed"
    SCOPE_NOT_ALLOWED = "scope not allowed"
    NO_ROLES = "no roles left"
    PLAIN_HTTP = "plain http"
