"""Access tokens: JWTs as RFC 9068 defines them."""

import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ...settings import SettingsError
from ..clients.roles import RoleCatalogue
from ..credentials import CLIENT_ID_MAX
from ..database.models import ACCOUNT_ID_MAX, TOKEN_DURATION_MAX_MINUTES, utc_now
from .signing import ALGORITHM, CLOCK_SKEW, SigningKey, generate_unstored_key

JTI_RANDOM_BYTES = 16
JTI_GENERATION_BYTES = 4
NOT_BEFORE_SECONDS = 60
"""How long before its issue a token is valid already: clocks of verifiers may be behind by that much."""
TOKEN_BYTES_MAX = 4095
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """Issues and verifies the access tokens of one issuer.

    :param issuer: the `iss` of every token.
    :param audience: the `aud` of every token.
    """

    issuer: str
    audience: str

    def issue(
        self,
        key: SigningKey,
        *,
        client_id: str,
        account_id: str,
        roles: Sequence[str],
        scope: str,
        lifetime_seconds: int,
        generation: int,
        now: datetime,
    ) -> str:
        """Return a new signed token.

        :param key: the key that signs it.
        :param roles: keys of the API roles.
        :param generation: how often all tokens of the client were revoked until now; it is part of the `jti` (T13).
        """
        claims = self.claims(
            client_id=client_id,
            account_id=account_id,
            roles=roles,
            scope=scope,
            lifetime_seconds=lifetime_seconds,
            jti=_new_jti(generation),
            now=now,
        )
        unsigned = f"{key.header}.{urlsafe_b64encode(_to_json(claims).encode()).decode()}"
        return f"{unsigned}.{urlsafe_b64encode(key.sign(unsigned.encode())).decode()}"

    def claims(
        self,
        *,
        client_id: str,
        account_id: str,
        roles: Sequence[str],
        scope: str,
        lifetime_seconds: int,
        jti: str,
        now: datetime,
    ) -> dict[str, Any]:
        """Return the claims of a token (T2), in order; `issue` signs them, and the preview shows them."""
        issued_at = int(now.timestamp())
        return {
            "iss": self.issuer,
            "sub": client_id,
            "aud": self.audience,
            "client_id": client_id,
            "iat": issued_at,
            "nbf": issued_at - NOT_BEFORE_SECONDS,
            "exp": issued_at + lifetime_seconds,
            "jti": jti,
            "scope": scope,
            "roles": roles,
            "account_id": account_id,
        }

    def verify(self, token: str, find_key: Callable[[str], SigningKey | None], now: datetime) -> dict[str, Any] | None:
        """Return the claims of a token that this issuer signed and that is valid at this moment, else None (T5).

        The header selects the key, and must equal the header of that key character by character. So no header is
        parsed before the key is known, and no other algorithm, type, `crit` or key reference is ever considered (T6).

        :param find_key: returns the key for a header, such as `SigningKeys.for_header`.
        """
        key = find_key(token.partition(".")[0])
        if key is None:
            return None
        try:
            claims = jwt.decode(token, key.jwk, algorithms=[ALGORITHM]).claims
            is_ours = claims["iss"] == self.issuer and claims["aud"] == self.audience
            is_in_time = claims["iat"] <= (now + CLOCK_SKEW).timestamp() and now.timestamp() < claims["exp"]
        except (JoseError, ValueError, KeyError, TypeError):
            return None
        return claims if is_ours and is_in_time else None

    def check_size(self, catalogue: RoleCatalogue) -> None:
        """Refuse a catalogue whose largest token would be too long for HTTP headers (T2, RFC 6750 section 5.3).

        :raises SettingsError: a token with every role could have 4,096 bytes or more.
        """
        largest = self.issue(
            generate_unstored_key(),
            client_id='"' * CLIENT_ID_MAX,
            account_id="x" * ACCOUNT_ID_MAX,
            roles=list(catalogue),
            scope=" ".join(catalogue.scopes(catalogue.values())),
            lifetime_seconds=TOKEN_DURATION_MAX_MINUTES * 60,
            generation=0,
            now=utc_now(),
        )
        if len(largest) > TOKEN_BYTES_MAX:
            raise SettingsError(
                f"IDENTITY_CLIENTS_API_ROLES makes tokens of {len(largest)} bytes for a client with every role."
                f" Shorten role keys and scopes, until they have at most {TOKEN_BYTES_MAX}."
            )


def _new_jti(generation: int) -> str:
    # A counter and not a time, since clocks differ and two tokens may be issued at the same moment.
    raw = secrets.token_bytes(JTI_RANDOM_BYTES) + generation.to_bytes(JTI_GENERATION_BYTES)
    return urlsafe_b64encode(raw).decode()


def token_generation(claims: Mapping[str, Any]) -> int:
    """Return the generation of a verified token."""
    return int.from_bytes(urlsafe_b64decode(claims["jti"].encode())[JTI_RANDOM_BYTES:])
