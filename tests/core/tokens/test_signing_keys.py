"""Signing keys: created once, stored encrypted, published (T7, T9)."""

import base64
import hashlib
import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Engine, func, select, text, update

from tests.support.endpoint import Endpoint
from tests.support.factories import make_client
from webapp.core.database.engine import make_engine
from webapp.core.database.models import StoredSigningKey, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import SigningKeyUnusable
from webapp.core.tokens.signing_keys import SigningKeys

ENCRYPTION_KEY = b"k" * 32
JWKS = "/.well-known/jwks.json"


def rows(engine: Engine) -> list[StoredSigningKey]:
    with read_session(engine) as session:
        return list(session.scalars(select(StoredSigningKey).order_by(StoredSigningKey.kid)))


def make_key(engine: Engine) -> None:
    """Create one more key, as if there were none."""
    with unit_of_work(engine) as session:
        session.execute(update(StoredSigningKey).values(withdrawn=True))
    SigningKeys(engine, [ENCRYPTION_KEY]).signing_key(utc_now())
    with unit_of_work(engine) as session:
        session.execute(update(StoredSigningKey).values(withdrawn=False))


def test_the_key_set_contains_public_keys_only(each_endpoint: Endpoint) -> None:
    """The key set holds public halves only (T7)."""
    make_key(each_endpoint.engine)
    make_key(each_endpoint.engine)
    response = each_endpoint.client.get(JWKS)
    assert response.status_code == 200
    assert response.mimetype == "application/json"
    assert response.headers["Cache-Control"] == "public, max-age=300"
    assert response.json is not None
    assert response.json.keys() == {"keys"}
    keys = response.json["keys"]
    assert len(keys) == 2
    for key in keys:
        assert key.keys() == {"kty", "crv", "x", "y", "use", "alg", "kid"}
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
        members = {name: key[name] for name in ("crv", "kty", "x", "y")}
        digest = hashlib.sha256(json.dumps(members, separators=(",", ":"), sort_keys=True).encode()).digest()
        assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode(), "RFC 7638 thumbprint"
        assert len(key["x"]) == len(key["y"]) == 43


def test_the_first_key_is_published_before_it_signs(endpoint: Endpoint) -> None:
    """An API that starts before the first token must not cache an empty key set (T7)."""
    (before,) = (endpoint.client.get(JWKS).json or {})["keys"]
    token = (endpoint.request_token(make_client(endpoint.engine)).json or {})["access_token"]
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert header["kid"] == before["kid"]


def test_a_withdrawn_key_is_not_published(endpoint: Endpoint) -> None:
    """A withdrawn key is published no more (T7)."""
    make_key(endpoint.engine)
    make_key(endpoint.engine)
    gone, stays = rows(endpoint.engine)
    with unit_of_work(endpoint.engine) as session:
        session.execute(update(StoredSigningKey).where(StoredSigningKey.kid == gone.kid).values(withdrawn=True))
    assert [key["kid"] for key in (endpoint.client.get(JWKS).json or {})["keys"]] == [stays.kid]


def test_the_private_key_is_stored_encrypted_and_bound_to_its_id(engine: Engine) -> None:
    """The private half is stored encrypted under its own id (T9)."""
    key = SigningKeys(engine, [ENCRYPTION_KEY]).signing_key(utc_now())
    (row,) = rows(engine)
    nonce, encrypted = row.private_key_encrypted[:12], row.private_key_encrypted[12:]
    private = AESGCM(ENCRYPTION_KEY).decrypt(nonce, encrypted, row.kid.encode())
    with pytest.raises(InvalidTag):
        AESGCM(ENCRYPTION_KEY).decrypt(nonce, encrypted, b"")
    assert private not in row.private_key_encrypted
    assert "d" not in row.public_jwk
    assert "d" not in key.public_jwk


def test_a_dump_of_the_database_contains_no_private_key(sqlite_engine: Engine) -> None:
    """A dump of the database holds no private key (T9)."""
    key = SigningKeys(sqlite_engine, [ENCRYPTION_KEY]).signing_key(utc_now())
    number = key.jwk.as_dict(private=True)["d"]
    assert isinstance(number, str)
    with sqlite_engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        dump: bytes = driver.serialize()
    assert key.kid.encode() in dump
    raw = base64.urlsafe_b64decode(number + "=")
    for form in (number.encode(), raw, raw.hex().encode(), raw.hex().upper().encode(), b"PRIVATE KEY"):
        assert form not in dump


def flipped(encrypted: bytes, bit: int) -> bytes:
    changed = bytearray(encrypted)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def swap_rows(engine: Engine) -> None:
    make_key(engine)
    first, second = rows(engine)
    with unit_of_work(engine) as session:
        for row, other in ((first, second), (second, first)):
            session.execute(
                update(StoredSigningKey)
                .where(StoredSigningKey.kid == row.kid)
                .values(private_key_encrypted=other.private_key_encrypted)
            )


