"""Parse JWT assertions that authenticate clients, and check their claims (`private_key_jwt`, RFC 7523, S11)."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, NoReturn

from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ..credentials import is_well_formed
from ..database.outcomes import AuthenticationFailure
from ..secrets.public_keys import ALGORITHMS

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
CLOCK_SKEW_SECONDS = 60
STANDARD_LIFETIME_SECONDS = 3_600
"""How far ahead `exp` may be; Authlib sends so much."""
STRICT_LIFETIME_SECONDS = 300
_HEADER_TYPES = (None, "jwt", "client-authentication+jwt")
_EXPIRY_MAX = datetime(9000, 1, 1, tzinfo=UTC).timestamp()


class ClientAssertion(NamedTuple):
    """A JWT that a client sent to authenticate itself. It is not verified yet.

    :param client_id: its `sub`.
    :param algorithm: the `alg` of its header, one of `ALGORITHMS`; None if it is another one.
    :param key_id: the `kid` of its header, empty if there is none.
    :param message: what is signed.
    """

    client_id: str
    algorithm: str | None
    key_id: str
    claims: Mapping[str, Any]
    message: bytes
    signature: bytes

    @property
    def digest(self) -> str:
        """A digest of the client ID and `jti`, by which a repeated assertion is recognised."""
        identity = f"{self.client_id}\n{self.claims.get('jti')}".encode(errors="surrogatepass")
        return urlsafe_b64encode(hashlib.sha256(identity).digest()).decode()

    @property
    def expires_at(self) -> int:
        """The time from which it is refused as expired, in seconds; only after `check_claims` has accepted it."""
        expires: float = self.claims["exp"]
        return math.ceil(expires) + CLOCK_SKEW_SECONDS


class ClaimsCheck(NamedTuple):
    """The result of the checks of an assertion's claims.

    :param failure: the first rule that they break, None if they break none.
    :param is_strict: whether the strict profile accepts them too.
    """

    failure: AuthenticationFailure | None
    is_strict: bool = False


def parse_assertion(text: str) -> ClientAssertion | None:
    """Return an assertion, or None if it is not a JWT in compact form that names a well-formed client ID in `sub`.

    `NaN` and `Infinity`, which Python's `json` reads, are no JSON (RFC 8259 section 6), so that the whole is refused.
    """
    try:
        header_part, claims_part, signature_part = text.encode("ascii").split(b".")
        header, claims = (_from_json(urlsafe_b64decode(part).decode()) for part in (header_part, claims_part))
        signature = urlsafe_b64decode(signature_part)
    except (ValueError, RecursionError):
        return None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        return None
    client_id, key_id, header_type = claims.get("sub"), header.get("kid"), header.get("typ")
    if not isinstance(client_id, str) or not is_well_formed(client_id) or "crit" in header:
        return None
    if (header_type.lower() if isinstance(header_type, str) else header_type) not in _HEADER_TYPES:
        return None
    algorithm = header.get("alg")
    return ClientAssertion(
        client_id,
        algorithm if isinstance(algorithm, str) and algorithm in ALGORITHMS else None,
        key_id if isinstance(key_id, str) else "",
        claims,
        header_part + b"." + claims_part,
        signature,
    )


def check_claims(assertion: ClientAssertion, issuer: str, audiences: Collection[str], now: datetime) -> ClaimsCheck:
    """Check the claims of an assertion against the standard and the strict profile (S11).

    :param issuer: our issuer, the only audience of the strict profile.
    :param audiences: the issuer and the URL of the token endpoint.
    """
    claims, seconds = assertion.claims, now.timestamp()
    jti, audience = claims.get("jti"), claims.get("aud")
    times = [claims.get("exp"), claims.get("iat", 0), claims.get("nbf", 0)]
    if claims.get("iss") != assertion.client_id or not isinstance(jti, str) or not jti:
        return ClaimsCheck(AuthenticationFailure.ASSERTION_MALFORMED)
    if not all(map(_is_time, times)):
        return ClaimsCheck(AuthenticationFailure.ASSERTION_MALFORMED)
    values = audience if isinstance(audience, list) else [audience]
    # Every value, since another server that is also named could have forwarded the assertion.
    if not values or not all(isinstance(value, str) and value in audiences for value in values):
        return ClaimsCheck(AuthenticationFailure.ASSERTION_AUDIENCE)
    expires, issued, begins = times
    if expires + CLOCK_SKEW_SECONDS <= seconds:
        return ClaimsCheck(AuthenticationFailure.ASSERTION_EXPIRED)
    if max(issued, begins) > seconds + CLOCK_SKEW_SECONDS:
        return ClaimsCheck(AuthenticationFailure.ASSERTION_EARLY)
    if expires > seconds + STANDARD_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS:
        return ClaimsCheck(AuthenticationFailure.ASSERTION_LONG)
    is_short = expires <= seconds + STRICT_LIFETIME_SECONDS + CLOCK_SKEW_SECONDS
    return ClaimsCheck(None, is_strict=audience == issuer and is_short)


def _is_time(value: Any) -> bool:
    """Return whether a value is a number of seconds; JSON's `true` and 1e999 are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _EXPIRY_MAX


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_from_json = json.JSONDecoder(parse_constant=_refuse_constant).decode
