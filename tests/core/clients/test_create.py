"""Creating a client: stored values, validation, quotas and repeated requests."""

import uuid

import pytest
import time_machine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select, text

from tests.support.clients import create, messages, stored
from tests.support.factories import (
    ACCOUNT,
    HASHER,
    OTHER_ACCOUNT,
    SECRET,
    make_account,
    make_author,
    make_client,
    make_rate_limits,
    make_values,
)
from webapp.core.clients.client_ids import is_client_id_taken
from webapp.core.clients.service import AlreadyCreated
from webapp.core.database.models import AuditEvent, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import InvalidFields, RateLimited
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import StoredHash

TAKEN = {"client_id": "This client ID is already in use. Choose another."}


@pytest.fixture(autouse=True)
def _accounts(engine: Engine) -> None:
    make_account(engine)
    make_account(engine, OTHER_ACCOUNT)


def count(engine: Engine, table: type) -> int:
    with read_session(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


@time_machine.travel("2026-03-01 12:00:00+00:00", tick=False)
def test_stored_values_of_a_new_client(engine: Engine) -> None:
    made = create(
        engine,
        values=make_values(
            client_id="ACME-Claims",
            name=" Zoe\u0308 Ltd ",
            description="one\r\ntwo",
            token_duration="15",
            roles=frozenset({"UploadBatches", "MerchantUser"}),
        ),
    )
    client = stored(engine, made.id)
    assert client.client_id == "ACME-Claims"
    assert (client.name, client.description) == ("Zoë Ltd", "one\ntwo")
    assert client.token_duration_minutes == 15
    assert client.roles == {"UploadBatches", "MerchantUser"}
    assert client.enabled
    assert client.version == 1
    assert client.created_at == client.updated_at
    assert client.created_at.isoformat() == "2026-03-01T12:00:00+00:00"
    assert client.created_by == client.updated_by == "admin@northwind.example"
    [secret] = client.secrets
    assert (secret.label, secret.ends_at, secret.paused_at, secret.last_used_at) == ("A", None, None, None)
    assert HASHER.verify(Secret(SECRET), StoredHash(secret.secret_hash, secret.pepper_version))


def test_any_secret_of_6_to_100_printable_characters_is_accepted_unchanged(engine: Engine) -> None:
    """Weak secrets are accepted too, and nothing is trimmed (S4)."""
    for secret in ("aaaaaa", "a" * 100, " spaces are kept ", "p%C3+q&="):
        [kept] = create(engine, secret=secret).secrets
        hashed = StoredHash(kept.secret_hash, kept.pepper_version)
        assert HASHER.verify(Secret(secret), hashed)
        assert not HASHER.verify(Secret(secret.strip() + "x"), hashed)


def test_a_setting_turns_a_weak_secret_into_an_error(engine: Engine) -> None:
    """The message names the rule; without the setting the same secret is accepted (S4)."""
    values = make_values(client_id="acme-claims-staging", name="acme claims staging")
    with pytest.raises(InvalidFields) as caught:
        create(engine, values=values, secret="ACME claims staging", refuse_weak=True)
    assert messages(caught.value) == {
        "client_secret": "This secret is easy to guess. It equals the client ID or the name."
        " Choose another, or press Generate new."
    }
    create(engine, values=values, secret="ACME claims staging")


def test_all_errors_are_reported_at_once_in_the_order_of_the_form(engine: Engine) -> None:
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-claims")
    values = make_values(
        client_id="acme-claims", name="ab", description="a" * 1001, token_duration="90", roles=frozenset()
    )
    with pytest.raises(InvalidFields) as caught:
        create(engine, values=values, secret="acme1")
    assert [error.field for error in caught.value.errors] == [
        "client_id",
        "client_secret",
        "name",
        "description",
        "token_duration",
        "roles",
    ]
    assert count(engine, IdentityClient) == 1


@pytest.mark.parametrize("holder", [ACCOUNT, OTHER_ACCOUNT])
@pytest.mark.parametrize("deleted", [False, True])
def test_an_id_is_unique_over_all_accounts_and_for_ever(engine: Engine, holder: str, deleted: bool) -> None:
    """Own or foreign, in any letter case, deleted or not, the answer is the same (I6, T3, A6)."""
    make_client(engine, account_id=holder, client_id="acme-claims", deleted_at=utc_now() if deleted else None)
    for client_id in ("acme-claims", "ACME-CLAIMS", "Acme-Claims"):
        with pytest.raises(InvalidFields) as caught:
            create(engine, values=make_values(client_id=client_id))
        assert messages(caught.value) == TAKEN
    assert count(engine, IdentityClient) == 1


def test_is_taken_accepts_any_text(engine: Engine) -> None:
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-claims")
    with read_session(engine) as session:
        for client_id, taken in (
            ("acme-claims", True),
            ("ACME-CLAIMS", True),
            ("acme-claims-2", False),
            ("", False),
            ("acme\x00claims", False),
            ("acme\ud800claims", False),
            ("a" * 5000, False),
        ):
            assert is_client_id_taken(session, client_id=client_id, account_id=ACCOUNT, key=None) is taken


def test_is_taken_does_not_reveal_ids_of_other_accounts(engine: Engine) -> None:
    """Passing the key of another account's client as the edited one changes no answer (A3)."""
    other = make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-claims")
    own = make_client(engine, client_id="own-claims")
    with read_session(engine) as session:
        assert is_client_id_taken(session, client_id="acme-claims", account_id=ACCOUNT, key=other.id)
        assert not is_client_id_taken(session, client_id="Own-Claims", account_id=ACCOUNT, key=own.id)
        assert is_client_id_taken(session, client_id="Own-Claims", account_id=ACCOUNT, key=other.id)


def test_a_repeated_create_creates_nothing(engine: Engine) -> None:
    values = make_values()
    first = create(engine, values=values, creation_key="one-time")
    with pytest.raises(AlreadyCreated) as caught:
        create(engine, values=values, creation_key="one-time")
    # The session is closed, and the error's client is still readable.
    assert (caught.value.client.id, caught.value.client.client_id) == (first.id, first.client_id)
    assert [secret.label for secret in caught.value.client.secrets] == ["A"]
    assert count(engine, IdentityClient) == count(engine, AuditEvent) == 1
    with pytest.raises(AlreadyCreated):
        create(engine, values=make_values(), creation_key="one-time")


def test_a_one_time_key_counts_in_its_own_account_only(engine: Engine) -> None:
    create(engine, creation_key="one-time")
    create(engine, creation_key="one-time", author=make_author(OTHER_ACCOUNT))
    assert count(engine, IdentityClient) == 2


def test_without_a_one_time_key_every_create_counts(engine: Engine) -> None:
    for creation_key in (None, None, "", ""):
        create(engine, creation_key=creation_key)
    assert count(engine, IdentityClient) == 4


def test_a_forged_one_time_key_is_a_key_like_any_other(engine: Engine) -> None:
    for creation_key in ("a" * 5000, "\x00", "\ud800", "é"):
        create(engine, creation_key=creation_key)
        with pytest.raises(AlreadyCreated):
            create(engine, creation_key=creation_key)


def test_beyond_the_quota_a_taken_id_is_not_reported(engine: Engine) -> None:
    """20 answers per actor and hour, for own and foreign IDs; a free ID is never blocked (A6)."""
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-claims")
    rate_limits = make_rate_limits(taken_id_answers_per_hour=20)
    taken = make_values(client_id="acme-claims")
    with time_machine.travel("2026-03-01 12:00:00+00:00", tick=False) as clock:
        for _ in range(10):
            with pytest.raises(InvalidFields):
                create(engine, values=taken, rate_limits=rate_limits)
            assert rate_limits.may_answer_taken_id(make_author().actor_id)  # the check when the field loses focus
        with pytest.raises(RateLimited) as caught:
            create(engine, values=taken, rate_limits=rate_limits)
        assert caught.value.retry_after_seconds == 3600
        assert not rate_limits.may_answer_taken_id(make_author().actor_id)
        create(engine, rate_limits=rate_limits)
        with pytest.raises(InvalidFields):
            create(engine, values=taken, rate_limits=rate_limits, author=make_author(actor_id="another person"))
        clock.shift(caught.value.retry_after_seconds)
        with pytest.raises(InvalidFields):
            create(engine, values=taken, rate_limits=rate_limits)


def test_beyond_the_quota_other_errors_reveal_nothing_of_the_id(engine: Engine) -> None:
    """Otherwise a form that can never be saved would answer without end (A6)."""
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="acme-claims")
    rate_limits = make_rate_limits(taken_id_answers_per_hour=1)
    answers = []
    for client_id in ("acme-claims", "acme-claims", "acme-claims-2"):
        with pytest.raises(InvalidFields) as caught:
            create(engine, values=make_values(client_id=client_id, name="ab"), rate_limits=rate_limits)
        answers.append(messages(caught.value))
    assert answers[0].keys() == {"client_id", "name"}
    assert answers[1] == answers[2]
    assert answers[1].keys() == {"name"}


