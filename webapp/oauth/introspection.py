"""`POST /connect/introspect`: whether a token is active at this moment (RFC 7662)."""

from ..core.database.unit_of_work import read_session
from ..core.tokens import revocation
from ..host import Services
from .authentication import authenticate_caller
from .errors import ErrorKind, OAuthError
from .request import OAuthRequest, check_request
from .response import JsonResponse, json_response

REPEATED_CLAIMS = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")
_INACTIVE = {"active": False}


def introspect(request: OAuthRequest, services: Services) -> JsonResponse:
    """Return whether a token is active, and if so its claims.

    A resource server may ask about any token, a client only about its own. For every other token the response is
    "not active", whatever the reason (T10, T11).

    :raises OAuthError: the request breaks a rule of the protocol.
    :raises AuthenticationFailed: the caller did not authenticate.
    :raises RateLimited: too many authentications failed (D2).
    :raises Unavailable: the database is locked or out of reach (D8), or too many hashes are being computed (D7).
    """
    check_request(request, services)
    client = authenticate_caller(request, services)
    if "token" not in request.parameters:
        raise OAuthError(ErrorKind.NO_TOKEN)
    claims = services.tokens.verify(request.parameters["token"], services.keys.for_header, request.received_at)
    if claims is None:
        return json_response(_INACTIVE)
    with read_session(services.engine) as session:
        status = revocation.get_token_status(session, claims)
    if status is None or not status.is_active or (client is not None and client.key != status.client_key):
        return json_response(_INACTIVE)
    return json_response({"active": True, "token_type": "Bearer"} | {name: claims[name] for name in REPEATED_CLAIMS})
