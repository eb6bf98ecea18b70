"""Client authentication by `private_key_jwt` (RFC 7523, S11)."""

import base64
import hashlib
import hmac
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, func, select
from werkzeug.test import TestResponse

from tests.support.concurrency import run_concurrently
from tests.support.endpoint import (
    ENDPOINTS,
    ISSUER,
    Endpoint,
    argon2_computations,
    change_client,
    latest_requests,
    statements,
)
from tests.support.factories import make_account, make_author, make_client
from tests.support.keys import (
    TOKEN_URL,
    PrivateKey,
    add_key,
    assertion_of,
    change_key,
    make_claims,
    private_key,
    public_pem,
    sign,
    with_assertion,
)
from webapp.core.account_settings import set_strict_assertions
from webapp.core.addresses import AllowedNetwork
from webapp.core.authentication import key_authenticator, used_assertions
from webapp.core.checkpoints.signing import CheckpointSigner
from webapp.core.database.engine import make_engine
from webapp.core.database.models import Base, ClientKey, IdentityClient, UsedAssertion
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.retention import purge
from webapp.core.secrets.keys import KEYS_MAX

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
DAY = timedelta(days=1)
OTHER_KEY = private_key(number=2)
Claims = dict[str, Any]


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


@contextmanager
def verifications() -> Iterator[list[str]]:
    """Collect every verification of a signature, of a stored key or a dummy, by its algorithm."""
    seen: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(key_authenticator, name)

        def count(algorithm: str, *values: Any) -> Any:
            seen.append(algorithm)
            return original(algorithm, *values)

        return count

    with pytest.MonkeyPatch.context() as patch:
        for name in ("verify_signature", "verify_dummy"):
            patch.setattr(key_authenticator, name, counted(name))
        yield seen


def client_with_key(engine: Engine, key: PrivateKey | None = None, **columns: Any) -> IdentityClient:
    client = make_client(engine)
    add_key(engine, client, key, **columns)
    return client


def without_request_id(response: TestResponse) -> tuple[object, ...]:
    headers = {name: value for name, value in response.headers.items() if name not in ("Date", "X-Request-ID")}
    return response.status, headers, response.data


# Success


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "Ed25519", "PS256"])
def test_each_algorithm_at_each_endpoint(each_endpoint: Endpoint, algorithm: str) -> None:
    """Authenticate at token, introspection and revocation by ES256, EdDSA (Ed25519) and PS256 (S11)."""
    key = private_key(algorithm)
    client = client_with_key(each_endpoint.engine, key)

    def signed() -> dict[str, str]:
        return with_assertion(sign(make_claims(client.client_id), key, algorithm))

    response = each_endpoint.post(signed())
    assert response.status_code == 200, response.json
    token = {"token": (response.json or {})["access_token"]}
    introspected = each_endpoint.post(signed() | token, "/connect/introspect")
    assert (introspected.json or {})["active"] is True
    assert each_endpoint.post(signed() | token, "/connect/revocation").status_code == 200
    assert (each_endpoint.post(signed() | token, "/connect/introspect").json or {}) == {"active": False}
    assert latest_requests(each_endpoint, client.id) == [("issued", "1", "127.0.0.1")]


@pytest.mark.parametrize(
    ("overrides", "is_long"),
    [
        ({}, False),
        ({"exp": SECONDS + 360}, False),
        ({"exp": SECONDS + 361}, True),
        ({"exp": SECONDS + 3_660}, True),
        ({"exp": SECONDS + 3_660.0}, True),
        ({"exp": SECONDS - 59}, False),
        ({"exp": SECONDS - 59.5}, False),
        ({"iat": SECONDS + 60}, False),
        ({"nbf": SECONDS + 60}, False),
        ({"iat": None}, False),
        ({"iat": 1.5, "nbf": 0}, False),
        ({"aud": TOKEN_URL}, True),
        ({"aud": [ISSUER]}, True),
        ({"aud": [ISSUER, TOKEN_URL]}, True),
        ({"jti": "\u0000 ü"}, False),
        ({"more": {"a": [1]}}, False),
    ],
    ids=str,
)
def test_claims_that_the_standard_profile_accepts(endpoint: Endpoint, overrides: Claims, is_long: bool) -> None:
    """Note at the key if the strict profile would not accept them; up to the limits, with 60 s of clock skew (S11)."""
    client = client_with_key(endpoint.engine)
    assert endpoint.post(with_assertion(assertion_of(client, **overrides))).status_code == 200
    with read_session(endpoint.engine) as session:
        [noted_at] = session.scalars(select(ClientKey.long_assertion_at).where(ClientKey.client_key == client.id))
    assert noted_at == (NOW if is_long else None)


