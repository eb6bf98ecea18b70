"""`POST /connect/revocation`: a client takes one of its tokens back (RFC 7009)."""

from wsgiref.types import WSGIEnvironment

from ..core.database.models import utc_now
from ..core.database.unit_of_work import unit_of_work
from ..core.tokens import revocation
from ..host import Services
from ..http_request import address_of
from .answers import Answer, Refusal, Refused, json_answer
from .parameters import read_credentials, read_parameters
from .transport import refuse_plain_http


def revoke(environ: WSGIEnvironment, ours: Services) -> Answer:
    """Revoke a client's own token. One that is not ours, or counts no more, needs no revoking: that is a success (T12).

    Every token of ours is an access token, so `token_type_hint` is not read.
    """
    refuse_plain_http(environ, ours)
    parameters = read_parameters(environ)
    credentials = read_credentials(environ, parameters)
    now = utc_now()
    client = ours.authenticator.authenticate(
        credentials.client_id, credentials.secret, address=address_of(environ, ours.settings), now=now
    )
    if "token" not in parameters:
        raise Refused(Refusal.NO_TOKEN)
    claims = ours.tokens.verify(parameters["token"], ours.keys.for_header, now)
    if claims is not None:
        with unit_of_work(ours.engine) as session:
            standing = revocation.get_token_status(session, claims)
            if standing is None or standing.client_key != client.key:
                raise Refused(Refusal.FOREIGN_TOKEN)
            revocation.revoke_token(session, claims)
    return json_answer(None)
