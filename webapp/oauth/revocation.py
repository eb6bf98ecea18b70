"""`POST /connect/revocation`: a client revokes one of its tokens (RFC 7009)."""

from ..core.database.unit_of_work import unit_of_work
from ..core.tokens import revocation
from ..host import Services
from .authentication import authenticate_client
from .errors import ErrorKind, OAuthError
from .request import OAuthRequest, check_request
from .response import JsonResponse, json_response


def revoke(request: OAuthRequest, services: Services) -> JsonResponse:
    """Revoke a client's own token, and return an empty response; also for an invalid or expired token (T12).

    Every token is an access token, so `token_type_hint` is not read.

    :raises OAuthError: the request breaks a rule of the protocol, or the token belongs to another client.
    :raises AuthenticationFailed: the client did not authenticate.
    :raises RateLimited: too many authentications failed (D2).
    :raises Unavailable: the database is locked or out of reach (D8), or too many hashes are being computed (D7).
    """
    check_request(request, services)
    client = authenticate_client(request, services)
    if "token" not in request.parameters:
        raise OAuthError(ErrorKind.NO_TOKEN)
    claims = services.tokens.verify(request.parameters["token"], services.keys.for_header, request.received_at)
    if claims is not None:
        with unit_of_work(services.engine) as session:
            status = revocation.get_token_status(session, claims)
            if status is None or status.client_key != client.key:
                raise OAuthError(ErrorKind.TOKEN_OF_ANOTHER_CLIENT)
            revocation.revoke_token(session, claims)
    return json_response(None)
