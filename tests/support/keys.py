"""Key pairs of clients and signed assertions, by libraries that the product does not use."""

import base64
import json
import uuid
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from sqlalchemy import Engine, update

from tests.support.endpoint import ISSUER
from tests.support.factories import make_author
from webapp.core.client_changes import get_client
from webapp.core.database.models import ClientKey, IdentityClient, utc_now
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.secrets import keys

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
TOKEN_URL = f"{ISSUER}/connect/token"
PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey


def private_key(algorithm: str = "ES256", number: int = 1) -> PrivateKey:
    """Return a private key for this algorithm, the same each time; another number selects another key."""
    return _private_key(algorithm, number)


@cache
def _private_key(algorithm: str, _number: int) -> PrivateKey:
    match algorithm:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA" | "Ed25519":
            return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def public_pem(key: PrivateKey) -> str:
    """Return the public key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key: PrivateKey) -> str:
    """Return the private key as PEM."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def add_key(engine: Engine, client: IdentityClient, key: PrivateKey | None = None, **columns: Any) -> ClientKey:
    """Register a key as an administrator does, then set columns of it."""
    with unit_of_work(engine) as session:
        version = get_client(session, account_id=client.account_id, key=client.id).version
        _, added = keys.add_key(
            session,
            author=make_author(client.account_id),
            key=client.id,
            version=version,
            public_key=public_pem(key or private_key()),
        )
    if columns:
        change_key(engine, client, added.label, **columns)
    return added


def change_key(engine: Engine, client: IdentityClient, label: str = "1", **columns: Any) -> None:
    """Set columns of a client's key."""
    with unit_of_work(engine) as session:
        session.execute(
            update(ClientKey).where(ClientKey.client_key == client.id, ClientKey.label == label).values(columns)
        )


def make_claims(client_id: str, **overrides: Any) -> dict[str, Any]:
    """Return valid claims; an override of None leaves a claim out."""
    now = int(utc_now().timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": ISSUER,
        "iat": now,
        "exp": now + 60,
        "jti": uuid.uuid4().hex,
    }
    return {name: value for name, value in (claims | overrides).items() if value is not None}


def sign(claims: dict[str, Any] | str, key: PrivateKey | None = None, algorithm: str = "ES256", **header: Any) -> str:
    """Return a JWT with these claims, or with this text as its payload."""
    payload = claims if isinstance(claims, str) else json.dumps(claims)
    signer = key or private_key(algorithm)
    if algorithm == "Ed25519":  # which PyJWT does not know by this name
        message = ".".join(map(_base64url, (json.dumps({"alg": algorithm, **header}).encode(), payload.encode())))
        return f"{message}.{_base64url(signer.sign(message.encode()))}"  # type: ignore[call-arg]
    return jwt.PyJWS().encode(payload.encode(), signer, algorithm, header)


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def assertion_of(client: IdentityClient, key: PrivateKey | None = None, **overrides: Any) -> str:
    """Return a valid assertion of a client, with these claims overridden."""
    return sign(make_claims(client.client_id, **overrides), key)


def with_assertion(assertion: str, **parameters: str) -> dict[str, str]:
    """Return the form of a token request with an assertion."""
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
        **parameters,
    }
