"""Messages are written in the transaction of the change, for the targets that subscribe to their kind."""

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from tests.support.attention import NOON, make_client_in_use
from tests.support.clients import delete, edit, values_of
from tests.support.factories import OTHER_ACCOUNT, SECRET, make_account, make_author, make_client
from tests.support.notifications import TARGETS, age, make_delivery, make_target, messages, notifying
from tests.support.receivers import receive_mail, receive_webhooks
from tests.support.secrets import NEXT, change, leak
from webapp.core.audit import signals
from webapp.core.client_changes import StaleVersion
from webapp.core.clients.attention import Attention, AttentionReason
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.notifications.attention import send_attention_signals
from webapp.core.notifications.kinds import KINDS, Channel, EventKind, attention_kind

DAY = timedelta(days=1)


def kinds(engine: Engine) -> list[str]:
    return [message.kind for message in messages(engine)]


def test_each_change_writes_a_message_of_its_kind(engine: Engine) -> None:
    """No message contains a secret (L4)."""
    engine = notifying(engine)
    make_target(engine)
    client = make_client(engine, client_id="acme-claims", roles=["MerchantUser"])
    client = edit(engine, client, values=values_of(client, name="New name"))
    client = edit(engine, client, values=values_of(client, roles=frozenset({"MerchantUser", "UploadBatches"})))
    client = edit(engine, client, secret="a typed secret")
    client, _ = change(engine, client)
    client, leaked = leak(engine, client)
    delete(engine, client)
    assert kinds(engine) == [
        EventKind.CREATED,
        EventKind.MONEY_ROLE_ADDED,
        EventKind.SECRET_CHANGED,
        EventKind.SECRET_CHANGED,
        EventKind.SECRET_LEAKED,
        EventKind.DELETED,
    ]
    written = str([(message.facts, message.client_id) for message in messages(engine)])
    for secret in (SECRET, "a typed secret", NEXT, leaked.reveal()):
        assert secret not in written


def test_only_subscribed_targets_of_the_account_get_a_message(engine: Engine) -> None:
    """Targets of other accounts get none (A3)."""
    engine = notifying(engine)
    wanting, _ = make_target(engine, "first@northwind.example", [EventKind.DELETED])
    make_target(engine, "second@northwind.example", [EventKind.SECRET_LEAKED])
    make_target(engine, "other@harbour.example", account_id=OTHER_ACCOUNT)
    delete(engine, make_client(engine))
    assert [(message.kind, message.target_id) for message in messages(engine)] == [(EventKind.DELETED, wanting.id)]


def test_a_change_that_is_rolled_back_writes_no_message(engine: Engine) -> None:
    engine = notifying(engine)
    make_target(engine)
    client = make_client(engine)
    before = len(messages(engine))
    with pytest.raises(StaleVersion):
        edit(engine, client, version=7, values=values_of(client, name="New name"))

    def create_and_fail() -> None:
        with unit_of_work(engine) as session:
            make_client(session)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        create_and_fail()
    assert len(messages(engine)) == before


@pytest.mark.parametrize("reason", AttentionReason)
def test_every_reason_for_attention_is_a_kind(reason: AttentionReason) -> None:
    assert attention_kind(reason) in KINDS


def test_attention_writes_one_message_for_each_new_reason(engine: Engine) -> None:
    """A failing receiver of the host's signal gets it again; the targets get the message once."""
    engine = notifying(engine)
    make_target(engine, kinds=[attention_kind(AttentionReason.OLD)])
    make_client_in_use(engine, {"created_at": NOON - 2000 * DAY}, client_id="acme-claims")
    calls: Counter[str] = Counter()

    def fail(_engine: Engine, *, client_id: str, attention: Attention, **_: object) -> None:
        calls[attention.reason] += 1
        raise OSError("no mail server")

    with signals.attention.connected_to(fail):
        for _ in range(2):
            send_attention_signals(engine)
    send_attention_signals(engine)
    assert calls[AttentionReason.OLD] == 2
    [message] = messages(engine)
    assert (message.kind, message.client_id, message.facts["secret"]) == ("attention.old", "acme-claims", "A")
    send_attention_signals(engine)
    assert len(messages(engine)) == 1


_CREATE = """
import os, signal, sys
from tests.support.factories import make_client
from tests.support.notifications import notifying
from webapp.core.database.engine import make_engine
make_client(notifying(make_engine(sys.argv[1])), client_id="acme-claims")
print("committed", flush=True)
signal.pause()
"""
_DELIVER = """
import sys
from tests.support.notifications import make_delivery
from webapp.core.database.engine import make_engine
make_delivery(make_engine(sys.argv[1])).deliver_due()
"""


def _start(program: str, engine: Engine) -> subprocess.Popen[bytes]:
    url = engine.url.render_as_string(hide_password=False)
    return subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE)


def test_a_process_killed_after_the_change_loses_no_message(engine: Engine) -> None:
    with receive_mail() as mailbox:
        make_target(engine)
        with _start(_CREATE, engine) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"committed\n"
            os.kill(process.pid, signal.SIGKILL)
        assert make_delivery(engine, mailbox).deliver_due() == (1, 0)
        assert "acme-claims" in mailbox.text()


def test_a_process_killed_during_delivery_loses_no_message(engine: Engine) -> None:
    """Another process delivers it again with the same ID after the lease has expired."""

    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, [EventKind.CREATED])
        make_client(notifying(engine), client_id="acme-claims")
        killed: list[int] = []

        def kill(_handler: object) -> None:
            killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)

        with _start(_DELIVER, engine) as process:
            hooks.answers.append(kill)
            process.wait(30)
        delivery = make_delivery(engine)
        assert delivery.deliver_due() == (0, 0)
        age(engine, timedelta(minutes=4))
        assert delivery.deliver_due() == (1, 0)
    first, second = (headers["webhook-id"] for headers, _ in hooks.requests)
    assert killed
    assert first == second
    assert messages(engine)[0].delivered_at is not None


def test_the_owner_of_a_client_gets_its_messages(engine: Engine) -> None:
    """If the owner is an e-mail address, unless another target sends the message to it."""
    engine = notifying(engine)
    with unit_of_work(engine) as session:
        make_account(session)
        TARGETS.add(session, author=make_author(), channel=Channel.OWNER, address="", kinds=[EventKind.DELETED])
    make_target(engine, "Claims@northwind.example", [EventKind.DELETED])
    for owner in ("hannah@northwind.example", "claims@northwind.example", "Claims team", ""):
        delete(engine, make_client(engine, owner=owner))
    assert Counter(message.recipient for message in messages(engine)) == {
        "hannah@northwind.example": 1,
        "Claims@northwind.example": 4,
    }
