"""Read the public keys of clients, as JWK (RFC 7517) or PEM (S11)."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key, load_pem_public_key
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.util import urlsafe_b64decode

from ..errors import FieldError
from ..i18n import gettext

ES256, EDDSA, PS256 = "ES256", "EdDSA", "PS256"
ED25519 = "Ed25519"
"""The other name of EdDSA with a key on Ed25519 (RFC 9864)."""
ALGORITHMS = (ES256, EDDSA, ED25519, PS256)
"""The values of `alg` by which an assertion may be signed."""
RSA_BITS_MIN, RSA_BITS_MAX = 2_048, 4_096
RSA_EXPONENT = 65_537
PUBLIC_KEY_MAX = 10_000
"""The number of characters of a pasted key."""
_FIELD = "public_key"
_PRIVATE_PEM = re.compile(r"PRIVATE KEY|PuTTY-User-Key-File", re.IGNORECASE)
_PRIVATE_MEMBER = re.compile(r"""["'](?:d|k|p|q|dp|dq|qi)["']\s*:""")
_PEM = re.compile(r"-----BEGIN (?:RSA )?PUBLIC KEY-----.*?-----END (?:RSA )?PUBLIC KEY-----", re.DOTALL)
_KEY_TYPES: Mapping[str, Callable[[Any, None], Key]] = {ES256: ECKey, EDDSA: OKPKey, PS256: RSAKey}
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}


class PublicKey(NamedTuple):
    """A public key of a client.

    :param algorithm: the one algorithm that it verifies: ES256, EdDSA or PS256.
    :param jwk: its required members as JSON without white space, sorted, as RFC 7638 digests them.
    """

    thumbprint: str
    algorithm: str
    jwk: str


class PrivateKeyGiven(FieldError):
    """A private key was given in place of a public one. It must be stored nowhere, and not shown again (S11)."""

    def __init__(self) -> None:
        super().__init__(
            _FIELD,
            gettext(
                "This is a private key. It was not stored, but treat it as leaked: do not use it, make a new pair, and"
                " paste only its public key here."
            ),
            gettext("That was a private key: make a new pair, and paste only the public key"),
        )


def algorithm_of_key(header_algorithm: str) -> str:
    """Return the algorithm of the keys that verify a signature with this `alg`, one of `ALGORITHMS`."""
    return EDDSA if header_algorithm == ED25519 else header_algorithm


def parse_public_key(text: str) -> PublicKey:
    """Return the public key in a text: a JWK, a JWK Set of one key, or PEM.

    :raises PrivateKeyGiven: the text contains a private or symmetric key.
    :raises FieldError: it contains no key of a type that is allowed; the field is `public_key`.
    """
    text = text.strip()
    if not text:
        raise _error(gettext("Paste a public key as JWK or PEM, or choose its file."))
    if contains_private_key(text):
        raise PrivateKeyGiven
    if len(text) > PUBLIC_KEY_MAX:
        raise _error(gettext("This is too long for a public key. Paste one key, as JWK or PEM."))
    public = _read_jwk(text) if text.startswith(("{", "[")) else _read_pem(text)
    algorithm = _algorithm_of(public)
    # Encoded anew, so that one key has one thumbprint in whatever form it was pasted.
    key = _KEY_TYPES[algorithm](public, None)
    members = {name: value for name, value in key.as_dict(private=False).items() if name in _MEMBERS[key.key_type]}
    return PublicKey(key.thumbprint(), algorithm, json.dumps(members, sort_keys=True, separators=(",", ":")))


def contains_private_key(text: str) -> bool:
    """Return whether a text contains a private or symmetric key, or seems to."""
    if _PRIVATE_PEM.search(text) or _PRIVATE_MEMBER.search(text):
        return True
    try:
        load_der_private_key(base64.b64decode("".join(text.split()), validate=True), None)
    except TypeError:
        return True  # it is encrypted
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _read_jwk(text: str) -> Any:
    try:
        jwk = json.loads(text)
        if isinstance(jwk, dict) and isinstance(jwk.get("keys"), list):
            jwk = jwk["keys"]
        if isinstance(jwk, list):
            if len(jwk) != 1:
                raise _error(gettext("This is a set of several keys. Paste one key at a time."))
            [jwk] = jwk
    except (ValueError, RecursionError):
        raise _error(gettext("This is not a whole JWK: it is not valid JSON. Copy the key again.")) from None
    if not isinstance(jwk, dict):
        raise _error(gettext("This is not a whole JWK: it is not valid JSON. Copy the key again."))
    if jwk.get("kty") == "oct":
        raise PrivateKeyGiven
    try:
        if jwk["kty"] == RSAKey.key_type:
            # Before joserfc, which warns of short ones.
            _check_rsa_bits(int.from_bytes(urlsafe_b64decode(jwk["n"].encode())).bit_length())
        public = import_key({name: jwk[name] for name in _MEMBERS[jwk["kty"]]}).get_op_key("verify")
    except (KeyError, TypeError, ValueError, AttributeError, JoseError, UnsupportedAlgorithm):
        raise _wrong_type() from None
    if jwk.get("use", "sig") != "sig":
        raise _error(gettext("This key is for encryption (“use” is not “sig”). Make one for signatures."))
    declared, algorithm = jwk.get("alg"), _algorithm_of(public)
    if declared is not None and (declared not in ALGORITHMS or algorithm_of_key(declared) != algorithm):
        raise _error(
            gettext(
                "This key says that it signs by another algorithm than %(algorithm)s, which is the one for its type.",
                algorithm=algorithm,
            )
        )
    return public


def _read_pem(text: str) -> Any:
    found = _PEM.search(text)
    if "BEGIN CERTIFICATE" in text and not found:
        raise _error(
            gettext("This is a certificate. Paste its public key: openssl x509 -in certificate.pem -pubkey -noout")
        )
    try:
        if found:
            return load_pem_public_key(found[0].encode())
        return load_der_public_key(base64.b64decode("".join(text.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm):
        raise _error(
            gettext("This is no public key as JWK or PEM. A PEM begins with -----BEGIN PUBLIC KEY-----, a JWK with {.")
        ) from None


def _algorithm_of(public: Any) -> str:
    """Return the algorithm for a key of `cryptography`.

    :raises FieldError: no algorithm is allowed for it.
    """
    match public:
        case EllipticCurvePublicKey(curve=curve) if curve.name == "secp256r1":
            return ES256
        case Ed25519PublicKey():
            return EDDSA
        case RSAPublicKey() as rsa:
            _check_rsa_bits(rsa.key_size)
            if rsa.public_numbers().e != RSA_EXPONENT:
                raise _error(gettext("This RSA key has an unusual exponent. Use one with 65537."))
            return PS256
    raise _wrong_type()


def _check_rsa_bits(bits: int) -> None:
    if not RSA_BITS_MIN <= bits <= RSA_BITS_MAX:
        raise _error(
            gettext(
                "This RSA key has %(bits)s bits. Use %(least)s to %(most)s, or a key on P-256.",
                bits=bits,
                least=RSA_BITS_MIN,
                most=RSA_BITS_MAX,
            )
        )


def _wrong_type() -> FieldError:
    return _error(
        gettext("Use a key of one of these types: EC on P-256, Ed25519, or RSA of 2,048 to 4,096 bits."),
        gettext("Public key is of a type that cannot be used"),
    )


def _error(message: str, summary: str | None = None) -> FieldError:
    return FieldError(_FIELD, message, summary or gettext("Public key cannot be used: see the field"))
