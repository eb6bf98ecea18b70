"""`POST /connect/introspect`: whether a token counts at this moment (RFC 7662)."""

from flask import Response

from ..core import revocation
from ..core.database import reading
from ..core.models import utc_now
from ..host import client_address, services
from .parameters import read_credentials, read_parameters
from .responses import JsonResponse, Refusal, Refused

REPEATED_CLAIMS = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")
_INACTIVE = {"active": False}


def introspect() -> Response:
    """Tell a resource server about any token, and a client about its own; anybody else learns nothing (T10, T11)."""
    parameters = read_parameters()
    credentials = read_credentials(parameters)
    ours, now = services(), utc_now()
    client = ours.authenticator.authenticate_caller(
        credentials.client_id, credentials.secret, address=client_address(), now=now
    )
    if "token" not in parameters:
        raise Refused(Refusal.NO_TOKEN)
    claims = ours.tokens.verify(parameters["token"], ours.keys.with_header, now)
    if claims is None:
        return JsonResponse(_INACTIVE)
    with reading(ours.engine) as session:
        standing = revocation.standing(session, claims)
    if standing is None or not standing.counts or (client is not None and client.key != standing.client_key):
        return JsonResponse(_INACTIVE)
    return JsonResponse({"active": True, "token_type": "Bearer"} | {name: claims[name] for name in REPEATED_CLAIMS})
