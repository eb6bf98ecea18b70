"""Client authentication: refusals and their cost, hashing, cached secrets (P6-P8, S1, S2, S5, S8, S9)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select
from werkzeug.test import TestResponse

from tests.support.endpoint import (
    Endpoint,
    add_secret,
    argon2_computations,
    change_client,
    change_secret,
    statements,
    store_as_legacy_hash,
    store_weaker_hash,
)
from tests.support.factories import ACCOUNT, HASHER, PEPPER, SECRET, make_account, make_client, make_rate_limits
from tests.support.refusals import (
    GENERATED_REFUSALS,
    GENERATED_SECRET,
    NOW,
    OTHER_SECRET,
    REFUSALS,
    WRONG_GENERATED_SECRET,
)
from webapp.core.authentication import legacy_hashes
from webapp.core.authentication.authenticator import AuthenticationFailed, Authenticator
from webapp.core.authentication.verified_secrets import VerifiedSecrets
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.models import ClientSecret, IdentityClient
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.database.unit_of_work import read_session
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import SecretHasher, StoredHash

PARAMETERS = "$argon2id$v=19$m=19456,t=2,p=1"
HOUR = timedelta(hours=1)
CAUSES = [
    pytest.param(generated, cause, id=f"{'generated' if generated else 'typed'}: {cause}")
    for generated, causes in ((False, REFUSALS), (True, GENERATED_REFUSALS))
    for cause in causes
]


@contextmanager
def frozen(moment: datetime = NOW) -> Iterator[None]:
    with time_machine.travel(moment, tick=False):
        yield


def response_without_request_id(response: TestResponse) -> tuple[object, ...]:
    headers = {name: value for name, value in response.headers.items() if name not in ("Date", "X-Request-ID")}
    return response.status, headers, response.data


def stored_secret(engine: Engine, client: IdentityClient) -> ClientSecret:
    with read_session(engine) as session:
        return session.scalars(select(ClientSecret).where(ClientSecret.client_key == client.id)).one()


@pytest.mark.parametrize(("generated", "cause"), CAUSES)
@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_authentication_failures_are_indistinguishable(
    endpoint: Endpoint, generated: bool, cause: str, basic: bool
) -> None:
    """Return the same status, body and headers for every failed authentication (P7)."""
    _, arrange, secret = (GENERATED_REFUSALS if generated else REFUSALS)[cause]
    client = make_client(endpoint.engine, secret=GENERATED_SECRET if generated else SECRET)
    arrange(endpoint, client)
    with frozen():
        response = endpoint.request_token(client, secret, basic=basic)
    assert response_without_request_id(response) == response_without_request_id(
        endpoint.post([("grant_type", "client_credentials")])
    )
    assert response_without_request_id(response) == (
        "401 UNAUTHORIZED",
        {
            "Content-Type": "application/json",
            "Content-Length": "27",
            "WWW-Authenticate": 'Basic realm="identity", charset="UTF-8"',
            "Cache-Control": "no-store",
            "Pragma": "no-cache",
            "X-Content-Type-Options": "nosniff",
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        },
        b'{"error": "invalid_client"}',
    )


@pytest.mark.parametrize(("generated", "cause"), CAUSES)
def test_cost_of_a_refusal_depends_on_the_sent_secret_only(
    each_endpoint: Endpoint, generated: bool, cause: str
) -> None:
    """Refuse with HMACs or two argon2id computations and one statement, also after an earlier success (P8)."""
    reason, arrange, secret = (GENERATED_REFUSALS if generated else REFUSALS)[cause]
    right = GENERATED_SECRET if generated else SECRET
    client = make_client(each_endpoint.engine, secret=right)
    refresh_legacy_hash_check(each_endpoint)
    with frozen():
        assert each_endpoint.request_token(client, right).status_code == 200
        arrange(each_endpoint, client)
        with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
            assert each_endpoint.request_token(client, secret).status_code == 401
        assert hashed == ([] if generated else [PARAMETERS] * 2)
        assert len(seen) == 1
        with pytest.raises(AuthenticationFailed) as refused:
            each_endpoint.services.authenticator.authenticate(
                client.client_id, Secret(secret), address="192.0.2.1", now=NOW
            )
    assert refused.value.reason is reason
    assert refused.value.client_key == (None if cause == "unknown" else client.id)


@pytest.mark.parametrize("stored", [SECRET, GENERATED_SECRET, None], ids=["typed", "generated", "unknown"])
@pytest.mark.parametrize(
    ("sent", "computations"),
    [
        ("a-wrong-secret", 2),
        (WRONG_GENERATED_SECRET, 0),
        (f"{WRONG_GENERATED_SECRET[:-1]}_", 2),  # a wrong checksum
        (f"{WRONG_GENERATED_SECRET} ", 2),
        (WRONG_GENERATED_SECRET[10:], 2),
        ("a" * 50, 2),
        ("another.prefix" + WRONG_GENERATED_SECRET, 2),
        ("another_prefix_ewzvheApU_nR4YmxVViC0SN2lR3oe6pIDG1uvEs5CkhA2JLA3J", 0),
    ],
)
def test_cost_of_a_refusal_does_not_depend_on_stored_secrets(
    endpoint: Endpoint, stored: str | None, sent: str, computations: int
) -> None:
    """Do the same work for clients with a typed secret, with a generated one, and for unknown IDs (P8)."""
    client = make_client(endpoint.engine, secret=stored) if stored else "nobodys-id"
    refresh_legacy_hash_check(endpoint)
    with argon2_computations() as hashed, statements(endpoint.engine) as seen:
        assert endpoint.request_token(client, sent).status_code == 401
    assert (len(hashed), len(seen)) == (computations, 1)


@pytest.mark.parametrize("labels", ["AB", "BA"])
def test_a_client_may_have_a_typed_and_a_generated_secret(each_endpoint: Endpoint, labels: str) -> None:
    first, second = (SECRET, GENERATED_SECRET) if labels == "AB" else (GENERATED_SECRET, SECRET)
    client = make_client(each_endpoint.engine, secret=first)
    add_secret(each_endpoint.engine, client, second)
    refresh_legacy_hash_check(each_endpoint)
    with argon2_computations() as hashed:
        assert each_endpoint.request_token(client, GENERATED_SECRET).status_code == 200
        assert not hashed
        assert each_endpoint.request_token(client, SECRET).status_code == 200
        assert len(hashed) == 1


def refresh_legacy_hash_check(endpoint: Endpoint) -> None:
    """Make the endpoint query whether legacy hashes exist, which it does once a minute."""
    with pytest.raises(AuthenticationFailed):
        endpoint.services.authenticator.authenticate(
            "nobodys-id", Secret(WRONG_GENERATED_SECRET), address="203.0.113.99", now=NOW
        )


def test_refusal_records_the_matching_secret(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    add_secret(endpoint.engine, client, OTHER_SECRET, "B", paused_at=NOW)
    with pytest.raises(AuthenticationFailed) as refused:
        endpoint.services.authenticator.authenticate(client.client_id, Secret(OTHER_SECRET), address=None, now=NOW)
    assert (refused.value.reason, refused.value.secret_label) == (AuthenticationFailure.PAUSED_SECRET, "B")


HOSTILE_TEXT = st.one_of(
    st.text(min_size=1, max_size=110),
    st.text("abc\0\r\n\té�\x7f\x1f ", min_size=6, max_size=100),
    st.text(st.characters(max_codepoint=126, min_codepoint=32), min_size=1, max_size=5),
    st.text(st.characters(max_codepoint=126, min_codepoint=32), min_size=101, max_size=110),
)


def is_malformed(value: str) -> bool:
    return not (6 <= len(value) <= 100 and all(" " <= character <= "~" for character in value))


@settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much],
)
@given(value=HOSTILE_TEXT.filter(is_malformed), basic=st.booleans(), is_id=st.booleans())
@example(value="nul\0nul", basic=True, is_id=True)
@example(value="line\r\nline", basic=False, is_id=True)
@example(value="caféteria", basic=True, is_id=False)
@example(value="�" * 6, basic=False, is_id=False)
@example(value="12345", basic=False, is_id=True)
@example(value="x" * 101, basic=True, is_id=True)
@example(value="\x7f" * 6, basic=True, is_id=True)
def test_malformed_values_are_refused_without_query_or_hash(
    each_endpoint: Endpoint, value: str, basic: bool, is_id: bool
) -> None:
    """Reject malformed credentials before any database query or hash (P6)."""
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate cannot be sent
        return
    with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        response = each_endpoint.request_token(
            value if is_id else "northwind-api", SECRET if is_id else value, basic=basic
        )
    assert (response.status_code, response.data) == (401, b'{"error": "invalid_client"}')
    assert not hashed
    assert not seen


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=100))
@example(value="'; DROP TABLE identity_clients; --")
@example(value='%_\\"<script>')
def test_printable_values_are_compared_on_both_engines(each_endpoint: Endpoint, value: str) -> None:
    """Compare any printable value without an error, on SQLite and PostgreSQL (P6)."""
    assert each_endpoint.request_token(value, value).status_code == 401


@pytest.mark.parametrize("length", [6, 100])
def test_values_at_the_limits_authenticate(each_endpoint: Endpoint, length: int) -> None:
    """Accept credentials of the longest allowed length (P6)."""
    client = make_client(each_endpoint.engine, client_id="i" * length, secret="s" * length)
    assert each_endpoint.request_token(client, "s" * length).status_code == 200


def test_secret_comparison_is_exact(each_endpoint: Endpoint) -> None:
    """Compare secrets byte for byte, without trimming or case folding (P6)."""
    make_client(each_endpoint.engine, client_id="northwind-api")
    for client_id, secret in (
        ("Northwind-api", SECRET),
        ("NORTHWIND-API", SECRET),
        ("northwind-api ", SECRET),
        (" northwind-api", SECRET),
        ("northwind_api", SECRET),
        ("northwind-ap%", SECRET),
        ("northwind-api", f"{SECRET} "),
        ("northwind-api", f" {SECRET}"),
        ("northwind-api", SECRET.title()),
        ("northwind-api", SECRET[:-1]),
    ):
        assert each_endpoint.request_token(client_id, secret).status_code == 401, (client_id, secret)
    assert each_endpoint.request_token("northwind-api").status_code == 200


@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_stored_hash_is_not_accepted_as_secret(endpoint: Endpoint, basic: bool) -> None:
    """Refuse a request that sends the stored hash as the secret (S5)."""
    client = make_client(endpoint.engine)
    stored = stored_secret(endpoint.engine, client).secret_hash
    peppered = HASHER._peppered(Secret(SECRET), 1)
    tag = stored.rpartition("$")[2]
    generated = make_client(endpoint.engine, secret=GENERATED_SECRET)
    stored_hmac = str(stored_secret(endpoint.engine, generated).secret_hash)
    for value in (str(stored), tag, peppered.hex(), peppered.decode("latin-1")):
        assert endpoint.request_token(client, value, basic=basic).status_code == 401
    for value in (stored_hmac, stored_hmac.rpartition("$")[2]):
        assert endpoint.request_token(generated, value, basic=basic).status_code == 401


def test_hash_with_old_parameters_is_renewed_once(each_endpoint: Endpoint) -> None:
    """Verify a hash of a lower cost, and replace it once by a hash with the current parameters (S1, S2)."""
    client = make_client(each_endpoint.engine)
    store_weaker_hash(each_endpoint.engine, client)
    assert each_endpoint.request_token(client, "a-wrong-secret").status_code == 401
    assert not stored_secret(each_endpoint.engine, client).secret_hash.startswith(PARAMETERS)
    assert each_endpoint.request_token(client).status_code == 200
    renewed = stored_secret(each_endpoint.engine, client).secret_hash
    assert renewed.startswith(PARAMETERS)
    with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        assert each_endpoint.request_token(client).status_code == 200
    assert not hashed
    assert len(seen) == 1
    assert stored_secret(each_endpoint.engine, client).secret_hash == renewed


@pytest.mark.parametrize("secret", [SECRET, GENERATED_SECRET], ids=["typed", "generated"])
def test_legacy_argon2id_hash_is_renewed_at_next_success(each_endpoint: Endpoint, secret: str) -> None:
    """Replace a legacy argon2id hash at the next token request, by the form of the secret (S1)."""
    client = make_client(each_endpoint.engine, secret=secret)
    store_as_legacy_hash(each_endpoint.engine, client, secret)
    with argon2_computations() as hashed:
        assert each_endpoint.request_token(client, secret).status_code == 200
    row = stored_secret(each_endpoint.engine, client)
    assert not row.legacy_scheme
    if secret == SECRET:
        assert row.secret_hash.startswith(PARAMETERS)
        assert hashed == [PARAMETERS] * 2  # the comparison and the new hash
    else:
        assert row.secret_hash.startswith("$hmac-sha256$")
        assert hashed == [PARAMETERS]
    with argon2_computations() as hashed:
        assert each_endpoint.request_token(client, secret).status_code == 200
        assert Endpoint(each_endpoint.engine).request_token(client, secret).status_code == 200
    assert len(hashed) == (secret == SECRET)  # the second process meets the typed one for the first time


@pytest.mark.parametrize("cause", GENERATED_REFUSALS)
def test_cost_of_generated_secrets_with_legacy_hashes(each_endpoint: Endpoint, cause: str) -> None:
    """Compute two argon2id hashes for clients with and without a legacy hash and for unknown IDs (P8)."""
    engine, (reason, arrange, secret) = each_endpoint.engine, GENERATED_REFUSALS[cause]
    legacy, renewed = (make_client(engine, secret=GENERATED_SECRET) for _ in range(2))
    store_as_legacy_hash(engine, make_client(engine), SECRET)
    store_as_legacy_hash(engine, legacy, GENERATED_SECRET)
    with frozen():
        refresh_legacy_hash_check(each_endpoint)
        for client in (legacy, renewed):
            arrange(each_endpoint, client)
            with argon2_computations() as hashed, statements(engine) as seen:
                assert each_endpoint.request_token(client, secret).status_code == 401
            assert (hashed, len(seen)) == ([PARAMETERS] * 2, 1)
            with pytest.raises(AuthenticationFailed) as refused:
                each_endpoint.services.authenticator.authenticate(
                    client.client_id, Secret(secret), address="192.0.2.1", now=NOW
                )
            assert refused.value.reason is reason


LEGACY_IS_GONE: dict[str, Callable[[Engine, IdentityClient], None]] = {
    "renewed": lambda engine, client: change_secret(engine, client, legacy_scheme=False),
    "ended": lambda engine, client: change_secret(engine, client, ends_at=datetime.now(UTC)),
}


@pytest.mark.parametrize("how", LEGACY_IS_GONE)
def test_cost_of_generated_secrets_without_legacy_hashes(
    each_endpoint: Endpoint, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ignore the legacy hash of an ended secret, so that an operator can complete the migration (P8)."""
    monkeypatch.setattr(legacy_hashes, "CHECK_EVERY_SECONDS", 0)
    client = make_client(each_endpoint.engine)
    store_as_legacy_hash(each_endpoint.engine, client, SECRET, ends_at=datetime.now(UTC) + HOUR)
    for expected in (2, 0):
        with argon2_computations() as hashed:
            assert each_endpoint.request_token(client, WRONG_GENERATED_SECRET).status_code == 401
        assert len(hashed) == expected
        LEGACY_IS_GONE[how](each_endpoint.engine, client)


