"""Texts of the outcomes of token requests, and the response that the caller got (L2, P7)."""

from collections.abc import Mapping

from ...core.database.models import TokenRequest
from ...core.database.outcomes import AuthenticationFailure, Outcome
from ...core.i18n import gettext, lazy_gettext

OUTCOME_LABELS: Mapping[str, str] = {
    # Translators: the outcome of a token request, as are the next ones.
    Outcome.ISSUED: lazy_gettext("issued"),
    AuthenticationFailure.WRONG_SECRET: lazy_gettext("wrong secret"),
    AuthenticationFailure.ENDED_SECRET: lazy_gettext("secret ended"),
    AuthenticationFailure.PAUSED_SECRET: lazy_gettext("secret paused"),
    AuthenticationFailure.ADDRESS_NOT_ALLOWED: lazy_gettext("address not allowed"),
    AuthenticationFailure.DISABLED: lazy_gettext("client disabled"),
    AuthenticationFailure.DELETED: lazy_gettext("client deleted"),
    AuthenticationFailure.ACCOUNT_OFF: lazy_gettext("account switched off"),
    AuthenticationFailure.UNKNOWN: lazy_gettext("not this client ID"),
    AuthenticationFailure.WHITE_SPACE: lazy_gettext("white space around the client ID"),
    AuthenticationFailure.MALFORMED: lazy_gettext("malformed secret"),
    AuthenticationFailure.WRONG_KEY: lazy_gettext("no key of this client"),
    AuthenticationFailure.ENDED_KEY: lazy_gettext("key ended"),
    AuthenticationFailure.PAUSED_KEY: lazy_gettext("key paused"),
    # Translators: an assertion is a signed statement by which a client authenticates (RFC 7523), here and below.
    AuthenticationFailure.ASSERTION_ALGORITHM: lazy_gettext("assertion signed by another algorithm"),
    AuthenticationFailure.ASSERTION_MALFORMED: lazy_gettext("assertion lacks iss, sub, jti or a time"),
    AuthenticationFailure.ASSERTION_AUDIENCE: lazy_gettext("assertion for another audience"),
    AuthenticationFailure.ASSERTION_EXPIRED: lazy_gettext("assertion expired"),
    AuthenticationFailure.ASSERTION_EARLY: lazy_gettext("assertion not valid yet"),
    AuthenticationFailure.ASSERTION_LONG: lazy_gettext("assertion valid too long"),
    AuthenticationFailure.ASSERTION_NOT_STRICT: lazy_gettext("assertion not strict"),
    AuthenticationFailure.ASSERTION_USED: lazy_gettext("assertion used before"),
    Outcome.SCOPE_NOT_ALLOWED: lazy_gettext("scope not allowed"),
    Outcome.SCOPE_MALFORMED: lazy_gettext("scope malformed"),
    Outcome.NO_ROLES: lazy_gettext("no roles left"),
    Outcome.RESOURCE_NOT_ALLOWED: lazy_gettext("resource not allowed"),
    Outcome.THROTTLED: lazy_gettext("too many attempts"),
    Outcome.PLAIN_HTTP: lazy_gettext("sent without https"),
}
"""The options of the filter by reason, the most frequent first."""
_INVALID_CLIENT = 401, "invalid_client"
_RESPONSES: Mapping[str, tuple[int, str]] = {
    Outcome.ISSUED: (200, ""),
    **dict.fromkeys(AuthenticationFailure, _INVALID_CLIENT),
    Outcome.SCOPE_NOT_ALLOWED: (400, "invalid_scope"),
    Outcome.SCOPE_MALFORMED: (400, "invalid_scope"),
    Outcome.NO_ROLES: (400, "invalid_scope"),
    Outcome.RESOURCE_NOT_ALLOWED: (400, "invalid_target"),
    Outcome.THROTTLED: (429, "temporarily_unavailable"),
    Outcome.PLAIN_HTTP: (400, "invalid_request"),
}
"""Status and error code of the response to each outcome."""


def label_of(outcome: str) -> str:
    """Return the outcome as text, for use within a sentence."""
    return str(OUTCOME_LABELS.get(outcome, outcome))


def result(request: TokenRequest) -> str:
    """Return the outcome of a token request as text; the response to the caller gives less detail (P7)."""
    if request.outcome == Outcome.THROTTLED and request.secret_label:
        return gettext("too many tokens")
    return label_of(request.outcome)


def response_to(outcome: str) -> tuple[int, str]:
    """Return the HTTP status and the error code that the caller got; the code is empty where a token was issued."""
    return _RESPONSES.get(outcome, _INVALID_CLIENT)
