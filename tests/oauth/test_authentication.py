"""Who comes in, and what a refusal tells and costs (P6-P8, S1, S2, S5, S8, S9)."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

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
    hash_cheaply,
    statements,
)
from tests.support.factories import ACCOUNT, HASHER, PEPPER, SECRET, make_account, make_client, make_throttles
from tests.support.refusals import NOW, OTHER_SECRET, REFUSALS
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


@contextmanager
def frozen(moment: datetime = NOW) -> Iterator[None]:
    with time_machine.travel(moment, tick=False):
        yield


def seen_by_the_caller(response: TestResponse) -> tuple[object, ...]:
    headers = {name: value for name, value in response.headers.items() if name != "Date"}
    return response.status, headers, response.data


def stored_secret(engine: Engine, client: IdentityClient) -> ClientSecret:
    with read_session(engine) as session:
        return session.scalars(select(ClientSecret).where(ClientSecret.client_key == client.id)).one()


@pytest.mark.parametrize("cause", REFUSALS)
@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_p7_every_failed_authentication_looks_the_same(endpoint: Endpoint, cause: str, basic: bool) -> None:
    _, arrange, secret = REFUSALS[cause]
    client = make_client(endpoint.engine)
    arrange(endpoint, client)
    with frozen():
        response = endpoint.ask(client, secret, basic=basic)
    assert seen_by_the_caller(response) == seen_by_the_caller(endpoint.post([("grant_type", "client_credentials")]))
    assert seen_by_the_caller(response) == (
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


@pytest.mark.parametrize("cause", REFUSALS)
def test_p8_every_refusal_costs_two_hashes_and_one_statement(each_endpoint: Endpoint, cause: str) -> None:
    """P8: also where the right secret was remembered before the client or its secret was stopped."""
    reason, arrange, secret = REFUSALS[cause]
    client = make_client(each_endpoint.engine)
    with frozen():
        assert each_endpoint.ask(client).status_code == 200
        arrange(each_endpoint, client)
        with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
            assert each_endpoint.ask(client, secret).status_code == 401
        assert hashed == [PARAMETERS] * 2
        assert len(seen) == 1
        with pytest.raises(AuthenticationFailed) as refused:
            each_endpoint.services.authenticator.authenticate(
                client.client_id, Secret(secret), address="192.0.2.1", now=NOW
            )
    assert refused.value.reason is reason
    assert refused.value.client_key == (None if cause == "unknown" else client.id)


def test_the_secret_that_matched_is_named_in_a_refusal(endpoint: Endpoint) -> None:
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
def test_p6_malformed_values_are_refused_without_query_or_hash(
    each_endpoint: Endpoint, value: str, basic: bool, is_id: bool
) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:  # a lone surrogate cannot be sent
        return
    with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        response = each_endpoint.ask(value if is_id else "northwind-api", SECRET if is_id else value, basic=basic)
    assert (response.status_code, response.data) == (401, b'{"error": "invalid_client"}')
    assert not hashed
    assert not seen


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=6, max_size=100))
@example(value="'; DROP TABLE identity_clients; --")
@example(value='%_\\"<script>')
def test_p6_any_printable_value_is_judged_on_both_engines(each_endpoint: Endpoint, value: str) -> None:
    assert each_endpoint.ask(value, value).status_code == 401


@pytest.mark.parametrize("length", [6, 100])
def test_p6_values_at_the_limits_come_in(each_endpoint: Endpoint, length: int) -> None:
    client = make_client(each_endpoint.engine, client_id="i" * length, secret="s" * length)
    assert each_endpoint.ask(client, "s" * length).status_code == 200


def test_p6_comparison_is_exact(each_endpoint: Endpoint) -> None:
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
        assert each_endpoint.ask(client_id, secret).status_code == 401, (client_id, secret)
    assert each_endpoint.ask("northwind-api").status_code == 200


@pytest.mark.parametrize("basic", [False, True], ids=["body", "basic"])
def test_s5_the_stored_hash_is_never_the_secret(endpoint: Endpoint, basic: bool) -> None:
    client = make_client(endpoint.engine)
    stored = stored_secret(endpoint.engine, client).secret_hash
    peppered = HASHER._peppered(Secret(SECRET), 1)
    tag = stored.rpartition("$")[2]
    for value in (str(stored), tag, peppered.hex(), peppered.decode("latin-1")):
        assert endpoint.ask(client, value, basic=basic).status_code == 401


def test_s1_s2_an_older_hash_is_renewed_at_its_next_success(each_endpoint: Endpoint) -> None:
    """S1: a hash made at a lower cost verifies, and is replaced by one at today's; only once."""
    client = make_client(each_endpoint.engine)
    hash_cheaply(each_endpoint.engine, client)
    assert each_endpoint.ask(client, "a-wrong-secret").status_code == 401
    assert not stored_secret(each_endpoint.engine, client).secret_hash.startswith(PARAMETERS)
    assert each_endpoint.ask(client).status_code == 200
    renewed = stored_secret(each_endpoint.engine, client).secret_hash
    assert renewed.startswith(PARAMETERS)
    with argon2_computations() as hashed, statements(each_endpoint.engine) as seen:
        assert each_endpoint.ask(client).status_code == 200
    assert not hashed
    assert len(seen) == 1
    assert stored_secret(each_endpoint.engine, client).secret_hash == renewed


