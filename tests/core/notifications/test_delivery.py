"""Messages are delivered at least once, in order for each recipient, and retried for three days."""

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine
from standardwebhooks import Webhook, WebhookVerificationError

from tests.support.factories import make_author, make_client, make_rate_limits
from tests.support.notifications import (
    STORAGE,
    TARGETS,
    age,
    make_delivery,
    make_target,
    messages,
    notifying,
)
from tests.support.receivers import drip, receive_mail, receive_webhooks, redirect_to
from webapp.core.database.models import NotificationTarget
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import NotFound, RateLimited
from webapp.core.notifications import webhooks
from webapp.core.notifications.kinds import EventKind
from webapp.core.notifications.log import DeliveryState, list_messages, send_again, send_test, state_of
from webapp.core.notifications.webhook_secrets import UndecryptableSecret, WebhookSecretStorage

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CREATED = [EventKind.CREATED]


def target_of(engine: Engine, target: NotificationTarget) -> NotificationTarget:
    with read_session(engine) as session:
        return session.get_one(NotificationTarget, target.id)


def make_clients(engine: Engine, *client_ids: str) -> None:
    for client_id in client_ids:
        make_client(notifying(engine), client_id=client_id)


def ids_of(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["data"]["client"]["client_id"] for body in bodies]


def test_an_email_has_text_html_and_a_link(engine: Engine) -> None:
    with receive_mail() as mailbox:
        make_target(engine, kinds=CREATED)
        client = make_client(notifying(engine), client_id="acme<claims>")
        delivery = make_delivery(engine, mailbox)
        assert delivery.deliver_due() == (1, 0)
        assert delivery.deliver_due() == (0, 0)
    [mail] = mailbox.mails
    assert mailbox.recipients == [["ops@northwind.example"]]
    assert mail["Subject"] == "Identity client acme<claims> was created"
    assert mail["From"] == "Vitesse <no-reply@vitesse.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    html = mail.get_body(("html",))
    assert html is not None
    assert f"https://mas.example/clients/{client.id}" in mailbox.text()
    assert f'<a href="https://mas.example/clients/{client.id}"' in html.get_content()
    assert "acme&lt;claims&gt;" in html.get_content()
    assert "<claims>" not in html.get_content()


def test_a_webhook_is_signed_as_standard_webhooks_requires(engine: Engine) -> None:
    """The `standardwebhooks` library verifies it, and refuses a changed body."""
    with receive_webhooks() as hooks:
        _, secret = make_target(engine, hooks.url, CREATED)
        client = make_client(notifying(engine), client_id="acme-claims")
        assert make_delivery(engine).deliver_due() == (1, 0)
    [(headers, body)] = hooks.requests
    found = Webhook(secret).verify(body, headers)
    assert found["type"] == "client.created"
    assert found["data"]["client"] == {
        "id": str(client.id),
        "client_id": "acme-claims",
        "url": f"https://mas.example/clients/{client.id}",
    }
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body + b" ", headers)


def test_a_new_secret_signs_beside_the_old_one_for_a_day(engine: Engine) -> None:
    with receive_webhooks() as hooks:
        target, old = make_target(engine, hooks.url, CREATED)
        with unit_of_work(engine) as session:
            target, new = TARGETS.change_secret(
                session, author=make_author(), target_id=target.id, version=target.version
            )
        make_clients(engine, "acme-first")
        make_delivery(engine).deliver_due()
        with unit_of_work(engine) as session:
            ends_at = session.get_one(NotificationTarget, target.id).previous_secret_ends_at
            assert ends_at is not None
            session.get_one(NotificationTarget, target.id).previous_secret_ends_at = ends_at - DAY
        make_clients(engine, "acme-second")
        make_delivery(engine).deliver_due()
    (first, first_body), (second, second_body) = hooks.requests
    for secret in (old, new.reveal()):
        Webhook(secret).verify(first_body, first)
    Webhook(new.reveal()).verify(second_body, second)
    with pytest.raises(WebhookVerificationError):
        Webhook(old).verify(second_body, second)


def test_a_secret_is_stored_encrypted_for_its_target(engine: Engine) -> None:
    """Neither the row nor the loaded objects contain it (L4)."""
    target, secret = make_target(engine, "https://hooks.example/identity")
    stored = target_of(engine, target)
    assert stored.secret_encrypted is not None
    assert secret.encode() not in stored.secret_encrypted
    assert repr(STORAGE.decrypt(stored.secret_encrypted, target.id)) == "***"
    other, _ = make_target(engine, "https://hooks.example/other")
    with pytest.raises(UndecryptableSecret):
        STORAGE.decrypt(stored.secret_encrypted, other.id)


