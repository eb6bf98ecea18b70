"""`POST /connect/revocation`: a client takes one of its tokens back (RFC 7009)."""

from flask import Response

from ..core import revocation
from ..core.database import unit_of_work
from ..core.models import utc_now
from ..host import client_address, services
from .parameters import read_credentials, read_parameters
from .responses import JsonResponse, Refusal, Refused


def revoke() -> Response:
    """Revoke a client's own token. One that is not ours, or counts no more, needs no revoking: that is a success (T12).

    Every token of ours is an access token, so `token_type_hint` is not read.
    """
    parameters = read_parameters()
    credentials = read_credentials(parameters)
    ours, now = services(), utc_now()
    client = ours.authenticator.authenticate(
        credentials.client_id, credentials.secret, address=client_address(), now=now
    )
    if "token" not in parameters:
        raise Refused(Refusal.NO_TOKEN)
    claims = ours.tokens.verify(parameters["token"], ours.keys.with_header, now)
    if claims is not None:
        with unit_of_work(ours.engine) as session:
            standing = revocation.standing(session, claims)
            if standing is None or standing.client_key != client.key:
                raise Refused(Refusal.FOREIGN_TOKEN)
            revocation.revoke_token(session, claims)
    return JsonResponse(None)