def test_s2_a_former_pepper_verifies_until_the_hash_is_renew_hash(each_endpoint: Endpoint) -> None:
    """S2: version 1 beside version 2; afterwards version 1 may go."""
    engine, client = each_endpoint.engine, make_client(each_endpoint.engine)
    newest = b"the newest pepper of 32 bytes or more"
    both = Authenticator(engine, FastReads(engine), SecretHasher({2: newest, 1: PEPPER}), make_throttles())
    assert both.authenticate(client.client_id, Secret(SECRET), address=None, now=NOW).key == client.id
    assert stored_secret(engine, client).pepper_version == 2
    only_newest = Authenticator(engine, FastReads(engine), SecretHasher({2: newest}), make_throttles())
    assert only_newest.authenticate(client.client_id, Secret(SECRET), address=None, now=NOW).key == client.id


def test_s2_a_hash_under_a_lost_pepper_lets_nobody_in_at_the_same_price(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    without = Authenticator(
        endpoint.engine,
        FastReads(endpoint.engine),
        SecretHasher({2: b"the newest pepper of 32 bytes or more"}),
        make_throttles(),
    )
    with argon2_computations() as hashed, pytest.raises(AuthenticationFailed):
        without.authenticate(client.client_id, Secret(SECRET), address=None, now=NOW)
    assert hashed == [PARAMETERS] * 2


@pytest.mark.parametrize(
    ("after_end", "status"), [(timedelta(seconds=-1), 200), (timedelta(0), 401), (timedelta(seconds=1), 401)]
)
def test_s8_the_end_is_exclusive_and_judged_at_each_request(
    each_endpoint: Endpoint, after_end: timedelta, status: int
) -> None:
    client = make_client(each_endpoint.engine)
    change_secret(each_endpoint.engine, client, ends_at=NOW)
    with frozen(NOW - HOUR):
        assert each_endpoint.ask(client).status_code == 200
    with frozen(NOW + after_end):
        assert each_endpoint.ask(client).status_code == status


def test_s8_a_paused_secret_resumes_but_not_past_its_end(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    change_secret(endpoint.engine, client, ends_at=NOW + HOUR, paused_at=NOW)
    with frozen():
        assert endpoint.ask(client).status_code == 401
        change_secret(endpoint.engine, client, paused_at=None)
        assert endpoint.ask(client).status_code == 200
    with frozen(NOW + 2 * HOUR):
        assert endpoint.ask(client).status_code == 401


def test_s8_both_live_secrets_come_in_whatever_ended_between_them(endpoint: Endpoint) -> None:
    """S7 allows two that are not ended; many ended ones in between must not hide either."""
    client = make_client(endpoint.engine)
    for label in "BCDEF":
        add_secret(endpoint.engine, client, f"an-ended-secret-{label}", label, ends_at=NOW - HOUR)
    add_secret(endpoint.engine, client, OTHER_SECRET, "G", ends_at=NOW + HOUR)
    with frozen():
        assert endpoint.ask(client, SECRET).status_code == 200
        assert endpoint.ask(client, OTHER_SECRET).status_code == 200


def test_s8_one_value_in_two_secrets_counts_while_one_of_them_is_live(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    add_secret(endpoint.engine, client, SECRET, "B", paused_at=NOW)
    assert endpoint.ask(client).status_code == 200


def test_s9_a_success_is_remembered_and_costs_no_hash(each_endpoint: Endpoint) -> None:
    client = make_client(each_endpoint.engine)
    with argon2_computations() as hashed:
        assert each_endpoint.ask(client).status_code == 200
        assert len(hashed) == 1
        assert each_endpoint.ask(client).status_code == 200
        assert each_endpoint.ask(client, basic=True).status_code == 200
    assert len(hashed) == 1


@pytest.mark.parametrize("cause", [cause for cause, (_, _, secret) in REFUSALS.items() if secret == SECRET])
def test_s9_a_remembered_check_decides_nothing_else(endpoint: Endpoint, cause: str) -> None:
    client = make_client(endpoint.engine)
    with frozen():
        assert endpoint.ask(client).status_code == 200
        REFUSALS[cause][1](endpoint, client)
        assert endpoint.ask(client).status_code == 401


def test_s9_a_changed_secret_forgets_the_old_value(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    assert endpoint.ask(client).status_code == 200
    changed = HASHER.hash(Secret(OTHER_SECRET))
    change_secret(endpoint.engine, client, secret_hash=changed.value)
    assert endpoint.ask(client).status_code == 401
    assert endpoint.ask(client, OTHER_SECRET).status_code == 200


def test_s9_wrong_secrets_are_not_remembered(endpoint: Endpoint) -> None:
    client = make_client(endpoint.engine)
    for _ in range(2):
        with argon2_computations() as hashed:
            assert endpoint.ask(client, "a-wrong-secret").status_code == 401
        assert len(hashed) == 2


def test_s9_the_memory_is_bounded_and_forgets_the_least_recently_used() -> None:
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
def test_s9_the_memory_lasts_twelve_hours_even_when_it_is_used(after: timedelta, held: bool) -> None:
    checks, secret, stored = VerifiedSecrets(), Secret(SECRET), StoredHash("$argon2id$", 1)
    with frozen():
        checks.add(secret, stored)
    with frozen(NOW + 6 * HOUR):
        assert checks.contains(secret, stored)
    with frozen(NOW + after):
        assert checks.contains(secret, stored) is held


def test_s9_the_memory_holds_no_plain_text() -> None:
    checks, other = VerifiedSecrets(), VerifiedSecrets()
    for memory in (checks, other):
        memory.add(Secret(SECRET), StoredHash("$argon2id$", 1))
    assert SECRET not in repr(vars(checks))
    assert checks._ends.keys().isdisjoint(other._ends)  # each process has a key of its own


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
def test_a7_a_change_counts_at_the_next_request_of_every_process(endpoint: Endpoint, change: str) -> None:
    client = make_client(endpoint.engine)
    processes = (endpoint, Endpoint(endpoint.engine))
    with frozen():
        assert [process.ask(client).status_code for process in processes] == [200, 200]
        CHANGES[change](endpoint.engine, client)
        assert [process.ask(client).status_code for process in processes] == [401, 401]