def test_a_new_encryption_key_replaces_the_old_one(engine: Engine) -> None:
    target, secret = make_target(engine, "https://hooks.example/identity")
    make_delivery(engine, storage=WebhookSecretStorage([b"n" * 32, b"k" * 32])).renew_encryption()
    encrypted = target_of(engine, target).secret_encrypted
    assert encrypted is not None
    assert WebhookSecretStorage([b"n" * 32]).decrypt(encrypted, target.id).reveal() == secret


def test_messages_to_one_target_keep_their_order(engine: Engine) -> None:
    """A failed message delays the later ones of its target, and no other target."""
    with receive_webhooks() as failing, receive_webhooks() as working:
        make_target(engine, failing.url, CREATED)
        make_target(engine, working.url, CREATED)
        failing.answers.append(500)
        make_clients(engine, "acme-1", "acme-2", "acme-3")
        delivery = make_delivery(engine)
        assert delivery.deliver_due() == (3, 1)
        assert ids_of(failing.bodies) == ["acme-1"]
        assert ids_of(working.bodies) == ["acme-1", "acme-2", "acme-3"]
        age(engine, MINUTE)
        assert delivery.deliver_due() == (3, 0)
    assert ids_of(failing.bodies) == ["acme-1", "acme-1", "acme-2", "acme-3"]


def test_attempts_become_rarer_for_three_days(engine: Engine) -> None:
    """Then the target is marked as failing; the next delivery clears the mark."""
    with receive_webhooks() as hooks:
        target, _ = make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        hooks.status = 503
        delivery = make_delivery(engine)
        waits: list[timedelta] = []
        while True:
            assert delivery.deliver_due() == (0, 1)
            [message] = messages(engine)
            if message.next_attempt_at is None:
                break
            wait = (message.next_attempt_at - message.created_at) - sum(waits, timedelta())
            waits.append(wait)
            assert delivery.deliver_due() == (0, 0)
            age(engine, wait + timedelta(seconds=1))
        assert waits[0] < MINUTE
        assert max(waits) <= 6 * HOUR + MINUTE
        assert 2.5 * DAY < sum(waits, timedelta()) <= 3 * DAY
        assert message.last_error == "The receiver answered 503."
        assert state_of(message) is DeliveryState.FAILED
        assert target_of(engine, target).given_up_at is not None
        hooks.status = 204
        make_clients(engine, "acme-next")
        assert delivery.deliver_due() == (1, 0)
        assert target_of(engine, target).given_up_at is None


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (400, "The receiver answered 400."),
        (lambda handler: handler.connection.close(), "The connection failed (RemoteDisconnected)."),
        (lambda handler: handler.wfile.write(b"nonsense\r\n\r\n"), "The connection failed (BadStatusLine)."),
        (drip(20), "The receiver did not answer in time."),
    ],
    ids=["refuses", "closes", "speaks no HTTP", "drips"],
)
def test_a_receiver_that_fails_is_retried(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, answer: Any, text: str
) -> None:
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 1.5)
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        hooks.answers.append(answer)
        assert make_delivery(engine).deliver_due() == (0, 1)
        [message] = messages(engine)
        assert (message.last_error, state_of(message)) == (text, DeliveryState.RETRYING)
        age(engine, MINUTE)
        assert make_delivery(engine).deliver_due() == (1, 0)


