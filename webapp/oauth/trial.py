"""Try a token request for a person on the screens, who sees its true outcome."""

import json
import uuid

from ..core.authentication.authenticator import AuthenticationFailed
from ..core.database.models import utc_now
from ..core.database.outcomes import AuthenticationFailure, Outcome
from ..core.errors import RateLimited
from ..core.secrets.generation import Secret
from ..host import TokenTrial, client_address, request_id, services
from .errors import OAuthError
from .request import Credentials, OAuthRequest
from .response import error_response, json_response
from .token import grant_token, recorded_scope

TOKEN_CHARACTERS_SHOWN = 10
"""So many of a token are the same in every token."""


def try_token(client_id: str, secret: Secret, scope: str) -> TokenTrial:
    """Return the response that a caller at the address of the current request would get.

    Every check and rate limit of the endpoint applies. The outcome is not recorded as a token request: the time of the
    last use, on which rotation and attention depend, is that of real callers. No whole token is returned.

    :param scope: the `scope` parameter; empty for none.
    :raises Unavailable: the database is locked or out of reach (D8), or too many hashes are being computed (D7).
    """
    used = services()
    request = OAuthRequest(
        path=used.settings.token_path,
        parameters={"scope": scope} if scope else {},
        resources=(),
        credentials=Credentials(client_id, secret),
        error=None,
        address=client_address(),
        is_secure=True,
        received_at=utc_now(),
        request_id=request_id(),
    )
    outcome: Outcome | AuthenticationFailure | None = None
    label: str | None = None

    def record(
        _client_key: uuid.UUID | None,
        found: Outcome | AuthenticationFailure,
        secret_label: str | None,
        *,
        account_id: str = "",
    ) -> None:
        nonlocal outcome, label
        outcome, label = found, secret_label

    try:
        response = json_response(grant_token(request, used, record))
    except (OAuthError, AuthenticationFailed, RateLimited) as error:
        response = error_response(error, request.request_id)
    if outcome is None:
        raise RuntimeError("The endpoint answered without an outcome.")
    body = json.loads(response.body)
    if "access_token" in body:
        body["access_token"] = body["access_token"][:TOKEN_CHARACTERS_SHOWN] + "…"
    return TokenTrial(
        status=response.status,
        body=body,
        outcome=outcome,
        secret_label=label,
        address=request.address,
        scope=recorded_scope(scope, used.catalogue.all_scopes),
        at=request.received_at,
    )