@pytest.mark.parametrize(
    "header", [{}, {"typ": None}, {"typ": "client-authentication+jwt"}, {"kid": "x"}, {"x5t": "y"}]
)
def test_headers_that_are_accepted(endpoint: Endpoint, header: dict[str, Any]) -> None:
    client = client_with_key(endpoint.engine)
    assertion = sign(make_claims(client.client_id), **header)
    assert endpoint.post(with_assertion(assertion, client_id=client.client_id)).status_code == 200


def test_long_assertions_are_noted_once_a_day(endpoint: Endpoint, clock: time_machine.Traveller) -> None:
    """Write nothing of it for the other requests of the day (S11)."""
    client = client_with_key(endpoint.engine)
    for later, written in ((0, 1), (1, 0), (24 * 3600 - 1, 0), (24 * 3600, 1)):
        clock.move_to(NOW + timedelta(seconds=later))
        with statements(endpoint.engine) as seen:
            assert endpoint.post(with_assertion(assertion_of(client, aud=TOKEN_URL))).status_code == 200
        assert len([text for text in seen if text.startswith("UPDATE identity_client_keys")]) == written, later


def test_secret_requests_read_no_keys(each_endpoint: Endpoint) -> None:
    """A token request with a secret costs one statement, whether the client has keys or not."""
    client = client_with_key(each_endpoint.engine)
    each_endpoint.request_token(client)
    with statements(each_endpoint.engine) as seen:
        assert each_endpoint.request_token(client).status_code == 200
    assert len(seen) == 1
    assert "identity_client_keys" not in seen[0]


@pytest.mark.parametrize("wanted", ["1", "5"])
def test_key_id_selects_the_key_that_is_tried_first(endpoint: Endpoint, wanted: str) -> None:
    client = make_client(endpoint.engine)
    keys = {str(number): private_key(number=10 + number) for number in range(1, KEYS_MAX + 1)}
    thumbprints = {label: add_key(endpoint.engine, client, key).thumbprint for label, key in keys.items()}
    with verifications() as seen:
        assertion = sign(make_claims(client.client_id), keys[wanted], kid=thumbprints[wanted])
        assert endpoint.post(with_assertion(assertion)).status_code == 200
    assert seen == ["ES256"]
    assert latest_requests(endpoint, client.id)[0] == ("issued", wanted, "127.0.0.1")


# Refusals

R = AuthenticationFailure
Arrange = Callable[[Endpoint, IdentityClient], None]
Make = Callable[[IdentityClient], str]


def nothing(_endpoint: Endpoint, _client: IdentityClient) -> None:
    return


def claims(**overrides: Any) -> Make:
    return lambda client: assertion_of(client, **overrides)


def arranged(**columns: Any) -> Arrange:
    return lambda endpoint, client: change_client(endpoint.engine, client, **columns)


def key_with(**columns: Any) -> Arrange:
    return lambda endpoint, client: change_key(endpoint.engine, client, **columns)


def use_first(endpoint: Endpoint, client: IdentityClient) -> None:
    assert endpoint.post(with_assertion(assertion_of(client, jti="once"))).status_code == 200


def raw_claims(name: str, value: str) -> Make:
    """Return claims in which one is this JSON text."""
    return lambda client: sign(json.dumps(make_claims(client.client_id, **{name: "VALUE"})).replace('"VALUE"', value))


