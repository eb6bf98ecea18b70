"""Secrets: generation, policy, hashing and comparison, and protection against leaks (S1-S5, L4)."""

import base64
import copy
import hmac
import json
import logging
import pickle
import re
import string
import traceback
from collections.abc import Callable
from typing import Any

import argon2
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from tests.support.factories import HASHER, PEPPER, PEPPER_SETTING, SECRET
from webapp.core.errors import FieldError
from webapp.core.secrets.generation import Secret, generate_secret, is_generated
from webapp.core.secrets.hashing import HashScheme, SecretHasher, StoredHash, scheme_of
from webapp.core.secrets.policy import check_secret, common_secrets, needs_form_encoding, weaknesses
from webapp.settings import Settings, SettingsError

CANARY = "canary-7f3a9c"
printable = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=6, max_size=100)


# Valid secrets


@given(printable)
def test_printable_ascii_is_accepted_unchanged(value: str) -> None:
    """Any 6 to 100 printable characters are accepted, and nothing is trimmed (S4)."""
    assert check_secret(value).reveal() == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "Enter a secret of 6 to 100 characters, or press Generate new."),
        ("a", "This secret has 1 character. Use 6 to 100, or press Generate new."),
        ("a" * 5, "This secret has 5 characters. Use 6 to 100, or press Generate new."),
        ("a" * 101, "This secret has 101 characters. Use 6 to 100, or press Generate new."),
        *(
            (f"secret{bad}", "Use only letters A to Z, digits, spaces and the signs on an English keyboard.")
            for bad in ("\x00", "\n", "\t", "\x7f", "\x80", "é", "\u202e", "\ud800", "💳")
        ),
    ],
)
def test_secret_refused(value: str, message: str) -> None:
    """The message repeats nothing that was typed (I1)."""
    with pytest.raises(FieldError) as caught:
        check_secret(value)
    assert (caught.value.field, caught.value.message) == ("client_secret", message)


# Weak secrets


@pytest.mark.parametrize(
    ("value", "rules"),
    [
        ("x9!kQ2#vT7$wZ4a", ["It has fewer than 16 characters."]),
        ("x9!kQ2#vT7$wZ4ab", []),
        (
            "111111",
            ["It has fewer than 16 characters.", "It repeats one character.", "It is on the list of common passwords."],
        ),
        ("a" * 16, ["It repeats one character."]),
        ("acme-claims-staging", ["It equals the client ID or the name."]),
        ("ACME Claims (Staging)", ["It equals the client ID or the name."]),
        ("PassWord", ["It has fewer than 16 characters.", "It is on the list of common passwords."]),
    ],
)
def test_every_weakness_has_its_message(value: str, rules: list[str]) -> None:
    """Length, repetition, equality with ID or name in any letter case, and common secrets (S4)."""
    assert weaknesses(Secret(value), "Acme-Claims-Staging", "Acme claims (staging)") == rules


def test_an_empty_name_is_no_weakness() -> None:
    assert weaknesses(Secret(SECRET), "acme-claims", "") == []


@pytest.mark.parametrize(("value", "warned"), [("a+b" * 6, True), ("a%b" * 6, True), ("a-b_c~d.e f" * 2, False)])
def test_characters_that_need_encoding_give_a_warning(value: str, warned: bool) -> None:
    """The warning is no weakness, so a setting does not turn it into an error (S4)."""
    assert needs_form_encoding(Secret(value)) is warned
    assert weaknesses(Secret(value), "acme-claims", "") == []


def test_the_list_of_common_secrets() -> None:
    """At least 3,000, each of a valid length, in the form in which they are compared (S4)."""
    assert len(common_secrets()) >= 3000
    for value in common_secrets():
        assert check_secret(value).reveal() == value.casefold() == value.strip()
    assert {"password", "123456", "qwerty", "iloveyou", "letmein"} <= common_secrets()


# Generated secrets


def test_generated_secrets() -> None:
    """Prefix, 264 random bits and checksum; no character that form encoding changes; no repeats (S3)."""
    made = [generate_secret("vcs_").reveal() for _ in range(10_000)]
    assert len(set(made)) == 10_000
    assert {len(value) for value in made} == {4 + 44 + 6}
    assert all(re.fullmatch(r"vcs_[A-Za-z0-9_-]{50}", value) for value in made)
    assert all(is_generated(Secret(value)) for value in made)
    assert all(weaknesses(Secret(value), "acme-claims", "") == [] for value in made[:100])
    assert not any(needs_form_encoding(Secret(value)) for value in made)
    assert {character for value in made for character in value} == set(string.ascii_letters + string.digits + "_-")


