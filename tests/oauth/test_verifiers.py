"""Python libraries that verify a new token while their clock is behind; the README says which need a leeway (T2)."""

from collections.abc import Callable
from typing import Any

import jwt
import pytest
import time_machine
from joserfc import jwt as joserfc_jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from tests.support.endpoint import AUDIENCE, Endpoint
from tests.support.factories import make_client


def pyjwt_accepts(token: str, keys: dict[str, Any], leeway: int) -> bool:
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    try:
        jwt.decode(token, key, algorithms=["ES256"], audience=AUDIENCE, leeway=leeway)
    except jwt.InvalidTokenError:
        return False
    return True


def joserfc_accepts(token: str, keys: dict[str, Any], leeway: int) -> bool:
    decoded = joserfc_jwt.decode(token, KeySet.import_key_set(keys), algorithms=["ES256"])  # type: ignore[arg-type]
    try:
        joserfc_jwt.JWTClaimsRegistry(leeway=leeway, aud={"essential": True, "value": AUDIENCE}).validate(
            decoded.claims
        )
    except JoseError:
        return False
    return True


@pytest.mark.parametrize("accepts", [pyjwt_accepts, joserfc_accepts])
@pytest.mark.parametrize(
    ("behind_seconds", "leeway", "accepted"), [(0, 0, True), (1, 0, False), (30, 60, True), (59, 60, True)]
)
def test_libraries_that_check_iat_need_a_leeway(
    endpoint: Endpoint, accepts: Callable[..., bool], behind_seconds: int, leeway: int, accepted: bool
) -> None:
    token = endpoint.token(make_client(endpoint.engine))
    issued_at = jwt.decode(token, options={"verify_signature": False})["iat"]
    keys = endpoint.app.test_client().get("/.well-known/jwks.json").json or {}
    with time_machine.travel(issued_at - behind_seconds, tick=False):
        assert accepts(token, keys, leeway) is accepted
