"""One signing key: what it signs and verifies, and how it is stored (T1, T9)."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.jws import JWSRegistry
from joserfc.util import urlsafe_b64encode

from ..database import models
from ..database.models import utc_now
from ..errors import SigningKeyUnusable

ALGORITHM = "ES256"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068 section 2.1
CURVE = "P-256"
_NONCE_BYTES = 12
_HALF_BYTES = 32
_ECDSA_SHA256 = ECDSA(SHA256())


# The layer of joserfc below its `jws.serialize_compact`, which checks header and key anew for each token.
_ES256 = JWSRegistry(algorithms=[ALGORITHM]).get_alg(ALGORITHM)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair, decrypted.

    :param header: the first part of every token that it signs: the protected header in base64url (T1).
    :param public_jwk: what the key set publishes, and nothing more (T7).
    """

    kid: str
    header: str
    public_jwk: dict[str, Any]
    signs_from: datetime
    signs_until: datetime | None
    _jwk: ECKey = field(repr=False)
    _private_key: EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def of(cls, jwk: ECKey, signs_from: datetime, signs_until: datetime | None = None) -> Self:
        """Return a key that signs in this period."""
        kid = jwk.thumbprint()
        header = json.dumps({"alg": ALGORITHM, "typ": TOKEN_TYPE, "kid": kid}, separators=(",", ":"))
        encoded = urlsafe_b64encode(header.encode()).decode()
        return cls(kid, encoded, _public(jwk), signs_from, signs_until, jwk, _private(jwk))

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the ES256 signature (RFC 7518 section 3.4)."""
        # Without joserfc, which looks the key up and makes its objects anew: 17 us in place of 21.
        r, s = decode_dss_signature(self._private_key.sign(message, _ECDSA_SHA256))
        return r.to_bytes(_HALF_BYTES) + s.to_bytes(_HALF_BYTES)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made the signature; anything but 64 bytes is none."""
        return _ES256.verify(message, signature, self._jwk)


def _private(jwk: ECKey) -> EllipticCurvePrivateKey:
    return jwk.get_op_key("sign")


def generate_unstored_key() -> SigningKey:
    """Return a key that nobody keeps, to try things with."""
    return SigningKey.of(ECKey.generate_key(CURVE), utc_now())


class PrivateKeyStorage:
    """Encrypts private keys for the database, each under its own key ID (T9).

    :param encryption_keys: 32 bytes each. The first one encrypts, all of them decrypt.
    """

    def __init__(self, encryption_keys: Sequence[bytes]) -> None:
        self._ciphers = [AESGCM(key) for key in encryption_keys]

    def new_row(self, created_at: datetime, signs_from: datetime) -> models.StoredSigningKey:
        """Return the row of a new key."""
        jwk = ECKey.generate_key(CURVE)
        kid, nonce = jwk.thumbprint(), os.urandom(_NONCE_BYTES)
        return models.StoredSigningKey(
            kid=kid,
            public_jwk=_public(jwk),
            private_key_encrypted=nonce + self._ciphers[0].encrypt(nonce, jwk.as_der(private=True), kid.encode()),
            created_at=created_at,
            signs_from=signs_from,
        )

    def opened(
        self,
        kid: str,
        public_jwk: dict[str, str],
        private_key_encrypted: bytes,
        signs_from: datetime,
        signs_until: datetime | None,
    ) -> SigningKey:
        """Return the key of a row.

        :raises KeyUnusable: it does not decrypt, or is not what its row says.
        """
        try:
            jwk = ECKey.import_key(self._decrypted(private_key_encrypted, kid))
        except (InvalidTag, JoseError, ValueError) as error:
            raise SigningKeyUnusable(f"Signing key {kid} does not decrypt under its own ID.") from error
        if jwk.curve_name != CURVE or _public(jwk) != public_jwk or jwk.thumbprint() != kid:
            raise SigningKeyUnusable(f"Signing key {kid} is not what its row says.")
        return SigningKey.of(jwk, signs_from, signs_until)

    def _decrypted(self, encrypted: bytes, kid: str) -> bytes:
        for cipher in self._ciphers:
            with contextlib.suppress(InvalidTag):
                return cipher.decrypt(encrypted[:_NONCE_BYTES], encrypted[_NONCE_BYTES:], kid.encode())
        raise InvalidTag


def _public(jwk: ECKey) -> dict[str, Any]:
    return dict(jwk.as_dict(private=False, use="sig", alg=ALGORITHM, kid=jwk.thumbprint()))
