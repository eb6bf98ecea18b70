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
    WRONG_KEY = "wrong key"
    """No key of the client verifies the signature of the assertion."""
    ENDED_KEY = "ended key"
    PAUSED_KEY = "paused key"
    ASSERTION_ALGORITHM = "assertion algorithm"
    ASSERTION_MALFORMED = "assertion malformed"
    """A claim is missing or has a wrong type, or `iss` and `sub` differ."""
    ASSERTION_AUDIENCE = "assertion audience"
    ASSERTION_EXPIRED = "assertion expired"
    ASSERTION_EARLY = "assertion early"
    """It is not valid yet, or was issued in the future."""
    ASSERTION_LONG = "assertion too long"
    ASSERTION_NOT_STRICT = "assertion not strict"
    """The account demands the strict profile."""
    ASSERTION_USED = "assertion used before"
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
