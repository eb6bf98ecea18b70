"""The thread of the stand-alone application."""

import logging
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from tests.support.attention import make_client_in_use
from tests.support.notifications import make_delivery, make_target, notifying
from tests.support.receivers import receive_mail
from webapp.core.audit.actions import Action
from webapp.core.database.models import AuditEvent, utc_now
from webapp.core.database.unit_of_work import read_session
from webapp.core.errors import Unavailable
from webapp.core.notifications import worker
from webapp.core.notifications.delivery import Delivered, DeliveryService
from webapp.core.notifications.worker import NotificationWorker
from webapp.core.tokens.signing_keys import SigningKeys

DAY = timedelta(days=1)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.05)


class FailingAtFirst:
    """Delivers like another service, but for the first attempts."""

    def __init__(self, service: DeliveryService, errors: list[Exception]) -> None:
        self._service, self._errors = service, errors
        self.renew_encryption = service.renew_encryption

    def deliver_due(self) -> Delivered:
        """Deliver what is due."""
        if self._errors:
            raise self._errors.pop()
        return self._service.deliver_due()


def checkpoints(engine: Engine) -> int:
    """Return the number of signed checkpoints."""
    with read_session(engine) as session:
        signed = select(func.count()).select_from(AuditEvent).where(AuditEvent.action == Action.CHECKPOINT_SIGNED)
        return session.scalar(signed) or 0


def test_the_worker_finds_attention_and_delivers_after_an_outage(
    sqlite_engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It also signs the checkpoints of the day (L9). No exception ends it; an outage is logged once (D10)."""
    monkeypatch.setattr(worker, "DELIVER_EVERY_SECONDS", 0.05)
    monkeypatch.setattr(worker, "FIRST_CHECK_AFTER_SECONDS", 0)
    engine = notifying(sqlite_engine)
    make_target(engine, kinds=["attention.ending"])
    make_client_in_use(engine, {"ends_at": utc_now() + timedelta(hours=20)}, client_id="acme-claims")
    with receive_mail() as mailbox, caplog.at_level(logging.WARNING):
        service = FailingAtFirst(make_delivery(engine, mailbox), [Unavailable(), Unavailable(), ZeroDivisionError()])
        keys = SigningKeys(engine, [b"k" * 32])
        thread = NotificationWorker(engine, service, keys, "https://id.example")  # type: ignore[arg-type]
        thread.start()
        try:
            wait_for(lambda: bool(mailbox.mails) and checkpoints(engine) == 2)  # of the account and of the platform
        finally:
            thread.stop()
    assert mailbox.mails[0]["Subject"] == "A secret of acme-claims ends within 1 day"
    assert "Secret A ends on" in mailbox.text()
    assert caplog.text.count("Notifications cannot be delivered now") == 1