@pytest.mark.parametrize("secret", [SECRET, GENERATED_SECRET], ids=["typed", "generated"])
def test_previous_pepper_verifies_until_renewal(each_endpoint: Endpoint, secret: str) -> None:
    """Verify with pepper version 1 beside version 2; after renewal version 1 can be removed (S2)."""
    engine, client = each_endpoint.engine, make_client(each_endpoint.engine, secret=secret)
    newest = b"the newest pepper of 32 bytes or more"
    both = Authenticator(engine, FastReads(engine), SecretHasher({2: newest, 1: PEPPER}), make_rate_limits())
    assert both.authenticate(client.client_id, Secret(secret), address=None, now=NOW).key == client.id
    assert stored_secret(engine, client).pepper_version == 2
    only_newest = Authenticator(engine, FastReads(engine), SecretHasher({2: newest}), make_rate_limits())
    assert only_newest.authenticate(client.client_id, Secret(secret), address=None, now=NOW).key == client.id


@pytest.mark.parametrize("secret", [SECRET, GENERATED_SECRET], ids=["typed", "generated"])
def test_missing_pepper_is_refused_at_the_same_cost(endpoint: Endpoint, secret: str) -> None:
    """Refuse a secret whose pepper version is missing, at the cost of any other refusal (S2)."""
    client = make_client(endpoint.engine, secret=secret)
    without = Authenticator(
        endpoint.engine,
        FastReads(endpoint.engine),
        SecretHasher({2: b"the newest pepper of 32 bytes or more"}),
        make_rate_limits(),
    )
    with argon2_computations() as hashed, pytest.raises(AuthenticationFailed):
        without.authenticate(client.client_id, Secret(secret), address=None, now=NOW)
    assert hashed == ([PARAMETERS] * 2 if secret == SECRET else [])


