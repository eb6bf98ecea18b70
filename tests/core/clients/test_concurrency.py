"""Concurrent changes of clients, in real threads on both engines."""

from collections import Counter
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, select

from tests.support.clients import create, edit, messages, stored, values_of
from tests.support.concurrency import run_concurrently
from tests.support.factories import HASHER, OTHER_ACCOUNT, SECRET, make_account, make_author, make_client, make_values
from webapp.core.client_changes import StaleVersion
from webapp.core.clients.service import AlreadyCreated
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, ClaimedClientId, ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import InvalidFields
from webapp.core.secrets.generation import Secret


@pytest.fixture
def engine(engine: Engine) -> Engine:
    """Return an engine on a database with two accounts. The secret is hashed beforehand, so no thread does it."""
    make_account(engine)
    make_account(engine, OTHER_ACCOUNT)
    HASHER.hash(Secret(SECRET))
    return engine


def count(engine: Engine, table: type) -> int:
    with read_session(engine) as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_of_20_creates_of_one_id_one_succeeds(engine: Engine) -> None:
    """In any account and letter case; the others get a field error (I6)."""
    outcomes = run_concurrently(
        [
            partial(
                create,
                engine,
                values=make_values(client_id="acme-claims" if number % 2 else "ACME-Claims"),
                author=make_author(OTHER_ACCOUNT) if number % 3 else make_author(),
                creation_key=str(number),
            )
            for number in range(20)
        ]
    )
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, InvalidFields: 19}
    for outcome in outcomes:
        if isinstance(outcome, InvalidFields):
            assert messages(outcome) == {"client_id": "This client ID is already in use. Choose another."}
    assert [count(engine, table) for table in (IdentityClient, ClaimedClientId, ClientSecret, AuditEvent)] == [
        1,
        1,
        1,
        1,
    ]


def test_of_10_equal_creates_one_creates_a_client(engine: Engine) -> None:
    values = make_values()
    outcomes = run_concurrently([partial(create, engine, values=values, creation_key="one-time")] * 10)
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, AlreadyCreated: 9}
    keys = {outcome.client.id if isinstance(outcome, AlreadyCreated) else outcome.id for outcome in outcomes}
    assert len(keys) == 1
    assert [count(engine, table) for table in (IdentityClient, ClaimedClientId, ClientSecret, AuditEvent)] == [
        1,
        1,
        1,
        1,
    ]


def test_of_10_edits_of_one_version_one_succeeds(engine: Engine) -> None:
    """One new secret, one event, and nine stale versions that carry the current client (I7, S7)."""
    client = make_client(engine)
    outcomes = run_concurrently(
        [
            partial(
                edit, engine, client, values=values_of(client, name=f"Name {number}"), secret=f"secret number {number}"
            )
            for number in range(10)
        ]
    )
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, StaleVersion: 9}
    kept = stored(engine, client.id)
    assert kept.version == 2
    assert [secret.label for secret in kept.secrets] == ["A", "B"]
    for outcome in outcomes:
        seen = outcome.current if isinstance(outcome, StaleVersion) else outcome
        assert (seen.name, seen.version) == (kept.name, 2)
    assert count(engine, AuditEvent) == 2


def test_of_10_edits_to_one_id_one_succeeds(engine: Engine) -> None:
    """Editing follows the same rule as creating (I6)."""
    clients = [make_client(engine) for _ in range(10)]
    outcomes = run_concurrently(
        [
            partial(
                edit,
                engine,
                client,
                values=values_of(client, client_id="new-id" if number % 2 else "NEW-ID", name="Renamed"),
            )
            for number, client in enumerate(clients)
        ]
    )
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, InvalidFields: 9}
    assert sorted(stored(engine, client.id).name for client in clients) == [""] * 9 + ["Renamed"]
    assert count(engine, ClaimedClientId) == 11


@pytest.mark.parametrize("moment", [0, 1])
def test_an_equal_create_that_commits_in_between_is_recognised(postgresql_url: str, moment: int) -> None:
    """The same Create is sent twice, and the other one commits just before the first or the second check."""
    engine, other = make_engine(postgresql_url), make_engine(postgresql_url)
    make_account(engine)
    create_it = partial(create, values=make_values(), creation_key="one-time")
    looks: list[str] = []

    def commit_the_other_first(*arguments: Any) -> None:
        looks.append(arguments[2])
        if len(looks) == moment + 1:
            create_it(other)

    event.listen(engine, "before_cursor_execute", commit_the_other_first)
    with pytest.raises(AlreadyCreated):
        create_it(engine)
    assert all(look.startswith("SELECT") for look in looks[: moment + 1])
    engine.dispose()
    other.dispose()