def test_the_event_names_the_copied_client(engine: Engine) -> None:
    source = make_client(engine, client_id="acme-claims")
    foreign = make_client(engine, account_id=OTHER_ACCOUNT, client_id="other-claims")
    found = []
    for copied_from in (source.id, foreign.id, uuid.uuid4()):
        copy = create(engine, copied_from=copied_from)
        with read_session(engine) as session:
            event = session.scalars(select(AuditEvent).where(AuditEvent.client_key == copy.id)).one()
            found.append(event.changes["copied_from"])
    assert found == [[None, "acme-claims"], [None, None], [None, None]]


@pytest.mark.parametrize("table", ["identity_client_events", "identity_client_claimed_ids", "identity_client_secrets"])
def test_a_create_that_fails_half_way_leaves_nothing(engine: Engine, table: str) -> None:
    """No client without its event, its secret and its claimed ID (L1)."""
    with engine.begin() as connection:
        connection.execute(text(f"ALTER TABLE {table} RENAME TO elsewhere"))
    with pytest.raises(Exception, match=table):
        create(engine)
    assert count(engine, IdentityClient) == 0


hostile = st.text(st.characters(exclude_categories=()), max_size=110) | st.text(
    "aé\u0301\x00\ud800\u202e \r\n💳ŉΐ", max_size=110
)
FIELDS = ("client_id", "name", "description", "token_duration", "role", "secret", "creation_key")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(posted=st.dictionaries(st.sampled_from(FIELDS), hostile, min_size=1, max_size=2))
def test_any_values_are_stored_or_refused_with_field_errors(engine: Engine, posted: dict[str, str]) -> None:
    """Hostile Unicode is stored or ends in a field error, never in a database error (I1)."""
    secret, creation_key = posted.pop("secret", SECRET), posted.pop("creation_key", None)
    roles = frozenset({posted.pop("role", "MerchantUser")})
    try:
        made = create(engine, values=make_values(roles=roles, **posted), secret=secret, creation_key=creation_key)
    except AlreadyCreated:
        assert creation_key
    except InvalidFields as error:
        "".join(messages(error).values()).encode()
    else:
        kept = stored(engine, made.id)
        assert (kept.client_id, kept.name, kept.description) == (made.client_id, made.name, made.description)