@pytest.mark.parametrize(
    ("after_end", "status"), [(timedelta(seconds=-1), 200), (timedelta(0), 401), (timedelta(seconds=1), 401)]
)
def test_secret_end_is_exclusive(each_endpoint: Endpoint, after_end: timedelta, status: int) -> None:
    """Refuse a secret from the exact moment of its end on, checked at each request (S8)."""
    client = make_client(each_endpoint.engine)
    change_secret(each_endpoint.engine, client, ends_at=NOW)
    with frozen(NOW - HOUR):
        assert each_endpoint.request_token(client).status_code == 200
    with frozen(NOW + after_end):
        assert each_endpoint.request_token(client).status_code == status


def test_resumed_secret_keeps_its_end(endpoint: Endpoint) -> None:
    """Accept a resumed secret until its end date, and not afterwards (S8)."""
    client = make_client(endpoint.engine)
    change_secret(endpoint.engine, client, ends_at=NOW + HOUR, paused_at=NOW)
    with frozen():
        assert endpoint.request_token(client).status_code == 401
        change_secret(endpoint.engine, client, paused_at=None)
        assert endpoint.request_token(client).status_code == 200
    with frozen(NOW + 2 * HOUR):
        assert endpoint.request_token(client).status_code == 401


def test_both_active_secrets_authenticate(endpoint: Endpoint) -> None:
    """Accept both active secrets, with any number of ended ones between them (S7, S8)."""
    client = make_client(endpoint.engine)
    for label in "BCDEF":
        add_secret(endpoint.engine, client, f"an-ended-secret-{label}", label, ends_at=NOW - HOUR)
    add_secret(endpoint.engine, client, OTHER_SECRET, "G", ends_at=NOW + HOUR)
    with frozen():
        assert endpoint.request_token(client, SECRET).status_code == 200
        assert endpoint.request_token(client, OTHER_SECRET).status_code == 200


