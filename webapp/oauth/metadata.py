"""What the endpoint publishes of itself: its metadata (RFC 8414) and its keys (RFC 7517)."""

from urllib.parse import urlsplit
from wsgiref.types import WSGIEnvironment

from ..core.database.models import utc_now
from ..host import Services
from ..settings import Settings
from .answers import FIXED_HEADERS, Answer, json_answer

TOKEN_PATH = "/connect/token"  # noqa: S105 - a path
INTROSPECTION_PATH = "/connect/introspect"
REVOCATION_PATH = "/connect/revocation"
JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATH = "/.well-known/oauth-authorization-server"
AUTHENTICATION_METHODS = ["client_secret_basic", "client_secret_post"]
_PUBLIC = {"Cache-Control": "public, max-age=300"} | FIXED_HEADERS


def inserted_metadata_path(settings: Settings) -> str | None:
    """Return where RFC 8414 section 3.1 looks for the metadata of an issuer with a path; None if it has none (T14)."""
    path = urlsplit(settings.issuer).path
    return METADATA_PATH + path if path else None


def metadata(_environ: WSGIEnvironment, ours: Services) -> Answer:
    """Tell a client all that it needs to know, from the settings alone (T14)."""
    issuer = ours.settings.issuer
    return json_answer(
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


def jwks(_environ: WSGIEnvironment, ours: Services) -> Answer:
    """Publish the public half of every key (T7), the first one before it signs anything."""
    keys, now = ours.keys, utc_now()
    keys.signing_key(now)
    return json_answer({"keys": [key.public_jwk for key in keys.published(now)]}, headers=_PUBLIC)
