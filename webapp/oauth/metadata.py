"""What the endpoint publishes of itself: its metadata (RFC 8414) and its keys (RFC 7517)."""

from urllib.parse import urlsplit

from flask import Response

from ..core.models import utc_now
from ..host import services
from ..settings import Settings
from .responses import JsonResponse

TOKEN_PATH = "/connect/token"  # noqa: S105 - a path
INTROSPECTION_PATH = "/connect/introspect"
REVOCATION_PATH = "/connect/revocation"
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"
AUTHENTICATION_METHODS = ["client_secret_basic", "client_secret_post"]
_PUBLIC = {"Cache-Control": "public, max-age=300"}


def metadata_paths(settings: Settings) -> list[str]:
    """Return where the metadata stands: for an issuer with a path also where section 3.1 inserts it (T14)."""
    path = urlsplit(settings.issuer).path
    return [METADATA_PATH, METADATA_PATH + path] if path else [METADATA_PATH]


def metadata() -> Response:
    """Tell a client all that it needs to know, from the settings alone (T14)."""
    ours = services()
    issuer = ours.settings.issuer
    return JsonResponse(
        {
            "issuer": issuer,
            "token_endpoint": issuer + TOKEN_PATH,
            "jwks_uri": issuer + JWKS_PATH,
            "scopes_supported": ours.catalogue.scopes(ours.catalogue.values()),
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "introspection_endpoint": issuer + INTROSPECTION_PATH,
            "introspection_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "revocation_endpoint": issuer + REVOCATION_PATH,
            "revocation_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
        },
        headers=_PUBLIC,
    )


def jwks() -> Response:
    """Publish the public half of every key (T7), the first one before it signs anything."""
    keys, now = services().keys, utc_now()
    keys.signing_key(now)
    return JsonResponse({"keys": [key.public_jwk for key in keys.published(now)]}, headers=_PUBLIC)