def test_same_value_in_two_secrets(endpoint: Endpoint) -> None:
    """Accept a value that two secrets share while one of them is active (S8)."""
    client = make_client(endpoint.engine)
    add_secret(endpoint.engine, client, SECRET, "B", paused_at=NOW)
    assert endpoint.request_token(client).status_code == 200


def test_verified_secret_is_cached(each_endpoint: Endpoint) -> None:
    """Verify a cached secret without a hash computation (S9)."""
    client = make_client(each_endpoint.engine)
    with argon2_computations() as hashed:
        assert each_endpoint.request_token(client).status_code == 200
        assert len(hashed) == 1
        assert each_endpoint.request_token(client).status_code == 200
        assert each_endpoint.request_token(client, basic=True).status_code == 200
    assert len(hashed) == 1


def test_generated_secrets_are_not_cached(endpoint: Endpoint) -> None:
    """Do not cache generated secrets, whose comparison costs as little as a look-up (S9)."""
    client = make_client(endpoint.engine, secret=GENERATED_SECRET)
    assert endpoint.request_token(client, GENERATED_SECRET).status_code == 200
    assert len(endpoint.services.authenticator._verified) == 0
    store_as_legacy_hash(endpoint.engine, client, GENERATED_SECRET)
    assert endpoint.request_token(client, GENERATED_SECRET).status_code == 200
    assert len(endpoint.services.authenticator._verified) == 0