VERIFIED: dict[str, tuple[AuthenticationFailure, Arrange, Make]] = {
    "unknown": (R.UNKNOWN, lambda e, c: change_client(e.engine, c, client_id=f"moved-{c.client_id}"), claims()),
    "another key": (R.WRONG_KEY, nothing, lambda client: assertion_of(client, OTHER_KEY)),
    "no key": (R.WRONG_KEY, nothing, lambda client: sign(make_claims(client.client_id), OTHER_KEY)),
    "zero signature": (
        R.WRONG_KEY,
        nothing,
        lambda client: f"{assertion_of(client).rpartition('.')[0]}.{'A' * 86}",
    ),
    "changed claims": (
        R.WRONG_KEY,
        nothing,
        lambda client: (
            ".".join([*assertion_of(client).split(".")[:1], *assertion_of(client, jti="x").split(".")[1:2]])
            + f".{assertion_of(client).split('.')[2]}"
        ),
    ),
    "ended key": (R.ENDED_KEY, key_with(ends_at=NOW), claims()),
    "paused key": (R.PAUSED_KEY, key_with(paused_at=NOW), claims()),
    "disabled": (R.DISABLED, arranged(enabled=False), claims()),
    "deleted": (R.DELETED, arranged(deleted_at=NOW), claims()),
    "account off": (R.ACCOUNT_OFF, lambda e, _c: make_account(e.engine, feature_enabled=False), claims()),
    "address not allowed": (
        R.ADDRESS_NOT_ALLOWED,
        arranged(allowed_networks=(AllowedNetwork("198.51.100.0/24", ""),)),
        claims(),
    ),
    "disabled, another key": (R.WRONG_KEY, arranged(enabled=False), lambda c: assertion_of(c, OTHER_KEY)),
    "used before": (R.ASSERTION_USED, use_first, claims(jti="once")),
    "no iss": (R.ASSERTION_MALFORMED, nothing, claims(iss=None)),
    "another iss": (R.ASSERTION_MALFORMED, nothing, claims(iss="another-client")),
    "no jti": (R.ASSERTION_MALFORMED, nothing, claims(jti=None)),
    "empty jti": (R.ASSERTION_MALFORMED, nothing, claims(jti="")),
    "number as jti": (R.ASSERTION_MALFORMED, nothing, claims(jti=7)),
    "no exp": (R.ASSERTION_MALFORMED, nothing, claims(exp=None)),
    "text as exp": (R.ASSERTION_MALFORMED, nothing, claims(exp=str(SECONDS + 60))),
    "true as iat": (R.ASSERTION_MALFORMED, nothing, claims(iat=True)),
    "list as nbf": (R.ASSERTION_MALFORMED, nothing, claims(nbf=[SECONDS])),
    "exp beyond all numbers": (R.ASSERTION_MALFORMED, nothing, raw_claims("exp", "1e999")),
    "negative iat": (R.ASSERTION_MALFORMED, nothing, claims(iat=-1)),
    "no aud": (R.ASSERTION_AUDIENCE, nothing, claims(aud=None)),
    "empty aud": (R.ASSERTION_AUDIENCE, nothing, claims(aud=[])),
    "another aud": (R.ASSERTION_AUDIENCE, nothing, claims(aud="https://another.example")),
    "aud with a slash": (R.ASSERTION_AUDIENCE, nothing, claims(aud=f"{ISSUER}/")),
    "aud of another server too": (R.ASSERTION_AUDIENCE, nothing, claims(aud=[ISSUER, "https://another.example"])),
    "object as aud": (R.ASSERTION_AUDIENCE, nothing, claims(aud=[{"a": 1}])),
    "expired": (R.ASSERTION_EXPIRED, nothing, claims(exp=SECONDS - 60)),
    "exp too far ahead": (R.ASSERTION_LONG, nothing, claims(exp=SECONDS + 3_661)),
    "nbf ahead": (R.ASSERTION_EARLY, nothing, claims(nbf=SECONDS + 61)),
    "iat ahead": (R.ASSERTION_EARLY, nothing, claims(iat=SECONDS + 61)),
}
"""Refusals after the signature was verified: the recorded reason, how to arrange it, and the assertion."""


def header_with(**header: Any) -> Make:
    return lambda client: sign(make_claims(client.client_id), **header)


def unsigned(client: IdentityClient) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().strip("=")
    return f"{header}.{assertion_of(client).split('.')[1]}."