@pytest.mark.parametrize(("prefix", "generated"), [("", False), ("a", True), ("a" * 40, True), ("a" * 41, False)])
def test_form_of_a_generated_secret(prefix: str, generated: bool) -> None:
    """With any prefix of 1 to 40 characters, as the setting may have changed (S1, S3)."""
    assert is_generated(generate_secret(prefix)) == generated


@pytest.mark.parametrize(
    ("prefix", "fit"), [("vcs_", True), ("a" * 40, True), ("a" * 41, False), ("", False), ("a+", False)]
)
def test_an_invalid_prefix_stops_the_start(prefix: str, fit: bool) -> None:
    """With the longest prefix a generated secret is still valid (S3)."""
    config = {
        "IDENTITY_CLIENTS_ISSUER": "https://identity.example",
        "IDENTITY_CLIENTS_AUDIENCE": "https://api.example",
        "IDENTITY_CLIENTS_PEPPER": PEPPER_SETTING,
        "IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY": "A" * 43,
        "IDENTITY_CLIENTS_DATABASE_URL": "sqlite:////srv/mas.sqlite3",
        "IDENTITY_CLIENTS_SECRET_PREFIX": prefix,
    }
    if fit:
        check_secret(generate_secret(Settings.from_config(config).secret_prefix).reveal())
    else:
        with pytest.raises(SettingsError, match="IDENTITY_CLIENTS_SECRET_PREFIX"):
            Settings.from_config(config)


def test_every_position_of_a_generated_secret_takes_every_character() -> None:
    """264 bits are 44 characters of 6 bits, and none of them is fixed (S3)."""
    made = [generate_secret("").reveal() for _ in range(2_000)]
    for place in range(44):
        assert len({value[place] for value in made}) == 64


def test_the_checksum_detects_a_mistyped_secret() -> None:
    """A change of one character invalidates the checksum (S3)."""
    value = generate_secret("vcs_").reveal()
    for place in range(len(value)):
        wrong = value[:place] + ("A" if value[place] != "A" else "B") + value[place + 1 :]
        assert not is_generated(Secret(wrong))
    assert not is_generated(Secret("correct-horse-battery-staple"))
    assert not is_generated(Secret(""))


# Stored hashes


def test_parameters_of_a_stored_hash() -> None:
    """Argon2id v19, m=19456 KiB, t=2, p=1, 16-byte salt, 32-byte tag (S1)."""
    stored = SecretHasher({1: PEPPER}).hash(Secret(SECRET))
    assert re.fullmatch(r"\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", stored.value)
    parameters = argon2.extract_parameters(stored.value)
    assert (parameters.salt_len, parameters.hash_len) == (16, 32)
    assert stored.pepper_version == 1
    assert stored.value != SecretHasher({1: PEPPER}).hash(Secret(SECRET)).value


def test_a_generated_secret_is_stored_as_a_salted_hmac() -> None:
    """Its key is derived from the pepper; the pepper itself keys the input of argon2id (S1)."""
    hasher, secret = SecretHasher({1: PEPPER}), generate_secret("vcs_")
    stored = hasher.hash(secret)
    assert re.fullmatch(r"\$hmac-sha256\$v=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}", stored.value)
    assert (stored.scheme, stored.pepper_version) == (HashScheme.HMAC_SHA256, 1)
    salt, tag = (base64.b64decode(f"{part}==") for part in stored.value.split("$")[3:])
    context = b"identity-clients: HMAC-SHA-256 of generated secrets, version 1"
    key = HKDF(hashes.SHA256(), 32, None, context).derive(PEPPER)
    assert tag == hmac.digest(key, salt + secret.reveal().encode(), "sha256")
    assert len({hasher.hash(secret).value for _ in range(100)}) == 100
    assert hasher.verify(secret, stored)
    assert not hasher.verify(generate_secret("vcs_"), stored)
    assert not SecretHasher({1: b"another pepper, also of 32 bytes"}).verify(secret, stored)
    assert not SecretHasher({2: PEPPER}).verify(secret, stored)


@given(printable)
def test_a_typed_secret_never_gets_the_fast_scheme(value: str) -> None:
    """The fast scheme needs 264 random bits and a valid checksum (S1)."""
    assert scheme_of(Secret(value)) is HashScheme.ARGON2ID


@pytest.mark.parametrize(("prefix", "fast"), [("v", True), ("a" * 40, True), ("a" * 41, False), ("v.", False)])
def test_generated_secrets_are_recognised_with_any_prefix(prefix: str, fast: bool) -> None:
    """Secrets that were generated before the setting changed keep their scheme (S1, S3)."""
    assert is_generated(generate_secret(prefix)) is fast


def test_only_the_secret_itself_verifies() -> None:
    """Nothing is trimmed, folded or cut off (P6)."""
    long = "a" * 99
    stored, long_stored = HASHER.hash(Secret(SECRET)), HASHER.hash(Secret(long + "b"))
    assert HASHER.verify(Secret(SECRET), stored)
    for wrong in (SECRET.upper(), f" {SECRET}", f"{SECRET} ", SECRET[:-1]):
        assert not HASHER.verify(Secret(wrong), stored)
    assert HASHER.verify(Secret(long + "b"), long_stored)
    assert not HASHER.verify(Secret(long + "c"), long_stored)