def write(**columns: Callable[[StoredSigningKey], Any]) -> Callable[[Engine], None]:
    def change(engine: Engine) -> None:
        (row,) = rows(engine)
        values = {column: value(row) for column, value in columns.items()}
        with unit_of_work(engine) as session:
            session.execute(update(StoredSigningKey).values(values))

    return change


TAMPERING: dict[str, Callable[[Engine], None]] = {
    "swapped rows": swap_rows,
    "first bit": write(private_key_encrypted=lambda row: flipped(row.private_key_encrypted, 0)),
    "a bit in the middle": write(private_key_encrypted=lambda row: flipped(row.private_key_encrypted, 400)),
    "last bit": write(
        private_key_encrypted=lambda row: flipped(row.private_key_encrypted, len(row.private_key_encrypted) * 8 - 1)
    ),
    "cut short": write(private_key_encrypted=lambda row: row.private_key_encrypted[:-1]),
    "empty": write(private_key_encrypted=lambda _: b""),
    "another id": write(kid=lambda row: row.kid[::-1]),
    "another public half": write(public_jwk=lambda row: row.public_jwk | {"x": row.public_jwk["y"]}),
}


@pytest.mark.parametrize("tampering", TAMPERING)
def test_a_changed_row_fails_closed(endpoint: Endpoint, tampering: str) -> None:
    """A row that was tampered with fails closed (T9)."""
    client = make_client(endpoint.engine)
    make_key(endpoint.engine)
    TAMPERING[tampering](endpoint.engine)
    with pytest.raises(SigningKeyUnusable, match="Signing key"):
        SigningKeys(endpoint.engine, [ENCRYPTION_KEY]).signing_key(utc_now())
    for response in (endpoint.request_token(client), endpoint.client.get(JWKS)):
        assert (response.status_code, response.json) == (500, {"error": "server_error"})


def test_another_encryption_key_fails_closed_and_creates_no_key(engine: Engine) -> None:
    """Another encryption key fails closed and makes no new key (T9)."""
    SigningKeys(engine, [ENCRYPTION_KEY]).signing_key(utc_now())
    with pytest.raises(SigningKeyUnusable):
        SigningKeys(engine, [b"l" * 32]).signing_key(utc_now())
    assert len(rows(engine)) == 1


def test_the_encryption_key_is_changed_step_by_step(engine: Engine) -> None:
    """Configured everywhere, then used first, then the former one is removed once no row needs it (T9)."""
    old, new = ENCRYPTION_KEY, b"n" * 32
    kid = SigningKeys(engine, [old]).signing_key(utc_now()).kid
    for ring in (SigningKeys(engine, [old, new]), SigningKeys(engine, [new, old])):
        assert ring.signing_key(utc_now()).kid == kid
    successor = SigningKeys(engine, [new, old]).rotate(utc_now(), "tests").kid
    for one_key in (old, new):
        with pytest.raises(SigningKeyUnusable):
            SigningKeys(engine, [one_key]).signing_key(utc_now())
    SigningKeys(engine, [new]).withdraw(kid, utc_now(), "tests")
    assert SigningKeys(engine, [new]).signing_key(utc_now()).kid == successor


def test_concurrent_starts_create_one_key(engine: Engine) -> None:
    url = engine.url.render_as_string(hide_password=False)
    rings = [SigningKeys(make_engine(url), [ENCRYPTION_KEY]) for _ in range(8)]
    barrier = threading.Barrier(len(rings))
    kids: list[str] = []

    def sign_first(ring: SigningKeys) -> None:
        barrier.wait()
        kids.append(ring.signing_key(utc_now()).kid)

    threads = [threading.Thread(target=sign_first, args=(ring,)) for ring in rings]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ring in rings:
        ring._engine.dispose()
    assert len(kids) == len(rings)
    assert len(set(kids)) == 1
    with engine.connect() as connection:
        assert connection.scalar(select(func.count()).select_from(StoredSigningKey)) == 1


def test_another_process_signs_with_a_new_key_within_seconds(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published keys and verification are read from the database each time."""
    clock = [0.0]
    monkeypatch.setattr("webapp.core.tokens.signing_keys.time.monotonic", lambda: clock[0])
    ring = SigningKeys(engine, [ENCRYPTION_KEY])
    first = ring.signing_key(utc_now())
    make_key(engine)
    assert ring.signing_key(utc_now()).kid == first.kid
    clock[0] += 1
    second = ring.signing_key(utc_now())
    assert second.kid != first.kid
    assert {key.kid for key in ring.published(utc_now())} == {first.kid, second.kid}
    with engine.connect() as connection:
        connection.execute(text("UPDATE identity_client_signing_keys SET withdrawn = true"))
        connection.commit()
    assert ring.for_header(first.header) is None
    assert ring.published(utc_now()) == []
