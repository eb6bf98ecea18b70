"""Verify signatures by the public keys of clients (S11, RFC 7518)."""

import json
import secrets
from collections.abc import Callable, Mapping
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import JWSRegistry

from .public_keys import ED25519, EDDSA, ES256, PS256, RSA_BITS_MAX, RSA_BITS_MIN, RSA_EXPONENT

PARSED_MAX = 4_096
"""How many parsed keys a process keeps, since parsing one costs more than verifying a signature."""
# joserfc's algorithms themselves, as for signing tokens. "EdDSA" is the same as Ed25519 for a key on that curve.
_REGISTRY = JWSRegistry(algorithms=[ES256, ED25519, PS256])
_VERIFIERS = {
    ES256: _REGISTRY.get_alg(ES256),
    EDDSA: _REGISTRY.get_alg(ED25519),
    PS256: _REGISTRY.get_alg(PS256),
}


def verify_signature(algorithm: str, jwk: str, message: bytes, signature: bytes) -> bool:
    """Return whether a signature is that of a stored key.

    :param algorithm: of the key, as stored.
    :param jwk: the key as it is stored.
    """
    if algorithm == PS256 and _rsa_bytes(jwk) != len(signature):
        return False
    return _VERIFIERS[algorithm].verify(message, signature, _parsed(jwk))


def fits(algorithm: str, jwk: str, signature: bytes) -> bool:
    """Return whether a signature of this length can be that of a key, without a computation."""
    return algorithm != PS256 or _rsa_bytes(jwk) == len(signature)


def verify_dummy(algorithm: str, message: bytes, signature: bytes) -> None:
    """Do the work of one verification without a result, so that all refusals cost the same (P8).

    Of an RSA key the work depends on its length, which is that of the signature that was sent.
    """
    if algorithm == PS256 and not RSA_BITS_MIN <= len(signature) * 8 <= RSA_BITS_MAX + 7:
        return  # no key fits
    dummy = _dummy_rsa_key(len(signature)) if algorithm == PS256 else _DUMMY_KEYS[algorithm]()
    _VERIFIERS[algorithm].verify(message, signature, dummy)


@lru_cache(PARSED_MAX)
def _parsed(jwk: str) -> Key:
    return import_key(json.loads(jwk))


@lru_cache(PARSED_MAX)
def _rsa_bytes(jwk: str) -> int:
    key = _parsed(jwk).get_op_key("verify")
    return (key.key_size + 7) // 8 if isinstance(key, RSAPublicKey) else 0


@lru_cache
def _dummy_ec_key() -> Key:
    return ECKey.generate_key("P-256", private=False)


@lru_cache
def _dummy_okp_key() -> Key:
    return OKPKey.generate_key("Ed25519", private=False)


@lru_cache(RSA_BITS_MAX // 8)
def _dummy_rsa_key(length: int) -> Key:
    # Its factors are unknown, and it need not be a product of two primes to be computed with.
    modulus = int.from_bytes(secrets.token_bytes(length)) | 1 << (length * 8 - 1) | 1
    return RSAKey(RSAPublicNumbers(RSA_EXPONENT, modulus).public_key(), None)


_DUMMY_KEYS: Mapping[str, Callable[[], Key]] = {ES256: _dummy_ec_key, EDDSA: _dummy_okp_key}