def test_a_hash_does_not_verify_without_its_pepper() -> None:
    """The pepper of the stored version keys the hash (S2)."""
    stored = HASHER.hash(Secret(SECRET))
    assert not SecretHasher({1: b"another pepper, also of 32 bytes"}).verify(Secret(SECRET), stored)
    assert not SecretHasher({2: PEPPER}).verify(Secret(SECRET), stored)
    with pytest.raises(argon2.exceptions.VerifyMismatchError):
        argon2.PasswordHasher().verify(stored.value, SECRET)


@pytest.mark.parametrize("secret", [Secret(SECRET), generate_secret("vcs_")], ids=["typed", "generated"])
def test_a_former_pepper_verifies_until_the_hash_is_renewed(secret: Secret) -> None:
    """A hash with an older pepper, a lower cost or the former scheme needs renewal (S2, S1)."""
    old = SecretHasher({1: PEPPER})
    new = SecretHasher({2: b"another pepper, also of 32 bytes", 1: PEPPER})
    stored = old.hash(secret)
    assert new.verify(secret, stored)
    assert new.needs_renewal(stored)
    renewed = new.hash(secret)
    assert renewed.pepper_version == 2
    assert new.verify(secret, renewed)
    assert not new.needs_renewal(renewed)
    cheap = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(b"x")
    assert new.needs_renewal(StoredHash(cheap, 2))
    assert new.needs_renewal(StoredHash(renewed.value, 2, is_legacy=True))


def test_the_stored_hash_is_never_accepted_as_the_secret() -> None:
    """Neither the PHC string, which is a valid secret itself, nor its tag, nor the peppered value (S5)."""
    stored = HASHER.hash(Secret(SECRET))
    for value in (check_secret(stored.value).reveal(), stored.value.rsplit("$", 1)[1], stored.value.split("$", 1)[1]):
        assert not HASHER.verify(Secret(value), stored)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        "$argon2id$",
        "$argon2id$v=19$m=19456,t=2,p=1$$",
        SECRET,
        "$hmac-sha256$",
        "$hmac-sha256$v=1$$",
        f"$hmac-sha256$v=2${'A' * 22}${'A' * 43}",
        f"$hmac-sha256$v=1${'A' * 22}${'A' * 42}",
    ],
)
def test_a_damaged_hash_verifies_nothing(value: str) -> None:
    for secret in (Secret(SECRET), generate_secret("vcs_")):
        assert not HASHER.verify(secret, StoredHash(value, 1))


# The type of a secret


@pytest.mark.parametrize(
    "show",
    [
        str,
        repr,
        ascii,
        format,
        "{}".format,
        "{!r}".format,
        "{:>10}".format,
        lambda secret: f"{secret} {secret!r} {secret!s:>20}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - as the logging module formats
        lambda secret: str([secret]) + str({"secret": secret}),
        lambda secret: str(ValueError(secret)),
        lambda secret: string.Template("$secret").substitute(secret=secret),
    ],
)
def test_a_secret_prints_as_three_stars(show: Callable[[Secret], str]) -> None:
    """Every way to print a secret shows `***` (L4)."""
    shown = show(Secret(CANARY))
    assert "***" in shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    "serialise",
    [
        pickle.dumps,
        lambda secret: pickle.dumps({"secret": [secret]}),
        copy.copy,
        copy.deepcopy,
        json.dumps,
        lambda secret: json.dumps({"secret": secret}),
        lambda secret: secret.__getstate__(),
        lambda secret: secret.__reduce_ex__(2),
        lambda secret: vars(secret),
        hash,
        iter,
        len,
        bytes,
    ],
)
def test_a_secret_cannot_be_serialised(serialise: Callable[[Any], object]) -> None:
    """Pickling, copying and JSON raise an error (L4)."""
    with pytest.raises(TypeError) as caught:
        serialise(Secret(CANARY))
    assert CANARY not in "".join(traceback.format_exception(caught.value))


def test_a_logged_secret_is_three_stars(caplog: pytest.LogCaptureFixture) -> None:
    """A secret as an argument of a log message prints as `***` (L4)."""
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("test").debug("sent %s and %r", Secret(CANARY), Secret(CANARY), extra={"s": Secret(CANARY)})
    assert "sent *** and ***" in caplog.text
    assert CANARY not in caplog.text + str(vars(caplog.records[0]))


def test_equal_secrets_are_equal() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert Secret(CANARY) != Secret(CANARY.upper())
    assert Secret(CANARY) != CANARY
