"""Authorization server metadata (RFC 8414, T14)."""

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from sqlalchemy import Engine

from tests.support.endpoint import ISSUER, Endpoint, interfering_host, settings

PATH, OPENID_PATH = "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"

METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
ALGORITHMS = ["ES256", "EdDSA", "Ed25519", "PS256"]


@pytest.mark.parametrize("path", [PATH, OPENID_PATH])
@pytest.mark.parametrize("headers", [{}, {"Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"}])
def test_metadata_follow_the_settings(endpoint: Endpoint, headers: dict[str, str], path: str) -> None:
    """Derive the metadata from the settings, not from request headers (T14)."""
    response = endpoint.client.get(path, headers=headers)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.json == {
        "issuer": ISSUER,
        "token_endpoint": f"{ISSUER}/connect/token",
        "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
        "scopes_supported": [
            "API",
            "accounts:read",
            "transactions:read",
            "reports:read",
            "payment-requests",
            "stored-recipients",
            "payment-batches",
            "void-requests",
            "account-movements",
        ],
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": METHODS,
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint": f"{ISSUER}/connect/introspect",
        "introspection_endpoint_auth_methods_supported": METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint": f"{ISSUER}/connect/revocation",
        "revocation_endpoint_auth_methods_supported": METHODS,
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
    }


def test_library_validates_the_metadata(endpoint: Endpoint) -> None:
    """Skip `response_types_supported`, where RFC 8414 contradicts itself (erratum 7793); `[]` is sent (T14)."""
    metadata = AuthorizationServerMetadata(endpoint.client.get(PATH).json or {})
    for name in metadata.REGISTRY_KEYS:
        if name not in ("response_types_supported", "authorization_endpoint"):
            getattr(metadata, f"validate_{name}")()


def test_issuer_equals_the_iss_claim(endpoint: Endpoint) -> None:
    """Publish the issuer that tokens carry in `iss` (T14)."""
    assert (endpoint.client.get(PATH).json or {})["issuer"] == endpoint.services.tokens.issuer
    assert settings()["IDENTITY_CLIENTS_ISSUER"] == ISSUER


@pytest.mark.parametrize(
    ("issuer", "path", "status"),
    [
        ("https://id.example/mas", f"{PATH}/mas", 200),
        ("https://id.example/mas", PATH, 200),
        ("https://id.example/a/b", f"{PATH}/a/b", 200),
        ("https://id.example/mas", f"{OPENID_PATH}/mas", 200),
        ("https://id.example/mas", OPENID_PATH, 200),
        ("https://id.example", f"{PATH}/mas", 404),
        ("https://id.example", f"{OPENID_PATH}/mas", 404),
        ("https://id.example/mas", f"{PATH}/other", 404),
    ],
)
def test_metadata_url_of_an_issuer_with_a_path(sqlite_engine: Engine, issuer: str, path: str, status: int) -> None:
    """Serve the metadata at the well-known URL of an issuer with a path (RFC 8414 section 3.1, T14)."""
    response = Endpoint(sqlite_engine, ISSUER=issuer).client.get(path)
    assert response.status_code == status
    if status == 200:
        assert response.json is not None
        assert response.json["issuer"] == issuer
        assert response.json["token_endpoint"] == f"{issuer}/connect/token"


@pytest.mark.parametrize("path", [PATH, OPENID_PATH, "/.well-known/jwks.json"])
def test_cors_of_public_documents_only(sqlite_engine: Engine, path: str) -> None:
    """Allow any origin without credentials for metadata and keys, and for no other endpoint (T14, P13)."""
    app = interfering_host()
    endpoint = Endpoint(sqlite_engine, app)
    response = endpoint.client.get(path, headers={"Origin": "https://tool.example"})
    assert response.headers.getlist("Access-Control-Allow-Origin") == ["*"]
    assert "Access-Control-Allow-Credentials" not in response.headers
    for other in ("/connect/token", "/connect/introspect", "/connect/revocation", "/connect/unknown"):
        answer = endpoint.client.post(other, headers={"Origin": "https://tool.example"})
        assert not [name for name, _ in answer.headers if name.lower().startswith("access-control-")]
