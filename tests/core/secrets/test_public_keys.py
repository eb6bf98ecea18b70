"""Public keys of clients: which are accepted, in which forms, and that private ones are refused (S11)."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from tests.support.keys import private_key, private_pem, public_pem
from webapp.core.errors import FieldError
from webapp.core.secrets.public_keys import PrivateKeyGiven, parse_public_key

KINDS = ["ES256", "EdDSA", "PS256"]
MEMBERS = {"ES256": {"kty", "crv", "x", "y"}, "EdDSA": {"kty", "crv", "x"}, "PS256": {"kty", "n", "e"}}
TYPES: dict[str, Any] = {"ES256": ECKey, "EdDSA": OKPKey, "PS256": RSAKey}


def jwk(algorithm: str, *, private: bool = False, **members: Any) -> dict[str, Any]:
    """Return the key pair for an algorithm as a JWK, written by another library."""
    key = TYPES[algorithm].import_key(private_pem(private_key(algorithm)))
    return {**key.as_dict(private=private), **members}


def der(algorithm: str) -> str:
    return base64.b64encode(
        private_key(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ).decode()


FORMS: dict[str, Callable[[str], str]] = {
    "JWK": lambda kind: json.dumps(jwk(kind)),
    "JWK with more members": lambda kind: json.dumps(jwk(kind, kid="x", use="sig", alg=kind, key_ops=["verify"])),
    "JWK in lines": lambda kind: f"\n{json.dumps(jwk(kind), indent=2)}\n",
    "JWK Set": lambda kind: json.dumps({"keys": [jwk(kind)]}),
    "PEM": lambda kind: public_pem(private_key(kind)),
    "PEM with CRLF and text around": lambda kind: f"# key\r\n{public_pem(private_key(kind))}".replace("\n", "\r\n"),
    "Base64 without armour": der,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_one_key_is_the_same_in_every_form(kind: str, form: str) -> None:
    """The thumbprint is that of RFC 7638, and the stored form holds the required members only."""
    parsed = parse_public_key(FORMS[form](kind))
    key = TYPES[kind].import_key(public_pem(private_key(kind)))
    assert parsed.thumbprint == key.thumbprint()
    assert parsed.algorithm == kind
    assert set(json.loads(parsed.jwk)) == MEMBERS[kind]


def encrypted_pem() -> str:
    return (
        private_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"a password")).decode()
    )


def private_bytes(kind: str, form: PrivateFormat) -> str:
    return private_key(kind).private_bytes(Encoding.PEM, form, NoEncryption()).decode()


PRIVATE: dict[str, Callable[[], str]] = {
    **{f"{kind} as JWK": (lambda kind=kind: json.dumps(jwk(kind, private=True))) for kind in KINDS},  # type: ignore[misc]
    **{f"{kind} as PEM": (lambda kind=kind: private_pem(private_key(kind))) for kind in KINDS},  # type: ignore[misc]
    "EC PRIVATE KEY": lambda: private_bytes("ES256", PrivateFormat.TraditionalOpenSSL),
    "RSA PRIVATE KEY": lambda: private_bytes("PS256", PrivateFormat.TraditionalOpenSSL),
    "encrypted": encrypted_pem,
    "OpenSSH": lambda: private_bytes("EdDSA", PrivateFormat.OpenSSH),
    "Base64 without armour": lambda: "".join(private_pem(private_key()).splitlines()[1:-1]),
    "half of a PEM": lambda: private_pem(private_key())[:60],
    "after a public one": lambda: public_pem(private_key()) + private_pem(private_key()),
    "in a JWK Set": lambda: json.dumps({"keys": [jwk("ES256", private=True)]}),
    "as a Python literal": lambda: str(jwk("ES256", private=True)),
    "JWK that is cut off": lambda: json.dumps(jwk("ES256", private=True))[:-1],
    "symmetric": lambda: json.dumps(OctKey.generate_key(256).as_dict(private=True)),
    "symmetric without its value": lambda: '{"kty": "oct"}',
}


@pytest.mark.parametrize("form", PRIVATE)
def test_a_private_key_is_recognised(form: str) -> None:
    """Say that it is to be treated as leaked, and repeat nothing of it (S11, L4)."""
    text = PRIVATE[form]()
    with pytest.raises(PrivateKeyGiven) as caught:
        parse_public_key(text)
    assert "treat it as leaked" in caught.value.message
    assert text[:40] not in caught.value.message


def spki(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


REFUSED: dict[str, tuple[Callable[[], str], str]] = {
    "nothing": (lambda: "  ", "Paste a public key"),
    "words": (lambda: "my key", "no public key"),
    "too long": (lambda: "x" * 10_001, "too long"),
    "P-384": (lambda: spki(ec.generate_private_key(ec.SECP384R1())), "EC on P-256, Ed25519, or RSA"),
    "secp256k1": (lambda: spki(ec.generate_private_key(ec.SECP256K1())), "EC on P-256, Ed25519, or RSA"),
    "X25519": (lambda: spki(x25519.X25519PrivateKey.generate()), "EC on P-256, Ed25519, or RSA"),
    "Ed448": (lambda: spki(ed448.Ed448PrivateKey.generate()), "EC on P-256, Ed25519, or RSA"),
    "RSA of 2,040 bits": (lambda: spki(rsa.generate_private_key(65537, 2040)), "2040 bits"),
    "RSA of 1,024 bits as JWK": (
        lambda: json.dumps(jwk("PS256", n=base64.urlsafe_b64encode(b"\xff" * 128).decode().rstrip("="))),
        "1024 bits",
    ),
    "RSA of 4,104 bits as JWK": (
        lambda: json.dumps(jwk("PS256", n=base64.urlsafe_b64encode(b"\xff" * 513).decode().rstrip("="))),
        "4104 bits",
    ),
    "RSA with exponent 3": (lambda: spki(rsa.generate_private_key(3, 2048)), "exponent"),
    "a point that is not on the curve": (lambda: json.dumps(jwk("ES256", y="A" * 43)), "EC on P-256"),
    "a member is missing": (lambda: json.dumps({"kty": "EC", "crv": "P-256"}), "EC on P-256"),
    "unknown type": (lambda: json.dumps({"kty": "AKP"}), "EC on P-256"),
    "a number as type": (lambda: json.dumps({"kty": 1}), "EC on P-256"),
    "a list as x": (lambda: json.dumps(jwk("ES256", x=[1])), "EC on P-256"),
    "no JSON": (lambda: '{"kty": ', "not valid JSON"),
    "nested too deep": (lambda: "[" * 9_000, "not valid JSON"),
    "two keys": (lambda: json.dumps({"keys": [jwk("ES256"), jwk("EdDSA")]}), "one key at a time"),
    "for encryption": (lambda: json.dumps(jwk("PS256", use="enc")), "for encryption"),
    "for RS256": (lambda: json.dumps(jwk("PS256", alg="RS256")), "PS256"),
    "certificate": (lambda: "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----", "openssl x509"),
    "SSH": (lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAA", "no public key"),
}


@pytest.mark.parametrize("text", REFUSED)
def test_other_keys_are_refused_with_what_to_use(text: str) -> None:
    """The message belongs to the field, and is no error 500 (S11)."""
    make, message = REFUSED[text]
    with pytest.raises(FieldError, match=message) as caught:
        parse_public_key(make())
    assert caught.value.field == "public_key"
    assert not isinstance(caught.value, PrivateKeyGiven)


@pytest.mark.parametrize("bits", [2048, 3001, 4096])
def test_rsa_keys_up_to_the_limits(bits: int) -> None:
    assert parse_public_key(spki(rsa.generate_private_key(65537, bits))).algorithm == "PS256"
