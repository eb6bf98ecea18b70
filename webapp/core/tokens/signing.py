"""A signing key: signing with it, and storing it encrypted (T1, T9)."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode

from ..database.models import StoredSigningKey, utc_now
from ..errors import SigningKeyUnusable

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 section 2.1
CURVE = "P-256"
CLOCK_SKEW = timedelta(minutes=5)
"""By how much the clocks of our own hosts may differ."""
_NONCE_BYTES = 12
_COORDINATE_BYTES = 32
_ECDSA_SHA256 = ECDSA(SHA256())


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A decrypted key pair.

    :param header: the first part of every token that it signs: the protected header in base64url (T1).
    :param public_jwk: the public key as the key set publishes it (T7).
    :param jwk: the key pair.
    :param private_key: its private key, which signs.
    """

    kid: str
    header: str
    public_jwk: dict[str, Any]
    signs_from: datetime
    signs_until: datetime | None
    jwk: ECKey = field(repr=False)
    private_key: EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def from_jwk(cls, jwk: ECKey, signs_from: datetime, signs_until: datetime | None = None) -> Self:
        """Return the signing key of a key pair that signs in this period."""
        kid = jwk.thumbprint()
        header = json.dumps({"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": kid}, separators=(",", ":"))
        encoded = urlsafe_b64encode(header.encode()).decode()
        return cls(kid, encoded, _public(jwk), signs_from, signs_until, jwk, jwk.get_op_key("sign"))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the ES256 signature (RFC 7518 section 3.4)."""
        # Not by joserfc, which looks the key up each time: a token takes 6 us longer with it, of about 90.
        r, s = decode_dss_signature(self.private_key.sign(message, _ECDSA_SHA256))
        return r.to_bytes(_COORDINATE_BYTES) + s.to_bytes(_COORDINATE_BYTES)


def generate_unstored_key() -> SigningKey:
    """Return a new key that is not stored, for tests and for measuring the size of tokens."""
    return SigningKey.from_jwk(ECKey.generate_key(CURVE), utc_now())


class PrivateKeyStorage:
    """Encrypts private keys for the database with AES-256-GCM, with the key ID as associated data (T9).

    :param encryption_keys: 32 bytes each. The first one encrypts, all of them decrypt.
    """

    def __init__(self, encryption_keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in encryption_keys]

    def generate_row(self, created_at: datetime, signs_from: datetime) -> StoredSigningKey:
        """Generate a key, and return the row that stores it."""
        jwk = ECKey.generate_key(CURVE)
        kid, nonce = jwk.thumbprint(), os.urandom(_NONCE_BYTES)
        return StoredSigningKey(
            kid=kid,
            public_jwk=_public(jwk),
            private_key_encrypted=nonce + self._ciphers[0].encrypt(nonce, jwk.as_der(private=True), kid.encode()),
            created_at=created_at,
            signs_from=signs_from,
        )

    def decrypt_row(
        self,
        kid: str,
        public_jwk: dict[str, str],
        private_key_encrypted: bytes,
        signs_from: datetime,
        signs_until: datetime | None,
    ) -> SigningKey:
        """Return the key that a row stores.

        :raises SigningKeyUnusable: it does not decrypt, or does not match the other columns.
        """
        try:
            jwk = ECKey.import_key(self._decrypt(private_key_encrypted, kid))
        except (InvalidTag, JoseError, ValueError) as error:
            raise SigningKeyUnusable(f"Signing key {kid} does not decrypt under its own ID.") from error
        if jwk.curve_name != CURVE or _public(jwk) != public_jwk or jwk.thumbprint() != kid:
            raise SigningKeyUnusable(f"Signing key {kid} does not match the columns of its row.")
        return SigningKey.from_jwk(jwk, signs_from, signs_until)

    def _decrypt(self, encrypted: bytes, kid: str) -> bytes:
        for cipher in self._ciphers:
            with contextlib.suppress(InvalidTag):
                return cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], kid.encode())
        raise InvalidTag


def _public(jwk: ECKey) -> dict[str, Any]:
    return dict(jwk.as_dict(private=False, use="sig", alg=ALGORITHM, kid=jwk.thumbprint()))