def test_a_message_is_delivered_when_the_receiver_is_back(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
    assert make_delivery(engine).deliver_due() == (0, 1)
    assert messages(engine)[0].last_error == "The connection failed (ConnectionRefusedError)."
    age(engine, MINUTE)
    with receive_webhooks(hooks.port) as hooks:
        assert make_delivery(engine).deliver_due() == (1, 0)


def test_redirects_are_not_followed(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    with receive_webhooks() as hooks, receive_webhooks() as elsewhere:
        make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        hooks.answers.append(redirect_to(elsewhere.url))
        assert make_delivery(engine).deliver_due() == (0, 1)
    assert elsewhere.requests == []
    assert messages(engine)[0].last_error == "The receiver answered 307, and redirects are not followed."


def test_a_mail_server_that_refuses_is_retried(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    make_target(engine, kinds=CREATED)
    make_clients(engine, "acme-claims")
    with receive_mail() as mailbox:
        mailbox.answers.append("451 4.7.1 greylisted")
        assert make_delivery(engine, mailbox).deliver_due() == (0, 1)
        assert messages(engine)[0].last_error == "The mail server answered 451 4.7.1 greylisted"
        age(engine, MINUTE)
        assert make_delivery(engine, mailbox).deliver_due() == (1, 0)
    make_clients(engine, "acme-next")
    assert make_delivery(engine, mailbox).deliver_due() == (0, 1)
    assert messages(engine)[1].last_error == "The connection to the mail server failed (ConnectionRefusedError)."


_DELIVER_ALL = """
import sys, time
from tests.support.notifications import make_delivery, messages
from webapp.core.database.engine import make_engine
engine = make_engine(sys.argv[1])
print("ready", flush=True)
sys.stdin.read()
while any(message.next_attempt_at for message in messages(engine)):
    make_delivery(engine).deliver_due()
    time.sleep(0.02)
"""


def test_concurrent_processes_deliver_each_message_once(engine: Engine) -> None:
    """Two processes, in order, and never two messages to one target at the same time."""
    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, CREATED)
        client_ids = [f"acme-{number:02}" for number in range(8)]
        make_clients(engine, *client_ids)
        hooks.delay_seconds = 0.05
        command = [sys.executable, "-c", _DELIVER_ALL, engine.url.render_as_string(hide_password=False)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        processes = [subprocess.Popen(command, **pipes) for _ in range(2)]  # type: ignore[call-overload]
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.close()
        for process in processes:
            assert process.wait(60) == 0
            process.stdout.close()
    assert ids_of(hooks.bodies) == client_ids
    assert hooks.at_once_max == 1


def test_only_the_current_holder_of_a_lease_finishes_it(sqlite_engine: Engine) -> None:
    """The first attempt ends after the second has begun; only the second counts."""
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")

        def take_over(handler: Any) -> None:
            age(engine, 4 * MINUTE)
            assert make_delivery(engine).deliver_due() == (1, 0)
            handler.send_error(500)

        hooks.answers.append(take_over)
        make_delivery(engine).deliver_due()
    [message] = messages(engine)
    assert (message.attempts, state_of(message)) == (1, DeliveryState.DELIVERED)


# Tests and repetitions


def test_a_test_message_is_sent_first_and_tried_once(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        target, secret = make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        hooks.status = 500
        make_delivery(engine).deliver_due()
        for status, expected in ((200, (1, 0)), (500, (0, 1))):
            hooks.status = status
            with unit_of_work(engine) as session:
                send_test(session, author=make_author(), target_id=target.id, rate_limits=make_rate_limits())
            assert make_delivery(engine).deliver_due() == expected
    waiting, passed, failed = messages(engine)
    assert [state_of(each) for each in (waiting, passed, failed)] == ["retrying", "delivered", "failed"]
    assert target_of(engine, target).given_up_at is None
    assert Webhook(secret).verify(hooks.requests[1][1], hooks.requests[1][0])["type"] == "test"


def test_a_message_is_sent_again_with_the_same_id(sqlite_engine: Engine) -> None:
    """By its own account only, and only when no attempt is due (A3)."""
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        [message] = messages(engine)
        limits = make_rate_limits()

        def again(account_id: str = "northwind") -> None:
            with unit_of_work(engine) as session:
                send_again(session, author=make_author(account_id), key=message.id, rate_limits=limits)

        with pytest.raises(NotFound):
            again()
        make_delivery(engine).deliver_due()
        with pytest.raises(NotFound):
            again("harbour")
        again()
        assert make_delivery(engine).deliver_due() == (1, 0)
        for _ in range(29):
            again()
        with pytest.raises(RateLimited):
            again()
    first, second = (headers["webhook-id"] for headers, _ in hooks.requests)
    assert first == second
    assert hooks.bodies[0].partition(b"timestamp")[0] == hooks.bodies[1].partition(b"timestamp")[0]


def test_the_log_is_paged_and_restricted_to_the_account(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    target, _ = make_target(engine, kinds=CREATED)
    make_target(engine, "other@harbour.example", account_id="harbour")
    make_client(notifying(engine), account_id="harbour")
    limits = make_rate_limits()
    with unit_of_work(engine) as session:
        for _ in range(26):
            send_test(session, author=make_author(), target_id=target.id, rate_limits=limits)
    with read_session(engine) as session:
        first = list_messages(session, account_id="northwind")
        second = list_messages(session, account_id="northwind", after=first.next_cursor or "")
        invalid = list_messages(session, account_id="northwind", after="nonsense")
    assert (len(first.messages), len(second.messages), second.next_cursor) == (25, 1, None)
    assert [each.id for each in invalid.messages] == [each.id for each in first.messages]


def test_a_removed_target_gets_no_messages(sqlite_engine: Engine) -> None:
    engine = sqlite_engine
    with receive_webhooks() as hooks:
        target, _ = make_target(engine, hooks.url, CREATED)
        make_clients(engine, "acme-claims")
        with unit_of_work(engine) as session:
            TARGETS.remove(session, author=make_author(), target_id=target.id, version=target.version)
        make_clients(engine, "acme-next")
        assert make_delivery(engine).deliver_due() == (0, 0)
    assert hooks.requests == []
    [message] = messages(engine)
    assert message.last_error == "The target was removed."
    assert target_of(engine, target).secret_encrypted is None
