"""The public documents of the endpoint: its metadata (RFC 8414) and its key set (RFC 7517)."""

from urllib.parse import urlsplit

from ..core.database.models import utc_now
from ..core.secrets.public_keys import ALGORITHMS
from ..host import Services
from ..settings import Settings
from .response import JSON_HEADERS, JsonResponse, json_response

JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
"""Many clients ask only at the second one, the path of OpenID Connect (RFC 8414 section 5)."""
AUTHENTICATION_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
# Public documents, which tools in browsers may read from any origin (T14).
_PUBLIC_HEADERS = {"Cache-Control": "public, max-age=300", "Access-Control-Allow-Origin": "*"} | JSON_HEADERS


def metadata_paths(settings: Settings) -> list[str]:
    """Return the paths of the metadata; an issuer with a path also has them with its path inserted (RFC 8414 3.1)."""
    path = urlsplit(settings.issuer).path
    return [*METADATA_PATHS, *(inserted + path for inserted in METADATA_PATHS if path)]


def metadata(services: Services) -> JsonResponse:
    """Return the metadata of the authorization server, built from the settings alone (T14)."""
    settings = services.settings
    issuer, algorithms = settings.issuer, list(ALGORITHMS)
    return json_response(
        {
            "issuer": issuer,
            "token_endpoint": issuer + settings.token_path,
            "jwks_uri": issuer + JWKS_PATH,
            "scopes_supported": services.catalogue.all_scopes,
            "response_types_supported": [],
            "grant_types_supported": ["client_credentials"],
            "token_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": issuer + settings.introspection_path,
            "introspection_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            "revocation_endpoint": issuer + settings.revocation_path,
            "revocation_endpoint_auth_methods_supported": AUTHENTICATION_METHODS,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
        },
        headers=_PUBLIC_HEADERS,
    )


def jwks(services: Services) -> JsonResponse:
    """Return the public half of every published key; the first key is created here if there is none (T7)."""
    keys, now = services.keys, utc_now()
    keys.signing_key(now)
    return json_response({"keys": [key.public_jwk for key in keys.published(now)]}, headers=_PUBLIC_HEADERS)
