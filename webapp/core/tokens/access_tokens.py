"""Access tokens: JWTs after RFC 9068, made and verified."""

import binascii
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from joserfc.util import urlsafe_b64decode, urlsafe_b64encode

from ...settings import SettingsError
from ..clients.roles import RoleCatalogue
from ..credentials import CLIENT_ID_MAX
from ..database.models import ACCOUNT_ID_MAX, TOKEN_DURATION_MAX_MINUTES, utc_now
from .signing import SigningKey, generate_unstored_key

JTI_RANDOM_BYTES = 16
JTI_GENERATION_BYTES = 4
NOT_BEFORE_LEEWAY_SECONDS = 5
TOKEN_BYTES_MAX = 4095
_to_json = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class AccessTokens:
    """What one issuer makes, and what it takes for its own.

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
        """Return a new signed token, with the header of T1 and the claims of T2.

        :param generation: how often the client's tokens were revoked until now; it is part of the `jti` (T13).
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
        """Return what a token carries (T2), in its order; `issue` signs these, and a preview shows them."""
        issued_at = int(now.timestamp())
        return {
            "iss": self.issuer,
            "sub": client_id,
            "aud": self.audience,
            "client_id": client_id,
            "iat": issued_at,
            "nbf": issued_at,
            "exp": issued_at + lifetime_seconds,
            "jti": jti,
            "scope": scope,
            "roles": roles,
            "account_id": account_id,
        }

    def verify(self, token: str, key_of: Callable[[str], SigningKey | None], now: datetime) -> dict[str, Any] | None:
        """Return the claims of a token that this issuer made and that counts at this moment, else None (T5).

        Ours begin with one of our headers, letter for letter. So nothing that a stranger wrote is parsed before the
        signature is checked, and no other algorithm, type, `crit` or key reference gets a hearing (T6).

        :param key_of: finds the key to a header, such as `KeyRing.for_header`.
        """
        unsigned, _, signature = token.rpartition(".")
        header, _, payload = unsigned.partition(".")
        key = key_of(header)
        if key is None:
            return None
        try:
            if not key.verifies(unsigned.encode("ascii"), urlsafe_b64decode(signature.encode("ascii"))):
                return None
            claims: dict[str, Any] = json.loads(urlsafe_b64decode(payload.encode("ascii")))
            is_ours = claims["iss"] == self.issuer and claims["aud"] == self.audience
            is_in_time = (
                claims["nbf"] <= now.timestamp() + NOT_BEFORE_LEEWAY_SECONDS and now.timestamp() < claims["exp"]
            )
        except (binascii.Error, ValueError, KeyError, TypeError):
            return None
        return claims if is_ours and is_in_time else None

    def check_size(self, catalogue: RoleCatalogue) -> None:
        """Refuse a catalogue whose largest token would not fit where tokens travel (T2, RFC 6750 section 5.3).

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
    # Counted, not timed: hosts do not agree on the time, and two tokens may share a moment.
    raw = secrets.token_bytes(JTI_RANDOM_BYTES) + generation.to_bytes(JTI_GENERATION_BYTES)
    return urlsafe_b64encode(raw).decode()


def token_generation(claims: Mapping[str, Any]) -> int:
    """Return the generation of a verified token."""
    return int.from_bytes(urlsafe_b64decode(claims["jti"].encode())[JTI_RANDOM_BYTES:])
