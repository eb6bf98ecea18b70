"""Adding public keys, and the rules that keys and secrets of a client share (S7, S8, S11)."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, select

from tests.support.attention import NOON
from tests.support.clients import delete, stored
from tests.support.concurrency import run_concurrently
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_author, make_client
from tests.support.keys import PrivateKey, add_key, private_key, public_pem
from tests.support.secrets import NEXT, change, end, pause, resume, set_end
from webapp.core.audit import signals
from webapp.core.client_changes import StaleVersion
from webapp.core.clients import attention
from webapp.core.clients.attention import Attention, AttentionReason
from webapp.core.clients.attention_queries import clients_of, values_of
from webapp.core.database.models import AuditEvent, ClientKey, ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, NotFound
from webapp.core.secrets import keys
from webapp.core.secrets.available_actions import SecretAction, available_actions, available_key_actions
from webapp.core.secrets.errors import (
    LastLiveSecret,
    LastSecretWouldEnd,
    SecretHasEnded,
    SecretRecentlyUsed,
    TooManyKeys,
)

DAY = timedelta(days=1)
PAUSED, ENDED, ENDING = {"paused_at": NOON}, {"ends_at": NOON}, {"ends_at": NOON + DAY}


@pytest.fixture
def clock() -> Iterator[time_machine.Traveller]:
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def add(engine: Engine, client: IdentityClient, key: PrivateKey | None = None, **overrides: Any) -> IdentityClient:
    """Add a key, based on the version of `client`."""
    given: dict[str, Any] = {
        "author": make_author(),
        "key": client.id,
        "version": client.version,
        "public_key": public_pem(key or private_key()),
    }
    with unit_of_work(engine) as session:
        return keys.add_key(session, **(given | overrides))[0]


def with_credentials(engine: Engine, **columns: dict[str, Any]) -> IdentityClient:
    """Return a client with these secrets and keys, by label, each with these columns set."""
    client = make_client(engine)
    if "B" in columns:
        client, _ = change(engine, client)
    for label in columns:
        if label.isdecimal():
            client = add(engine, stored(engine, client.id), private_key(number=30 + int(label)))
    with unit_of_work(engine) as session:
        found = stored(engine, client.id)
        rows: list[ClientSecret | ClientKey] = [*found.secrets, *found.keys]
        for row in rows:
            for column, value in {"ends_at": None, **columns[row.label]}.items():
                setattr(row, column, value)
            session.merge(row)
    return stored(engine, client.id)


def states(engine: Engine, client: IdentityClient) -> dict[str, str]:
    found = stored(engine, client.id)
    rows: list[ClientSecret | ClientKey] = [*found.secrets, *found.keys]
    return {row.label: row.state_at(NOON).value for row in rows}


def last_event(engine: Engine, client: IdentityClient) -> tuple[str, dict[str, Any]]:
    with read_session(engine) as session:
        row = session.scalars(
            select(AuditEvent).where(AuditEvent.client_key == client.id).order_by(AuditEvent.id.desc()).limit(1)
        ).one()
        return row.action, row.changes


def test_a_key_is_added_beside_the_secret(engine: Engine, clock: time_machine.Traveller) -> None:
    """The event names thumbprint and algorithm, and the secret goes on working (S11, L1)."""
    client = make_client(engine)
    changed = add(engine, client, author=make_author(label="Hannah Okafor"))
    [key] = stored(engine, client.id).keys
    assert (key.label, key.algorithm, key.created_at, key.created_by) == ("1", "ES256", NOON, "Hannah Okafor")
    assert (changed.version, changed.updated_by) == (2, "Hannah Okafor")
    assert states(engine, client) == {"A": "current", "1": "current"}
    assert last_event(engine, client) == (
        "client key added",
        {
            "public_key": [{}, {"1": "current"}],
            "thumbprint": [None, key.thumbprint],
            "algorithm": [None, "ES256"],
        },
    )


def test_a_key_is_refused_twice(engine: Engine) -> None:
    """Its end does not free it; another client may register it."""
    client = add(engine, make_client(engine))
    with pytest.raises(FieldError, match="key 1 of the client already"):
        add(engine, client)
    end(engine, stored(engine, client.id), "1")
    with pytest.raises(FieldError, match="key 1 of the client already"):
        add(engine, stored(engine, client.id))
    add(engine, make_client(engine))


def test_at_most_five_keys_have_not_ended(engine: Engine, clock: time_machine.Traveller) -> None:
    """A paused key counts, an ended one does not (S11)."""
    client = with_credentials(engine, A={}, **{str(number): {} for number in range(1, 6)})
    client = pause(engine, client, "2")
    with pytest.raises(TooManyKeys) as caught:
        add(engine, client, private_key(number=40))
    assert caught.value.secret.label == "1"
    client = end(engine, stored(engine, client.id), "3")
    assert add(engine, client, private_key(number=40)).keys[-1].label == "6"


@pytest.mark.parametrize(
    ("overrides", "error"),
    [
        ({"version": 7}, StaleVersion),
        ({"version": None}, StaleVersion),
        ({"author": make_author(OTHER_ACCOUNT)}, NotFound),
        ({"public_key": "x"}, FieldError),
    ],
)
def test_add_is_bound_to_account_and_version(engine: Engine, overrides: dict[str, Any], error: type[Exception]) -> None:
    """A foreign client or a stale version is refused (A3, I7)."""
    client = make_client(engine)
    with pytest.raises(error):
        add(engine, client, **overrides)
    assert stored(engine, client.id).keys == []


def test_two_concurrent_additions_give_one_key(engine: Engine) -> None:
    """One has a stale version (I7)."""
    client = make_client(engine)
    outcomes = run_concurrently([partial(add, engine, client, private_key(number=number)) for number in (50, 51)])
    assert Counter(type(outcome) for outcome in outcomes) == {IdentityClient: 1, StaleVersion: 1}
    assert len(stored(engine, client.id).keys) == 1


@pytest.mark.parametrize(
    ("credentials", "refused"),
    [
        ({"A": {}}, {"A"}),
        ({"A": {}, "1": {}}, set()),
        ({"A": PAUSED, "1": {}}, {"1"}),
        ({"A": ENDED, "1": {}}, {"1"}),
        ({"A": ENDED, "1": ENDING}, {"1"}),
        ({"A": {}, "1": PAUSED}, {"A"}),
        ({"A": {}, "1": ENDED}, {"A"}),
        ({"A": ENDED, "B": ENDED, "1": {}, "2": {}}, set()),
        ({"A": PAUSED, "B": PAUSED, "1": PAUSED, "2": {}}, {"2"}),
    ],
    ids=str,
)
def test_the_last_live_credential_can_be_neither_ended_nor_paused(
    engine: Engine, clock: time_machine.Traveller, credentials: dict[str, dict[str, Any]], refused: set[str]
) -> None:
    """Secrets and keys count together (S7, S11)."""
    client = with_credentials(engine, **credentials)
    for control in (*available_actions(client, NOON), *available_key_actions(client, NOON)):
        label = control.secret.label
        for function, action in ((end, SecretAction.END), (pause, SecretAction.PAUSE)):
            if label in refused:
                with pytest.raises(LastLiveSecret):
                    function(engine, client, label, confirmed=True)
                assert "only secret or key that works" in (control.actions[action] or "")
            else:
                assert control.actions.get(action) is None
    assert stored(engine, client.id).version == client.version


@pytest.mark.parametrize("functions", [(end, end), (pause, pause), (end, pause), (pause, end)])
def test_two_concurrent_requests_leave_a_live_credential(engine: Engine, functions: tuple[Any, Any]) -> None:
    """One takes the only secret and the other the only key: one of them has a stale version (S7, S11)."""
    client = add(engine, make_client(engine))
    first, second = functions
    outcomes = run_concurrently(
        [
            partial(first, engine, client, "A", confirmed=True),
            partial(second, engine, client, "1", confirmed=True),
        ]
    )
    refusals = [outcome for outcome in outcomes if not isinstance(outcome, IdentityClient)]
    assert len(refusals) == 1
    assert isinstance(refusals[0], StaleVersion | LastLiveSecret)
    assert Counter(state == "current" for state in states(engine, client).values()) == {True: 1, False: 1}


def test_the_actions_on_a_key_and_their_events(engine: Engine, clock: time_machine.Traveller) -> None:
    """Each writes its own event and sends `key_changed` (L1)."""
    client = with_credentials(engine, A={}, **{"1": {}})
    received: list[str] = []

    def receive(_engine: Engine, *, action: str, **_: Any) -> None:
        received.append(action)

    signals.key_changed.connect(receive)
    at = NOON + 7 * DAY
    for function, action, before, after in (
        (pause, "client key paused", "current", "paused"),
        (resume, "client key resumed", "paused", "current"),
        (partial(set_end, ends_at=at), "client key end date set", "current", "ending"),
        (end, "client key ended", "ending", "ended"),
    ):
        client = function(engine, stored(engine, client.id), "1", confirmed=True)
        ends = {"ends_at": [{"1": None}, {"1": at.isoformat()}]} if after == "ending" else {}
        assert last_event(engine, client) == (action, {"public_key": [{"1": before}, {"1": after}], **ends})
    assert received == ["client key paused", "client key resumed", "client key end date set", "client key ended"]
    with pytest.raises(SecretHasEnded):
        resume(engine, stored(engine, client.id), "1")


def test_consequences_need_a_confirmation(engine: Engine, clock: time_machine.Traveller) -> None:
    """Ending a key that was used within the hour, and the end of all live credentials (S8)."""
    client = with_credentials(engine, A={"ends_at": NOON + 3 * DAY}, **{"1": {"last_used_at": NOON}, "2": {}})
    with pytest.raises(SecretRecentlyUsed):
        end(engine, client, "1")
    client = end(engine, stored(engine, client.id), "1", confirmed=True)
    with pytest.raises(LastSecretWouldEnd) as caught:
        end(engine, client, "2")
    assert (caught.value.secret.label, caught.value.ends_at) == ("A", NOON + 3 * DAY)


def test_a_deleted_client_has_no_live_key(engine: Engine, clock: time_machine.Traveller) -> None:
    client = with_credentials(engine, A={}, **{"1": {}, "2": ENDED})
    delete(engine, client)
    with read_session(engine) as session:
        ends = {row.label: row.ends_at for row in session.execute(select(ClientKey.label, ClientKey.ends_at))}
    assert ends == {"1": NOON, "2": NOON}
    assert last_event(engine, client) == (
        "deleted",
        {"client_secret": [{"A": "current"}, {"A": "ended"}], "public_key": [{"1": "current"}, {"1": "ended"}]},
    )


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, []),
        ({"ends_at": NOON + 30 * DAY}, [Attention(AttentionReason.ENDING, "1", NOON + 30 * DAY, 30)]),
        ({"ends_at": NOON + 31 * DAY}, []),
        ({"ends_at": NOON + DAY, "paused_at": NOON}, []),
        ({"created_at": NOON - 365 * DAY}, [Attention(AttentionReason.OLD, "1", NOON - 365 * DAY, 365)]),
        ({"created_at": NOON - 364 * DAY}, []),
        ({"created_at": NOON - 400 * DAY, "ends_at": NOON}, []),
    ],
)
def test_keys_need_attention_as_secrets_do(
    engine: Engine, clock: time_machine.Traveller, columns: dict[str, Any], expected: list[Attention]
) -> None:
    """The page and the list agree; a key beside a secret is not reported as a pair."""
    client = make_client(engine, last_token_at=NOON)
    add_key(engine, client, **columns)
    client = stored(engine, client.id)
    with read_session(engine) as session:
        assert attention.reasons(session, ACCOUNT, [client]).get(client.id, []) == expected
        for reason in AttentionReason:
            found = session.execute(clients_of(reason), values_of(session, ACCOUNT)).all()
            assert bool(found) == (reason in [one.reason for one in expected]), reason


def test_attention_follows_the_client(engine: Engine, clock: time_machine.Traveller) -> None:
    """Disabling and enabling the client, and a new secret, keep the reasons of its keys."""
    client = make_client(engine)
    add_key(engine, client, ends_at=NOON + DAY)
    for enabled in (False, True):
        with unit_of_work(engine) as session:
            row = session.get_one(IdentityClient, client.id)
            row.enabled = enabled
        with read_session(engine) as session:
            found = session.execute(clients_of(AttentionReason.ENDING), values_of(session, ACCOUNT)).all()
            assert bool(found) == enabled
    change(engine, stored(engine, client.id), NEXT)
    with read_session(engine) as session:
        assert len(session.execute(clients_of(AttentionReason.ENDING), values_of(session, ACCOUNT)).all()) == 2
