"""Signals to the host after a commit; they never contain a secret."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.clients import delete, edit, stored, values_of
from tests.support.factories import SECRET, make_author, make_client
from tests.support.secrets import change, end, leak, pause, resume, set_end
from webapp.core.audit import signals
from webapp.core.client_changes import StaleVersion, revoke_tokens
from webapp.core.clients.enable import set_enabled
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work

NAMES = ("created", "changed", "enabled", "disabled", "deleted", "secret_changed")


@pytest.fixture
def heard(engine: Engine) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Return the signals that were sent, by name; each receiver reads the change in a session of its own."""
    found: list[tuple[str, dict[str, Any]]] = []

    def listen(name: str) -> Any:
        def receive(sender: Engine, **facts: Any) -> None:
            assert sender is engine
            with read_session(engine) as session:
                assert session.get_one(IdentityClient, facts["client_key"]).account_id == facts["account_id"]
            found.append((name, facts))

        return receive

    receivers = [listen(name) for name in NAMES]
    for name, receive in zip(NAMES, receivers, strict=True):
        getattr(signals, name).connect(receive, sender=engine)
    yield found
    for name, receive in zip(NAMES, receivers, strict=True):
        getattr(signals, name).disconnect(receive, sender=engine)


def test_every_change_sends_a_signal(engine: Engine, heard: list[tuple[str, dict[str, Any]]]) -> None:
    """A signal contains account, client and actor, and no secret (L4)."""
    client = make_client(engine, client_id="acme-claims")
    client = edit(engine, client, values=values_of(client, name="New name"))
    client = edit(engine, client, secret="a typed secret")
    client, _ = change(engine, client, "the next secret")
    for function in (pause, resume, set_end, end):
        client = function(engine, stored(engine, client.id), "B")
    client, _ = leak(engine, client)
    with unit_of_work(engine) as session:
        revoke_tokens(session, author=make_author(), key=client.id)
        client = set_enabled(session, author=make_author(), key=client.id, version=client.version, enabled=False)
    with unit_of_work(engine) as session:
        client = set_enabled(session, author=make_author(), key=client.id, version=client.version, enabled=True)
    delete(engine, client)
    assert [(name, facts["action"]) for name, facts in heard] == [
        ("created", "created"),
        ("changed", "edited"),
        ("changed", "edited"),
        ("secret_changed", "edited"),
        ("secret_changed", "secret changed"),
        ("secret_changed", "secret paused"),
        ("secret_changed", "secret resumed"),
        ("secret_changed", "end date set"),
        ("secret_changed", "secret ended"),
        ("secret_changed", "secret ended"),
        ("changed", "tokens revoked"),
        ("secret_changed", "secret changed"),
        ("changed", "tokens revoked"),
        ("disabled", "disabled"),
        ("enabled", "enabled"),
        ("deleted", "deleted"),
    ]
    for _, facts in heard:
        assert facts.keys() == {"account_id", "client_key", "client_id", "actor_id", "actor_label", "action", "at"}
        assert (facts["client_id"], facts["account_id"]) == ("acme-claims", "northwind")
    for hidden in (SECRET, "a typed secret", "the next secret", "after the leak"):
        assert hidden not in str(heard)


def test_a_rolled_back_change_sends_no_signal(engine: Engine, heard: list[tuple[str, dict[str, Any]]]) -> None:
    """Neither a whole unit of work nor one of its savepoints."""
    client = make_client(engine)
    heard.clear()

    def disable_and_fail() -> None:
        with unit_of_work(engine) as session:
            set_enabled(session, author=make_author(), key=client.id, version=1, enabled=False)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        disable_and_fail()
    with pytest.raises(StaleVersion):
        edit(engine, client, version=7, values=values_of(client, name="New name"))
    with unit_of_work(engine) as session:
        savepoint = session.begin_nested()
        set_enabled(session, author=make_author(), key=client.id, version=1, enabled=False)
        savepoint.rollback()
    assert heard == []
    assert stored(engine, client.id).version == 1


def test_a_failing_receiver_does_not_stop_the_others(
    engine: Engine, heard: list[tuple[str, dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    """The change stays committed, and the other receivers are called."""

    def receive(_sender: Engine, **_: Any) -> None:
        raise OSError("no mail server")

    with caplog.at_level(logging.ERROR), signals.created.connected_to(receive):
        client = make_client(engine)
    assert stored(engine, client.id).version == 1
    assert [name for name, _ in heard] == ["created"]
    assert "a receiver of the signal <blinker.base.NamedSignal object" in caplog.text


def test_another_engine_is_another_sender(engine: Engine, sqlite_url: str) -> None:
    """Two applications in one process have different senders (E6)."""
    found: list[Any] = []

    def receive(sender: Engine, **_: Any) -> None:
        found.append(sender)

    with signals.created.connected_to(receive, sender=object()):
        make_client(engine)
    assert found == []