@pytest.mark.parametrize("cause", [cause for cause, (_, _, secret) in REFUSALS.items() if secret == SECRET])
def test_cached_secret_skips_no_other_check(endpoint: Endpoint, cause: str) -> None:
    """Check the state of client, account and secret also when the secret is cached (S9)."""
    client = make_client(endpoint.engine)
    with frozen():
        assert endpoint.request_token(client).status_code == 200
        REFUSALS[cause][1](endpoint, client)
        assert endpoint.request_token(client).status_code == 401


def test_changed_secret_invalidates_the_cache(endpoint: Endpoint) -> None:
    """Refuse the old value of a changed secret although it was cached (S9)."""
    client = make_client(endpoint.engine)
    assert endpoint.request_token(client).status_code == 200
    changed = HASHER.hash(Secret(OTHER_SECRET))
    change_secret(endpoint.engine, client, secret_hash=changed.value)
    assert endpoint.request_token(client).status_code == 401
    assert endpoint.request_token(client, OTHER_SECRET).status_code == 200


def test_wrong_secrets_are_not_cached(endpoint: Endpoint) -> None:
    """Do not cache failed verifications (S9)."""
    client = make_client(endpoint.engine)
    for _ in range(2):
        with argon2_computations() as hashed:
            assert endpoint.request_token(client, "a-wrong-secret").status_code == 401
        assert len(hashed) == 2


