"""`POST /connect/token`: the client-credentials grant (RFC 6749 section 4.4), from the request to the response."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

from ..core.authentication.authenticator import AuthenticationFailed, TooManyFailures
from ..core.database.models import SCOPE_MAX
from ..core.database.outcomes import Outcome
from ..core.errors import RateLimited
from ..host import Services
from .authentication import authenticate_client
from .errors import ErrorKind, OAuthError
from .request import OAuthRequest, check_request, require_credentials
from .response import JsonResponse, json_response

GRANT_TYPE = "client_credentials"
OTHER = "other"
_OUTCOMES = {
    ErrorKind.MALFORMED_SCOPE: Outcome.SCOPE_MALFORMED,
    ErrorKind.SCOPE_NOT_ALLOWED: Outcome.SCOPE_NOT_ALLOWED,
    ErrorKind.NO_ROLES: Outcome.NO_ROLES,
    ErrorKind.INVALID_TARGET: Outcome.RESOURCE_NOT_ALLOWED,
}
# RFC 6749 appendix A.4, but with any number of spaces between the names (P10).
_SCOPE = re.compile(r"[\x20\x21\x23-\x5b\x5d-\x7e]+\Z")


def token(request: OAuthRequest, services: Services) -> JsonResponse:
    """Return a response with a new access token. The outcome is recorded, whether a token is issued or not.

    :raises OAuthError: the request breaks a rule of the protocol, or asks for a scope that the client may not have.
    :raises AuthenticationFailed: the client did not authenticate.
    :raises RateLimited: too many authentications failed (D2), or the client's quota of tokens is used up (D5).
    :raises Unavailable: the database is locked or out of reach (D8), or too many hashes are being computed (D7).
    """
    check_request(request, services)
    grant_type = request.parameters.get("grant_type")
    if grant_type != GRANT_TYPE:
        raise OAuthError(ErrorKind.NO_GRANT_TYPE if grant_type is None else ErrorKind.UNSUPPORTED_GRANT_TYPE)
    record = partial(
        services.recorder.record,
        client_id=require_credentials(request).client_id,
        at=request.received_at,
        address=request.address,
        scope=recorded_scope(request.parameters.get("scope", ""), services.catalogue.all_scopes),
        request_id=request.request_id,
    )
    return json_response(grant_token(request, services, record))


def grant_token(request: OAuthRequest, services: Services, record: Callable[..., None]) -> Mapping[str, Any]:
    """Return the body of the response with a new access token.

    It raises the same errors as `token`, except for those of the protocol's form.

    :param record: called once with the client's key, the outcome and the label of the secret or key, each None if
        unknown, and with the keyword argument `account_id` once the client has authenticated.
    """
    now, requested_scope = request.received_at, request.parameters.get("scope")

    # Authenticate
    try:
        client = authenticate_client(request, services)
    except AuthenticationFailed as failure:
        record(failure.client_key, failure.reason, failure.secret_label)
        raise
    except TooManyFailures as limited:
        record(limited.client_key, Outcome.THROTTLED, None)
        raise

    # Authorise the resource and the scope
    record = partial(record, account_id=client.account_id)
    grant = services.catalogue.grant(client.roles, client.grantable_roles, management_api=client.management_api_enabled)
    try:
        check_resources(request.resources, services.settings.audience)
        scope = grant_scope(requested_scope, grant.scopes)
        services.rate_limits.count_token(client.key)
    except OAuthError as error:
        record(client.key, _OUTCOMES[error.kind], client.secret_label)
        raise
    except RateLimited:
        record(client.key, Outcome.THROTTLED, client.secret_label)
        raise

    # Issue
    lifetime_seconds = client.token_duration_minutes * 60
    access_token = services.tokens.issue(
        services.keys.signing_key(now),
        client_id=client.client_id,
        account_id=client.account_id,
        roles=grant.roles,
        scope=scope,
        lifetime_seconds=lifetime_seconds,
        generation=client.token_generation,
        now=now,
    )

    # Record and respond
    record(client.key, Outcome.ISSUED, client.secret_label)
    return {"access_token": access_token, "token_type": "Bearer", "expires_in": lifetime_seconds, "scope": scope}


def recorded_scope(requested: str, known: Collection[str]) -> str:
    """Return what is recorded of a requested scope: the names of the catalogue, and "other" for all else (L3).

    People paste secrets into the parameter, and anybody who knows a client ID could write a message to its owner.
    """
    return " ".join(dict.fromkeys(name if name in known else OTHER for name in requested.split()))


def check_resources(resources: Iterable[str], audience: str) -> None:
    """Check the `resource` parameters (RFC 8707 section 2): tokens are for one audience only.

    :raises OAuthError: one that has a value is another audience.
    """
    if any(resource not in ("", audience) for resource in resources):
        raise OAuthError(ErrorKind.INVALID_TARGET)


def grant_scope(requested: str | None, allowed: Collection[str]) -> str:
    """Return the scope of the token: what was requested, or by default all that the client's roles allow (P10).

    :param allowed: the scopes that the client's roles allow.
    :raises OAuthError: the requested scope is malformed, or contains one that is not allowed: a scope is never
        narrowed (P11).
    """
    if not allowed:
        raise OAuthError(ErrorKind.NO_ROLES)
    if requested is None:
        return " ".join(allowed)
    scopes = dict.fromkeys(requested.split())
    if len(requested) > SCOPE_MAX or not _SCOPE.match(requested) or not scopes:
        raise OAuthError(ErrorKind.MALFORMED_SCOPE)
    if not scopes.keys() <= set(allowed):
        raise OAuthError(ErrorKind.SCOPE_NOT_ALLOWED)
    return " ".join(scopes)