def with_public_key_as_secret(client: IdentityClient) -> str:
    """Sign by HS256 with the bytes of the public key, which a verifier that trusts `alg` would accept."""
    parts = [b'{"alg":"HS256"}', json.dumps(make_claims(client.client_id)).encode()]
    message = ".".join(base64.urlsafe_b64encode(part).decode().strip("=") for part in parts)
    tag = hmac.digest(public_pem(private_key()).encode(), message.encode(), hashlib.sha256)
    return f"{message}.{base64.urlsafe_b64encode(tag).decode().strip('=')}"


UNREADABLE: dict[str, Make] = {
    "NaN as iat": raw_claims("iat", "NaN"),
    "Infinity as exp": raw_claims("exp", "Infinity"),
    "-Infinity as nbf": raw_claims("nbf", "-Infinity"),
    "critical header": header_with(crit=["exp"]),
    "type of an access token": header_with(typ="at+jwt"),
    "number as type": header_with(typ=7),
    "no sub": claims(sub=None),
    "list as sub": claims(sub=["a-client"]),
    "short sub": claims(sub="short"),
    "nested too deep": lambda _c: sign("[" * 4_000),
    "claims are a list": lambda _c: sign("[]"),
    "two parts": lambda c: assertion_of(c).rpartition(".")[0],
    "padding": lambda c: assertion_of(c) + "=",
    "not ASCII": lambda c: assertion_of(c) + "é",
    "garbage": lambda _c: "x.y.z",
    "a secret": lambda _c: "vcs_gdgjzdVZFujsflC2BrvyNVjxlH-dpe74MT_72irgPMbt2zZQta",
}
"""Assertions that name no client, and are refused like a header that cannot be decoded."""
WRONG_ALGORITHM: dict[str, Make] = {
    "none": unsigned,
    "HS256 with the public key": with_public_key_as_secret,
    "RS256": lambda c: sign(make_claims(c.client_id), private_key("PS256"), "RS256"),
    "PS384": lambda c: sign(make_claims(c.client_id), private_key("PS256"), "PS384"),
}
EVERY_REFUSAL = [
    *((cause, arrange, make) for cause, (_, arrange, make) in VERIFIED.items()),
    *((cause, nothing, make) for cause, make in (UNREADABLE | WRONG_ALGORITHM).items()),
]


@pytest.mark.parametrize(("cause", "arrange", "make"), EVERY_REFUSAL, ids=[cause for cause, *_ in EVERY_REFUSAL])
def test_refused_assertions_are_indistinguishable(endpoint: Endpoint, cause: str, arrange: Arrange, make: Make) -> None:
    """Every refusal has the same status, headers and body as one without credentials (P7, S11)."""
    client = client_with_key(endpoint.engine)
    arrange(endpoint, client)
    response = endpoint.post(with_assertion(make(client)))
    assert response.status_code == 401, cause
    assert without_request_id(response) == without_request_id(endpoint.post([("grant_type", "client_credentials")]))


@pytest.mark.parametrize("cause", VERIFIED)
def test_cost_of_a_refusal_depends_on_the_assertion_only(each_endpoint: Endpoint, cause: str) -> None:
    """Refuse with one statement, as many verifications as a client has keys at most, and no argon2id (P8)."""
    reason, arrange, make = VERIFIED[cause]
    client = client_with_key(each_endpoint.engine)
    arrange(each_endpoint, client)
    assertion = make(client)
    with verifications() as verified, argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        assert each_endpoint.post(with_assertion(assertion)).status_code == 401
    assert verified == ["ES256"] * KEYS_MAX
    assert hashed == []
    assert len(seen) == 1
    verified_label = None if reason in (R.WRONG_KEY, R.UNKNOWN) else "1"
    assert (reason, verified_label, "127.0.0.1") in latest_requests(each_endpoint, client.id)


