"""Claims of issued tokens, and verification by the issuer (T1-T6)."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from tests.support.endpoint import AUDIENCE, ISSUER, Endpoint, change_client, settings
from tests.support.factories import ACCOUNT, make_client
from webapp import ApiRole, IdentityClients, SettingsError
from webapp.core.clients.roles import DEFAULT_ROLES
from webapp.core.database.models import ACCOUNT_ID_MAX, utc_now
from webapp.core.tokens.access_tokens import AccessTokens
from webapp.core.tokens.signing import SigningKey, generate_unstored_key

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOKENS = AccessTokens(ISSUER, AUDIENCE)
KEY = generate_unstored_key()
SECOND = timedelta(seconds=1)


def part(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(token: str, index: int) -> dict[str, Any]:
    text = token.split(".")[index]
    value: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return value


def issue(
    tokens: AccessTokens = TOKENS, key: SigningKey = KEY, now: datetime = NOW, lifetime_seconds: int = 600
) -> str:
    return tokens.issue(
        key,
        client_id="northwind-api",
        account_id=ACCOUNT,
        roles=["MerchantUser"],
        scope="API",
        lifetime_seconds=lifetime_seconds,
        generation=0,
        now=now,
    )


def key_of(header: str) -> SigningKey | None:
    return {KEY.header: KEY}.get(header)


def counts(token: str, now: datetime = NOW, tokens: AccessTokens = TOKENS) -> bool:
    return tokens.verify(token, key_of, now) is not None


def signed(header: Any, claims: Any, key: SigningKey = KEY) -> str:
    unsigned = f"{part(header)}.{part(claims)}"
    return f"{unsigned}.{part(key.sign(unsigned.encode()))}"


HEADER = {"alg": "ES256", "typ": "at+jwt", "kid": KEY.kid}
CLAIMS = decoded(issue(), 1)


def published_key(endpoint: Endpoint, token: str) -> jwt.PyJWK:
    keys = jwt.PyJWKSet.from_dict(endpoint.client.get("/.well-known/jwks.json").json or {})
    return keys[jwt.get_unverified_header(token)["kid"]]


def test_token_header(endpoint: Endpoint) -> None:
    """Sign with ES256, `typ` at+jwt and the key ID, without other header members (T1)."""
    token = (endpoint.request_token(make_client(endpoint.engine)).json or {})["access_token"]
    (kid,) = [key["kid"] for key in (endpoint.client.get("/.well-known/jwks.json").json or {})["keys"]]
    assert decoded(token, 0) == {"alg": "ES256", "typ": "at+jwt", "kid": kid}
    assert len(base64.urlsafe_b64decode(token.split(".")[2] + "==")) == 64
    jwt.decode(token, published_key(endpoint, token), ["ES256"], audience=AUDIENCE, issuer=ISSUER)


@pytest.mark.parametrize("minutes", [10, 60])
def test_token_claims(endpoint: Endpoint, minutes: int) -> None:
    """Issue exactly the documented claims (T2, T3)."""
    client = make_client(
        endpoint.engine, token_duration=minutes, roles=("MerchantUser", "CreatePayment"), name="A name", description="D"
    )
    with time_machine.travel(NOW + timedelta(milliseconds=900), tick=False):
        token = (endpoint.request_token(client, scope="API").json or {})["access_token"]
        claims = jwt.decode(token, published_key(endpoint, token), ["ES256"], audience=AUDIENCE, issuer=ISSUER)
    issued_at = int(NOW.timestamp())
    assert len(base64.urlsafe_b64decode(claims.pop("jti") + "==")) * 8 >= 128
    assert claims == {
        "iss": ISSUER,
        "sub": client.client_id,
        "aud": AUDIENCE,
        "client_id": client.client_id,
        "iat": issued_at,
        "nbf": issued_at - 60,
        "exp": issued_at + minutes * 60,
        "scope": "API",
        "roles": ["MerchantUser", "CreatePayment"],
        "account_id": ACCOUNT,
    }
    assert {type(claims[name]) for name in ("iat", "nbf", "exp")} == {int}


def test_jti_is_unique(endpoint: Endpoint) -> None:
    """Give each token its own `jti` (T2)."""
    client = make_client(endpoint.engine)
    assert (
        len({decoded((endpoint.request_token(client).json or {})["access_token"], 1)["jti"] for _ in range(20)}) == 20
    )


def test_changed_client_id_is_the_next_subject(endpoint: Endpoint) -> None:
    """Use the new client ID as `sub` of the next token (T3)."""
    client = make_client(endpoint.engine, client_id="northwind-old")
    change_client(endpoint.engine, client, client_id="northwind-new")
    assert endpoint.request_token("northwind-old").status_code == 401
    claims = decoded((endpoint.request_token("northwind-new").json or {})["access_token"], 1)
    assert claims["sub"] == claims["client_id"] == "northwind-new"


def roles(count: int) -> tuple[ApiRole, ...]:
    return tuple(
        ApiRole(f"SomeRoleWithALongishKey{number:03}", "Name", "Text.", "Group", (f"a-longish-scope:{number:03}",))
        for number in range(count)
    )


def starts(database_url: str, catalogue: tuple[ApiRole, ...]) -> bool:
    app = Flask("host")
    app.config.update(settings(DATABASE_URL=database_url, API_ROLES=catalogue))
    try:
        IdentityClients().init_app(app)
    except SettingsError:
        return False
    return True


def test_largest_accepted_catalogue_fits_4096_bytes(sqlite_url: str) -> None:
    """Refuse to start with a role catalogue whose tokens could exceed 4096 bytes (T2)."""
    largest = next(count for count in range(90, 0, -1) if starts(sqlite_url, roles(count)))
    assert largest > 2 * len(DEFAULT_ROLES)
    catalogue = roles(largest)
    token = AccessTokens(ISSUER, AUDIENCE).issue(
        KEY,
        client_id='"' * 100,
        account_id="a" * ACCOUNT_ID_MAX,
        roles=[role.key for role in catalogue],
        scope=" ".join(scope for role in catalogue for scope in role.scopes),
        lifetime_seconds=3600,
        generation=0,
        now=utc_now(),
    )
    assert 4096 - 150 < len(token) < 4096


@pytest.mark.parametrize("name", ["ISSUER", "AUDIENCE"])
@pytest.mark.parametrize("value", ["", None])
def test_issuer_and_audience_are_required(sqlite_engine: Engine, name: str, value: str | None) -> None:
    """Refuse to start without issuer and audience (T4)."""
    with pytest.raises(SettingsError, match=f"IDENTITY_CLIENTS_{name} is missing"):
        Endpoint(sqlite_engine, None, **{name: value})


def test_token_validity_period() -> None:
    """Accept a token until `exp`, and before `nbf` within the leeway (T5)."""
    token = issue()
    for moment, expected in (
        (NOW - 301 * SECOND, False),
        (NOW - 300 * SECOND, True),
        (NOW, True),
        (NOW + 599 * SECOND, True),
        (NOW + 600 * SECOND, False),
    ):
        assert counts(token, moment) is expected
    assert TOKENS.verify(token, key_of, NOW) == decoded(token, 1)


def public_pem() -> bytes:
    key: ec.EllipticCurvePublicKey = KEY.jwk.public_key
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def with_signature(header: Any, sign: Any) -> str:
    unsigned = f"{part(header)}.{part(CLAIMS)}"
    return f"{unsigned}.{part(sign(unsigned.encode()))}"


def der(message: bytes) -> bytes:
    raw = KEY.sign(message)
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def rs256(message: bytes) -> bytes:
    return rsa.generate_private_key(65537, 2048).sign(message, padding.PKCS1v15(), hashes.SHA256())


def hs256(message: bytes) -> bytes:
    return hmac.digest(public_pem(), message, hashlib.sha256)


def tampered() -> str:
    header, _, signature = issue().split(".")
    return f"{header}.{part(CLAIMS | {'roles': ['CreatePayment']})}.{signature}"


OURS = issue()
FORGED = {
    "alg none, no signature": f"{part({**HEADER, 'alg': 'none'})}.{part(CLAIMS)}.",
    "alg none in our header": f"{part(HEADER)}.{part(CLAIMS)}.",
    "HS256 with our public key": with_signature({**HEADER, "alg": "HS256"}, hs256),
    "HS256 below our header": with_signature(HEADER, hs256),
    "RS256": with_signature({**HEADER, "alg": "RS256"}, rs256),
    "RS256 below our header": with_signature(HEADER, rs256),
    "ES384 named": signed({**HEADER, "alg": "ES384"}, CLAIMS),
    "typ JWT": signed({**HEADER, "typ": "JWT"}, CLAIMS),
    "no typ": signed({"alg": "ES256", "kid": KEY.kid}, CLAIMS),
    "all-zero signature": with_signature(HEADER, lambda _: bytes(64)),
    "DER signature": with_signature(HEADER, der),
    "signature one byte longer": with_signature(HEADER, lambda message: KEY.sign(message) + b"\0"),
    "signature one byte shorter": with_signature(HEADER, lambda message: KEY.sign(message)[:-1]),
    "crit": signed({**HEADER, "crit": ["exp"]}, CLAIMS),
    "crit b64": signed({**HEADER, "b64": True, "crit": ["b64"]}, CLAIMS),
    "another issuer": issue(AccessTokens("https://other.example", AUDIENCE)),
    "another audience": issue(AccessTokens(ISSUER, "https://other.example")),
    "audience as a list": signed(HEADER, {**CLAIMS, "aud": [AUDIENCE]}),
    "no exp": signed(HEADER, {name: value for name, value in CLAIMS.items() if name != "exp"}),
    "exp as text": signed(HEADER, {**CLAIMS, "exp": "9999999999"}),
    "claims as a list": signed(HEADER, [CLAIMS]),
    "claims no JSON": signed(HEADER, b"\xff"),
    "another key under our header": signed(HEADER, CLAIMS, generate_unstored_key()),
    "another key": issue(key=generate_unstored_key()),
    "changed claims": tampered(),
    "a fourth part": f"{OURS}.x",
    "two parts": OURS.rpartition(".")[0],
    "a line break": f"{OURS}\n",
    "padding": f"{OURS}==",
    "a JSON serialisation": json.dumps({"protected": part(HEADER), "payload": part(CLAIMS), "signature": "x"}),
    "nothing": "",
    "dots": "..",
    "not ASCII": OURS[:-1] + "é",
}


@pytest.mark.parametrize("forged", FORGED)
def test_foreign_and_tampered_tokens_are_refused(forged: str) -> None:
    """Refuse tokens with a wrong signature, header, issuer, audience or claim (T4, T5)."""
    assert counts(OURS)
    assert not counts(FORGED[forged])


HOSTILE_KIDS: list[Any] = [
    None,
    "",
    "unknown",
    ["x", KEY.kid],
    [KEY.kid],
    {"kid": KEY.kid},
    7,
    "../" + KEY.kid,
    "../../etc/passwd",
    KEY.kid + "\0",
    KEY.kid + " ",
    KEY.kid.swapcase(),
    "' OR '1'='1",
    '"; DROP TABLE x; --',
    "x" * 65,
    "x" * 5000,
    "https://evil.example/jwks.json",
]


@pytest.mark.parametrize("kid", HOSTILE_KIDS, ids=range(len(HOSTILE_KIDS)))
def test_kid_is_only_compared(kid: Any) -> None:
    """Use `kid` only to look up a known key (T6)."""
    header = {"alg": "ES256", "typ": "at+jwt"} | ({} if kid is None else {"kid": kid})
    assert not counts(signed(header, CLAIMS))


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c", "x5t"])
def test_header_urls_are_not_fetched(name: str) -> None:
    """Refuse a token with `jku`, `jwk`, `x5u` and the like without fetching anything (T6)."""
    value: Any = KEY.public_jwk if name == "jwk" else "https://evil.example/jwks.json"
    assert not counts(signed({**HEADER, name: value}, CLAIMS))


@given(
    st.one_of(
        st.text(),
        st.text().map(lambda text: f"{KEY.header}.{text}"),
        st.binary().map(lambda raw: f"{KEY.header}.{part(raw)}."),
    )
)
def test_verifier_handles_any_text(token: str) -> None:
    """Refuse any text without an unexpected exception (T5)."""
    assert not counts(token)