def test_cache_evicts_the_least_recently_used() -> None:
    """Limit the size of the cache, and evict the least recently used entry (S9)."""
    checks = VerifiedSecrets(most=2)
    one, two, three = (StoredHash(f"$argon2id${number}", 1) for number in range(3))
    secret = Secret(SECRET)
    checks.add(secret, one)
    checks.add(secret, two)
    assert checks.contains(secret, one)
    checks.add(secret, three)
    assert len(checks) == 2
    assert checks.contains(secret, one)
    assert not checks.contains(secret, two)
    assert not checks.contains(Secret(OTHER_SECRET), one)


@pytest.mark.parametrize(("after", "held"), [(12 * HOUR - timedelta(seconds=1), True), (12 * HOUR, False)])
def test_cache_entry_expires_after_twelve_hours(after: timedelta, held: bool) -> None:
    """Expire an entry twelve hours after verification, also when it is in use (S9)."""
    checks, secret, stored = VerifiedSecrets(), Secret(SECRET), StoredHash("$argon2id$", 1)
    with frozen():
        checks.add(secret, stored)
    with frozen(NOW + 6 * HOUR):
        assert checks.contains(secret, stored)
    with frozen(NOW + after):
        assert checks.contains(secret, stored) is held


@pytest.mark.parametrize("step", [timedelta(hours=-1), timedelta(hours=13)])
def test_cache_ignores_steps_of_the_clock(monkeypatch: pytest.MonkeyPatch, step: timedelta) -> None:
    """Neither keep an entry longer nor drop it when the wall clock is set (S9)."""
    monotonic = [1000.0]
    monkeypatch.setattr("webapp.core.authentication.verified_secrets._clock", lambda: monotonic[0])
    checks, secret, stored = VerifiedSecrets(), Secret(SECRET), StoredHash("$argon2id$", 1)
    with frozen():
        checks.add(secret, stored)
    with frozen(NOW + step):
        assert checks.contains(secret, stored)
        monotonic[0] += 12 * 60 * 60
        assert not checks.contains(secret, stored)


def test_cache_holds_no_plain_text() -> None:
    """Keep only keyed digests in the cache, with a key per process (S9)."""
    checks, other = VerifiedSecrets(), VerifiedSecrets()
    for memory in (checks, other):
        memory.add(Secret(SECRET), StoredHash("$argon2id$", 1))
    assert SECRET not in repr(vars(checks))
    assert checks._expiries.keys().isdisjoint(other._expiries)  # each process has a key of its own


CHANGES: dict[str, Callable[[Engine, IdentityClient], None]] = {
    "disabled": lambda engine, client: change_client(engine, client, enabled=False),
    "feature off": lambda engine, _: make_account(engine, ACCOUNT, feature_enabled=False),
    "secret ended": lambda engine, client: change_secret(engine, client, ends_at=NOW),
    "secret changed": lambda engine, client: change_secret(
        engine, client, secret_hash=HASHER.hash(Secret(OTHER_SECRET)).value
    ),
    "client ID edited": lambda engine, client: change_client(engine, client, client_id="northwind-new"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_change_applies_to_next_request_of_every_process(endpoint: Endpoint, change: str) -> None:
    """Apply changes of client and account to the next request of every process (A7)."""
    client = make_client(endpoint.engine)
    processes = (endpoint, Endpoint(endpoint.engine))
    with frozen():
        assert [process.request_token(client).status_code for process in processes] == [200, 200]
        CHANGES[change](endpoint.engine, client)
        assert [process.request_token(client).status_code for process in processes] == [401, 401]