@pytest.mark.parametrize("stored", [[], ["ES256"], ["EdDSA", "PS256"], ["ES256"] * 3, ["PS256"] * KEYS_MAX], ids=str)
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA", "PS256"])
def test_cost_of_a_refusal_does_not_depend_on_the_stored_keys(
    endpoint: Endpoint, stored: list[str], algorithm: str
) -> None:
    """Verify by the algorithm of the header only, whatever keys the client has (P8)."""
    client = make_client(endpoint.engine)
    for number, kind in enumerate(stored):
        add_key(endpoint.engine, client, private_key(kind, number=20 + number))
    assertion = sign(make_claims(client.client_id), private_key(algorithm, number=9), algorithm)
    with verifications() as seen, statements(endpoint.engine) as run:
        assert endpoint.post(with_assertion(assertion)).status_code == 401
    assert seen == [algorithm] * KEYS_MAX
    assert len(run) == 1


@pytest.mark.parametrize("cause", UNREADABLE | WRONG_ALGORITHM)
def test_unusable_assertions_cost_nothing(endpoint: Endpoint, cause: str) -> None:
    """Refuse without a statement or a verification an assertion that no stored key could verify (P6, P8)."""
    client = client_with_key(endpoint.engine)
    with verifications() as verified, statements(endpoint.engine) as seen:
        make = (UNREADABLE | WRONG_ALGORITHM)[cause]
        assert endpoint.post(with_assertion(make(client))).status_code == 401
    assert (verified, seen) == ([], [])
    expected = [(R.ASSERTION_ALGORITHM, None, "127.0.0.1")] if cause in WRONG_ALGORITHM else []
    assert latest_requests(endpoint, client.id) == expected


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ({"client_id": "another-client"}, 401),
        ({"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}, 401),
        ({"client_assertion_type": ""}, 401),
        ({"client_secret": "a-secret"}, 400),
    ],
)
def test_parameters_beside_an_assertion(endpoint: Endpoint, parameters: dict[str, str], status: int) -> None:
    """The type is required, and `client_id` must equal that of the assertion (RFC 7521 section 4.2, P4)."""
    client = client_with_key(endpoint.engine)
    form = with_assertion(assertion_of(client)) | parameters
    assert endpoint.post(form).status_code == status


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_assertion_in_the_query_string_is_refused(endpoint: Endpoint, path: str) -> None:
    """Refuse it even though the body is right (P2)."""
    client = client_with_key(endpoint.engine)
    form = with_assertion(assertion_of(client)) | {"token": "x"}
    assert endpoint.post(form, f"{path}?client_assertion=x").status_code == 400


def test_key_of_another_client_does_not_authenticate(endpoint: Endpoint) -> None:
    mine, theirs = client_with_key(endpoint.engine), client_with_key(endpoint.engine, OTHER_KEY)
    assert endpoint.post(with_assertion(assertion_of(theirs))).status_code == 401
    assert endpoint.post(with_assertion(assertion_of(mine))).status_code == 200


@pytest.mark.parametrize("later", [-1, 0, 1])
def test_a_key_authenticates_until_its_end(endpoint: Endpoint, later: int) -> None:
    """At the end date itself it is refused (S8)."""
    client = client_with_key(endpoint.engine, ends_at=NOW - timedelta(seconds=later))
    assert endpoint.post(with_assertion(assertion_of(client))).status_code == (200 if later < 0 else 401)


@pytest.mark.parametrize(
    ("overrides", "accepted"),
    [
        ({}, True),
        ({"exp": SECONDS + 360}, True),
        ({"exp": SECONDS + 361}, False),
        ({"aud": TOKEN_URL}, False),
        ({"aud": [ISSUER]}, False),
        ({"aud": [ISSUER, TOKEN_URL]}, False),
    ],
    ids=str,
)
def test_the_strict_profile(each_endpoint: Endpoint, overrides: Claims, accepted: bool) -> None:
    """A setting of the account: the issuer as one string, and at most 5 minutes; at the same cost (S11, P8)."""
    client = client_with_key(each_endpoint.engine)
    with unit_of_work(each_endpoint.engine) as session:
        set_strict_assertions(session, author=make_author(), enabled=True)
    form = with_assertion(assertion_of(client, **overrides))
    with verifications() as verified, statements(each_endpoint.engine) as seen:
        assert each_endpoint.post(form).status_code == (200 if accepted else 401)
    if accepted:
        assert verified == ["ES256"]
        return
    assert (verified, len(seen)) == (["ES256"] * KEYS_MAX, 1)
    assert latest_requests(each_endpoint, client.id) == [(R.ASSERTION_NOT_STRICT, "1", "127.0.0.1")]
    assert each_endpoint.request_token(client).status_code == 200, "secrets are not concerned"
    with unit_of_work(each_endpoint.engine) as session:
        set_strict_assertions(session, author=make_author(), enabled=False)
    assert each_endpoint.post(form).status_code == 200, "a refused assertion is not used up"


