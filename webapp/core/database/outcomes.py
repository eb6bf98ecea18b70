"""The outcomes of token requests. The values are stored and never change."""

from enum import StrEnum


class AuthenticationFailure(StrEnum):
    """Why an authentication failed. Shown to the merchant who owns the client, never to the caller (P7)."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong secret"  # noqa: S105 - the name of a reason
    ENDED_SECRET = "ended secret"  # noqa: S105 - the name of a reason
    PAUSED_SECRET = "paused secret"  # noqa: S105 - the name of a reason
    DELETED = "deleted"
    DISABLED = "disabled"
    ACCOUNT_OFF = "account off"
    ADDRESS_NOT_ALLOWED = "address not allowed"
    WHITE_SPACE = "white space around client id"


class Outcome(StrEnum):
    """The outcome of a token request that did not end in an `AuthenticationFailure`."""

    ISSUED = "issued"
    THROTTLED = "throttled"
    SCOPE_MALFORMED = "scope malformed"
    SCOPE_NOT_ALLOWED = "scope not allowed"
    NO_ROLES = "no roles left"
    RESOURCE_NOT_ALLOWED = "resource not allowed"
    PLAIN_HTTP = "plain http"
