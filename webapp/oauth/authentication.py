"""Authenticate the client of a request, by its secret or by an assertion."""

from ..core.authentication.assertions import ClientAssertion
from ..core.authentication.authenticator import AuthenticatedClient
from ..host import Services
from .request import OAuthRequest, require_credentials


def authenticate_client(request: OAuthRequest, services: Services) -> AuthenticatedClient:
    """Return the client that a request authenticates.

    :raises OAuthError: the request carries no credentials that can be decoded.
    :raises AuthenticationFailed: the client did not authenticate.
    :raises RateLimited: too many authentications failed (D2).
    :raises Unavailable: the database is locked or out of reach (D8), or too many hashes are being computed (D7).
    """
    credentials = require_credentials(request)
    if isinstance(credentials, ClientAssertion):
        return services.key_authenticator.authenticate(credentials, address=request.address, now=request.received_at)
    return services.authenticator.authenticate(
        credentials.client_id, credentials.secret, address=request.address, now=request.received_at
    )


def authenticate_caller(request: OAuthRequest, services: Services) -> AuthenticatedClient | None:
    """Return the client that a request authenticates, or None for a resource server, which has a secret (T10).

    It raises the same errors as `authenticate_client`.
    """
    credentials = require_credentials(request)
    if isinstance(credentials, ClientAssertion):
        return authenticate_client(request, services)
    return services.authenticator.authenticate_caller(
        credentials.client_id, credentials.secret, address=request.address, now=request.received_at
    )
