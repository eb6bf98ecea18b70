"""`POST /connect/introspect`: whether a token counts at this moment (RFC 7662)."""

from wsgiref.types import WSGIEnvironment

from ..core.database.models import utc_now
from ..core.database.unit_of_work import read_session
from ..core.tokens import revocation
from ..host import Services
from ..http_request import address_of
from .answers import Answer, Refusal, Refused, json_answer
from .parameters import read_credentials, read_parameters
from .transport import refuse_plain_http

REPEATED_CLAIMS = ("scope", "client_id", "exp", "iat", "nbf", "sub", "aud", "iss", "jti")
_INACTIVE = {"active": False}


def introspect(environ: WSGIEnvironment, ours: Services) -> Answer:
    """Tell a resource server about any token, and a client about its own; anybody else learns nothing (T10, T11)."""
    refuse_plain_http(environ, ours)
    parameters = read_parameters(environ)
    credentials = read_credentials(environ, parameters)
    now = utc_now()
    client = ours.authenticator.authenticate_caller(
        credentials.client_id, credentials.secret, address=address_of(environ, ours.settings), now=now
    )
    if "token" not in parameters:
        raise Refused(Refusal.NO_TOKEN)
    claims = ours.tokens.verify(parameters["token"], ours.keys.for_header, now)
    if claims is None:
        return json_answer(_INACTIVE)
    with read_session(ours.engine) as session:
        standing = revocation.get_token_status(session, claims)
    if standing is None or not standing.counts or (client is not None and client.key != standing.client_key):
        return json_answer(_INACTIVE)
    return json_answer({"active": True, "token_type": "Bearer"} | {name: claims[name] for name in REPEATED_CLAIMS})