# Each assertion once


def test_an_assertion_is_used_once_across_hosts(engine: Engine) -> None:
    """The same assertion on two hosts gives one token, also at the same moment (S11)."""
    url = engine.url.render_as_string(hide_password=False)
    engines = [make_engine(url) for _ in range(2)]
    hosts = [Endpoint(each, FAILURES_PER_CLIENT_AND_ADDRESS=1_000) for each in engines]
    client = client_with_key(engine)
    form = with_assertion(assertion_of(client))
    assert [host.post(form).status_code for host in (*hosts, *hosts)] == [200, 401, 401, 401]
    for _ in range(5):
        form = with_assertion(assertion_of(client))
        calls: list[Callable[[], Any]] = [
            partial(host.app.test_client().post, "/connect/token", data=form) for host in hosts * 2
        ]
        assert sorted(response.status_code for response in run_concurrently(calls)) == [200, 401, 401, 401]
    for each in engines:
        each.dispose()


def test_an_assertion_is_used_once_over_all_endpoints(endpoint: Endpoint) -> None:
    client = client_with_key(endpoint.engine)
    form = with_assertion(assertion_of(client)) | {"token": "x"}
    assert [endpoint.post(form, path).status_code for path in ENDPOINTS] == [200, 401, 401]


def test_jti_belongs_to_its_client(endpoint: Endpoint) -> None:
    """Two clients may use the same `jti`; one client's is used up whichever of its keys signed."""
    first, second = client_with_key(endpoint.engine), client_with_key(endpoint.engine)
    add_key(endpoint.engine, first, OTHER_KEY)
    assert endpoint.post(with_assertion(assertion_of(first, jti="a"))).status_code == 200
    assert endpoint.post(with_assertion(assertion_of(second, jti="a"))).status_code == 200
    assert endpoint.post(with_assertion(assertion_of(first, OTHER_KEY, jti="a"))).status_code == 401


def test_a_refused_assertion_is_not_used_up(endpoint: Endpoint) -> None:
    """Only signed assertions write rows; an enabled client may send a refused one again."""
    client = client_with_key(endpoint.engine)
    form = with_assertion(assertion_of(client))
    change_client(endpoint.engine, client, enabled=False)
    assert endpoint.post(form).status_code == 401
    change_client(endpoint.engine, client, enabled=True)
    assert endpoint.post(form).status_code == 200


def test_used_assertions_are_remembered_as_long_as_they_live(
    each_endpoint: Endpoint, clock: time_machine.Traveller
) -> None:
    """Until `exp` and the clock skew have passed; then it is refused as expired, and the row is deleted (S11)."""
    engine = each_endpoint.engine
    client = client_with_key(engine)
    used = with_assertion(assertion_of(client, exp=SECONDS + 30))
    assert each_endpoint.post(used).status_code == 200
    for later, rows, reason in ((89, 1, R.ASSERTION_USED), (90, 0, R.ASSERTION_EXPIRED)):
        clock.move_to(NOW + timedelta(seconds=later))
        each_endpoint.services.key_authenticator._used.purge(NOW + timedelta(seconds=later))
        assert stored_assertions(engine) == rows
        assert each_endpoint.post(used).status_code == 401
        assert latest_requests(each_endpoint, client.id)[0][0] == reason


