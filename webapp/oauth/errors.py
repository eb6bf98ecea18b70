"""The errors of the identity endpoint (RFC 6749 section 5.2)."""

from enum import Enum


class ErrorKind(Enum):
    """Every error response: HTTP status, `error`, and `error_description`.

    The descriptions are fixed, so that no response repeats input (P12). `INVALID_CLIENT` has none: all failed
    authentications have the same response (P7).
    """

    PLAIN_HTTP = (
        400,
        "invalid_request",
        "Use https. A secret that was sent over plain http is exposed: change it.",
    )
    WRONG_METHOD = 405, "invalid_request", "Use POST."
    WRONG_CONTENT_TYPE = 400, "invalid_request", "Send the parameters as application/x-www-form-urlencoded."
    TOO_LARGE = 413, "invalid_request", "The request is too large."
    PARAMETER_IN_QUERY = 400, "invalid_request", "Send the parameters in the body, not in the address."
    NOT_UTF_8 = 400, "invalid_request", "The body is not form-encoded UTF-8."
    REPEATED_PARAMETER = 400, "invalid_request", "A parameter is there more than once."
    TWO_AUTHENTICATION_METHODS = (
        400,
        "invalid_request",
        "Authenticate in one way only: by HTTP Basic or in the body.",
    )
    TWO_CLIENT_IDS = 400, "invalid_request", "The client_id of the body differs from that of HTTP Basic."
    NO_GRANT_TYPE = 400, "invalid_request", "The parameter grant_type is missing."
    UNSUPPORTED_GRANT_TYPE = 400, "unsupported_grant_type", "The only grant_type is client_credentials."
    INVALID_CLIENT = 401, "invalid_client", None
    MALFORMED_SCOPE = 400, "invalid_scope", "The scope is not a list of scopes separated by spaces."
    SCOPE_NOT_ALLOWED = 400, "invalid_scope", "The client may not have every scope that it asked for."
    NO_ROLES = 400, "invalid_scope", "The account holds none of the client's API roles any more."
    INVALID_TARGET = 400, "invalid_target", "The only resource is the audience of this issuer."
    NO_TOKEN = 400, "invalid_request", "The parameter token is missing."
    TOKEN_OF_ANOTHER_CLIENT = 400, "invalid_grant", "The token was issued to another client."


class OAuthError(Exception):
    """Ends a request with one of the error responses."""

    def __init__(self, kind: ErrorKind) -> None:
        super().__init__(kind.name)
        self.kind = kind
