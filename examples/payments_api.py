"""A small payments API that accepts the tokens of Identity Clients, with Authlib's resource protector.

It checks signature, issuer, audience, type, times and roles by itself (RFC 9068), and reads from the issuer only
the public keys. Try it beside `make run`:

    pip install flask authlib requests
    ISSUER=http://127.0.0.1:5000 AUDIENCE=https://api.mas.example flask --app examples/payments_api.py run --port 5001
    curl -H "Authorization: Bearer YOUR-TOKEN" http://127.0.0.1:5001/accounts

A token that was revoked is accepted here until it ends, an hour later at most. An API that cannot wait asks
`/connect/introspect`; `flask identity-clients resource-server add NAME` gives it an ID and a secret for that.
"""

import os
import time
from collections.abc import Sequence
from functools import partial
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests
from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2.rfc6750 import InsufficientScopeError
from authlib.oauth2.rfc9068 import JWTBearerTokenValidator
from flask import Flask, jsonify
from flask.typing import ResponseReturnValue
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import Key, KeySet
from joserfc.jws import CompactSignature
from werkzeug.exceptions import ServiceUnavailable

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 section 2.1
KEYS_KEPT_SECONDS = 300
"""How long published keys are used; a key that the issuer withdraws in an emergency is accepted for this time."""
CLOCK_LEEWAY_SECONDS = 60
"""How far this clock may be behind or ahead of the issuer's. Without a leeway, one that is a second behind refuses
every new token, since Authlib compares `iat` with it."""
KEYS_READ_AGAIN_SECONDS = 10
"""The minimum interval of reading them again for unknown key IDs, which callers can make up."""
TIMEOUT_SECONDS = 5


class PublishedKeys:
    """The issuer's public keys, found through its metadata (RFC 8414)."""

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer
        self._keys = KeySet([])
        self._read_at = float("-inf")
        self._lock = Lock()

    def get(self, kid: str | None) -> Key:
        """Return the key with this ID.

        :raises InvalidKeyIdError: there is none.
        :raises ServiceUnavailable: the issuer does not respond, and the keys are too old to be used.
        """
        with self._lock:
            age = time.monotonic() - self._read_at
            is_known = any(key.kid == kid for key in self._keys)
            if age >= KEYS_KEPT_SECONDS or (not is_known and age >= KEYS_READ_AGAIN_SECONDS):
                self._read()
            for key in self._keys:
                if key.kid == kid:
                    return key
        raise InvalidKeyIdError

    def _read(self) -> None:
        address = urlsplit(self._issuer)
        well_known = f"{address.scheme}://{address.netloc}/.well-known/oauth-authorization-server{address.path}"
        try:
            metadata = _json(well_known)
            if metadata["issuer"] != self._issuer:
                raise ServiceUnavailable("The metadata are another issuer's.")
            self._keys = KeySet.import_key_set(_json(metadata["jwks_uri"]))
        except (requests.RequestException, KeyError, ValueError) as error:
            raise ServiceUnavailable("The issuer's keys cannot be read.") from error
        self._read_at = time.monotonic()


def _json(url: str) -> Any:
    response = requests.get(url, timeout=TIMEOUT_SECONDS, allow_redirects=False)
    response.raise_for_status()
    return response.json()


class TokenValidator(JWTBearerTokenValidator):  # type: ignore[misc] # the library has no types
    """Authlib's validator, stricter in three places, and with a leeway for clocks.

    It accepts exactly one algorithm and one type, while Authlib also accepts a token without a type, and it answers a
    missing role with 403, while Authlib answers 401.
    """

    def __init__(self, issuer: str, audience: str) -> None:
        super().__init__(issuer, audience)
        self._published_keys = PublishedKeys(issuer)

    def get_jwks(self) -> Any:
        """Return the function that finds a token's key."""
        return self._key_of

    def _key_of(self, token: CompactSignature) -> Key:
        header = token.headers()
        if (header.get("alg"), header.get("typ")) != (ALGORITHM, TOKEN_TYPE):
            raise InvalidKeyIdError
        return self._published_keys.get(header.get("kid"))

    def authenticate_token(self, token_string: str) -> Any:
        """Return the claims of a token with a valid signature; their times are checked with a leeway."""
        claims = super().authenticate_token(token_string)
        claims.validate = partial(claims.validate, leeway=CLOCK_LEEWAY_SECONDS)
        return claims

    def validate_token(self, token: Any, scopes: Any, request: Any, roles: Sequence[str] | None = None) -> None:
        """Raise an error for an invalid token (401) or a missing role (403)."""
        super().validate_token(token, scopes, request)
        if self.scope_insufficient(token.get("roles"), roles):
            raise InsufficientScopeError


def create_app(issuer: str | None = None, audience: str | None = None) -> Flask:
    """Return the API.

    :param issuer: the accepted issuer; by default the environment's `ISSUER`.
    :param audience: the required `aud`; by default the environment's `AUDIENCE`.
    """
    app = Flask(__name__)
    require_oauth = ResourceProtector()
    require_oauth.register_token_validator(
        TokenValidator(issuer or os.environ["ISSUER"], audience or os.environ["AUDIENCE"])
    )

    @app.get("/accounts")
    @require_oauth(roles=["AccountViewer"])  # type: ignore[untyped-decorator]
    def accounts() -> ResponseReturnValue:
        return jsonify(accounts=[{"account_id": current_token["account_id"], "balance": "1250.00"}])

    @app.post("/payments")
    @require_oauth(roles=["CreatePayment", "CreateUrgentPayments"])  # type: ignore[untyped-decorator] # either
    def create_payment() -> ResponseReturnValue:
        return jsonify(status="created", created_by=current_token["client_id"]), 201

    return app