def test_expired_assertions_are_deleted_by_new_ones(
    each_endpoint: Endpoint, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table stays small without the purge command, and the command deletes them too."""
    engine = each_endpoint.engine
    client = client_with_key(engine)
    for _ in range(3):
        each_endpoint.post(with_assertion(assertion_of(client)))
    clock.move_to(NOW + timedelta(minutes=5))
    monkeypatch.setattr(used_assertions, "PURGE_AFTER", 1)
    assert each_endpoint.post(with_assertion(assertion_of(client))).status_code == 200
    assert stored_assertions(engine) == 1
    clock.move_to(NOW + timedelta(minutes=10))
    now = NOW + timedelta(minutes=10)
    signer = CheckpointSigner(each_endpoint.services.keys, ISSUER, now)
    purge(engine, actor="x", event_days=400, token_request_days=90, request_log_days=30, signer=signer, now=now)
    assert stored_assertions(engine) == 0


def stored_assertions(engine: Engine) -> int:
    with read_session(engine) as session:
        return session.scalar(select(func.count()).select_from(UsedAssertion)) or 0


# Rate limits and records


def test_failures_are_limited_but_never_block_a_right_assertion(endpoint: Endpoint) -> None:
    """The 11th wrong assertion is 429; the right key works from the same address all the time (D2)."""
    client = client_with_key(endpoint.engine)
    statuses = [endpoint.post(with_assertion(assertion_of(client, OTHER_KEY))).status_code for _ in range(11)]
    assert statuses == [401] * 10 + [429]
    assert endpoint.post(with_assertion(assertion_of(client))).status_code == 200
    assert endpoint.request_token(client, "a-wrong-secret").status_code == 429
    outcomes = Counter(outcome for outcome, *_ in latest_requests(endpoint, client.id))
    assert outcomes == {R.WRONG_KEY: 10, "throttled": 2, "issued": 1}


def test_the_last_use_of_a_key_is_stored(each_endpoint: Endpoint) -> None:
    """Requests are recorded with the key that authenticated, and the key with its last use (L2)."""
    client = client_with_key(each_endpoint.engine)
    add_key(each_endpoint.engine, client, OTHER_KEY)
    assert each_endpoint.post(with_assertion(assertion_of(client, OTHER_KEY))).status_code == 200
    assert each_endpoint.post(with_assertion(assertion_of(client, OTHER_KEY), scope="nothing")).status_code == 400
    recorded = {row[:2] for row in latest_requests(each_endpoint, client.id)}
    assert recorded == {("scope not allowed", "2"), ("issued", "2")}
    with read_session(each_endpoint.engine) as session:
        rows = session.execute(
            select(ClientKey.label, ClientKey.last_used_at, ClientKey.last_used_address).order_by(ClientKey.label)
        ).all()
    assert [tuple(row) for row in rows] == [("1", None, None), ("2", NOW, "127.0.0.1")]


def test_an_assertion_over_plain_http_is_recorded(endpoint: Endpoint) -> None:
    """Refuse it before anything else is done with it (C6)."""
    client = client_with_key(endpoint.engine)
    with statements(endpoint.engine) as seen:
        response = endpoint.post(with_assertion(assertion_of(client)), base_url="http://localhost")
    assert (response.status_code, seen) == (400, [])
    assert latest_requests(endpoint, client.id) == [("plain http", None, "127.0.0.1")]


def test_no_part_of_an_assertion_is_stored(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    """Neither the assertion nor its `jti` reaches the log or the database (L4)."""
    caplog.set_level("DEBUG")
    client = client_with_key(endpoint.engine)
    assertion = assertion_of(client, jti="a-canary-as-jti")
    for _ in range(2):
        endpoint.post(with_assertion(assertion))
    endpoint.services.recorder.write()
    with endpoint.engine.connect() as connection:
        tables = [table for table in Base.metadata.sorted_tables if table.name != "identity_client_search_texts"]
        dump = "\n".join(str(row) for table in tables for row in connection.execute(select(table)))
    for canary in ("a-canary-as-jti", assertion.rpartition(".")[2], assertion.split(".")[1]):
        assert canary not in dump
        assert canary not in caplog.text


def test_secret_and_key_work_beside_each_other(endpoint: Endpoint) -> None:
    client = client_with_key(endpoint.engine)
    assert endpoint.request_token(client).status_code == 200
    assert endpoint.post(with_assertion(assertion_of(client))).status_code == 200
    assert {label for _, label, _ in latest_requests(endpoint, client.id)} == {"1", "A"}
