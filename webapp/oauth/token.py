"""`POST /connect/token`: the client-credentials grant (RFC 6749 section 4.4)."""

import re
from collections.abc import Collection
from functools import partial
from wsgiref.types import WSGIEnvironment

from ..core.authentication import authenticator
from ..core.database.models import SCOPE_MAX, utc_now
from ..core.database.outcomes import Outcome
from ..core.errors import RateLimited
from ..host import Services
from ..http_request import address_of, request_id_of
from .answers import Answer, Refusal, Refused, json_answer
from .parameters import read_credentials, read_parameters
from .transport import refuse_plain_http

GRANT_TYPE = "client_credentials"
_OUTCOMES = {
    Refusal.SCOPE_FORM: Outcome.SCOPE_MALFORMED,
    Refusal.SCOPE: Outcome.SCOPE_NOT_ALLOWED,
    Refusal.NO_ROLES: Outcome.NO_ROLES,
}
# RFC 6749 appendix A.4; more spaces than one are tolerated (P10)
_SCOPE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+\Z")


def token(environ: WSGIEnvironment, ours: Services) -> Answer:
    """Give a client a token."""
    refuse_plain_http(environ, ours)
    parameters = read_parameters(environ)
    grant_type = parameters.get("grant_type")
    if grant_type != GRANT_TYPE:
        raise Refused(Refusal.NO_GRANT_TYPE if grant_type is None else Refusal.GRANT_TYPE)
    credentials = read_credentials(environ, parameters)
    now, address, asked = utc_now(), address_of(environ, ours.settings), parameters.get("scope")
    note = partial(
        ours.recorder.record,
        client_id=credentials.client_id,
        at=now,
        address=address,
        scope=asked or "",
        request_id=request_id_of(environ),
    )
    try:
        client = ours.authenticator.authenticate(credentials.client_id, credentials.secret, address=address, now=now)
    except authenticator.AuthenticationFailed as refused:
        note(refused.client_key, refused.reason, refused.secret_label)
        raise Refused(Refusal.CLIENT) from None
    except authenticator.TooManyFailures as throttled:
        note(throttled.client_key, Outcome.THROTTLED, None)
        raise
    note = partial(note, account_id=client.account_id)
    roles = ours.catalogue.effective(client.roles, client.grantable_roles)
    try:
        scope = granted_scope(asked, ours.catalogue.scopes(roles))
    except Refused as refused:
        note(client.key, _OUTCOMES[refused.refusal], client.secret_label)
        raise
    try:
        ours.rate_limits.count_token(client.key)
    except RateLimited:
        note(client.key, Outcome.THROTTLED, client.secret_label)
        raise
    lifetime_seconds = client.token_duration_minutes * 60
    access_token = ours.tokens.issue(
        ours.keys.signing_key(now),
        client_id=client.client_id,
        account_id=client.account_id,
        roles=[role.key for role in roles],
        scope=scope,
        lifetime_seconds=lifetime_seconds,
        generation=client.token_generation,
        now=now,
    )
    note(client.key, Outcome.ISSUED, client.secret_label)
    return json_answer(
        {"access_token": access_token, "token_type": "Bearer", "expires_in": lifetime_seconds, "scope": scope}
    )


def granted_scope(asked: str | None, opened: Collection[str]) -> str:
    """Return the scope of the token: what was asked for, or all that the client's roles open (P10, P11).

    :raises Refused: the scope is malformed, or not wholly open to the client; it is never narrowed.
    """
    if not opened:
        raise Refused(Refusal.NO_ROLES)
    if asked is None:
        return " ".join(opened)
    scopes = dict.fromkeys(asked.split())
    if len(asked) > SCOPE_MAX or not _SCOPE.match(asked) or not scopes:
        raise Refused(Refusal.SCOPE_FORM)
    if not scopes.keys() <= set(opened):
        raise Refused(Refusal.SCOPE)
    return " ".join(scopes)
