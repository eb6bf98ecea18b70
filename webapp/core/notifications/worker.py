"""The thread that delivers notifications, for an application that starts it; a host may run the command instead."""

import logging
import threading
import time

from sqlalchemy import Engine

from ..database.models import utc_now
from ..database.time_limits import response_limit
from ..errors import Unavailable
from ..tokens.signing_keys import SigningKeys
from .attention import send_attention_signals
from .checkpoints import sign_checkpoints
from .delivery import DeliveryService

LOG = logging.getLogger(__name__)
DELIVER_EVERY_SECONDS = 2.0
CHECK_EVERY_SECONDS = 900.0
FIRST_CHECK_AFTER_SECONDS = 30.0
RESPONSE_SECONDS = 8.0
"""How long a statement may wait for the database server."""


class NotificationWorker:
    """Delivers what is due every two seconds.

    Every 15 minutes it looks for clients that need attention, and signs the checkpoints of the day.
    """

    def __init__(self, engine: Engine, delivery: DeliveryService, keys: SigningKeys, issuer: str) -> None:
        self._engine = engine
        self._delivery = delivery
        self._keys = keys
        self._issuer = issuer
        self._stopping = threading.Event()
        self._is_failing = False

    def start(self) -> None:
        """Start the thread, which ends with the process."""
        threading.Thread(target=self._run, name="identity-clients-notifications", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end after the message that it is delivering."""
        self._stopping.set()

    def _run(self) -> None:
        check_at = time.monotonic() + FIRST_CHECK_AFTER_SECONDS
        while not self._stopping.wait(DELIVER_EVERY_SECONDS):
            is_due = time.monotonic() >= check_at
            if self._work(with_check=is_due) and is_due:
                check_at = time.monotonic() + CHECK_EVERY_SECONDS

    def _work(self, *, with_check: bool) -> bool:
        """Do what is due, and return whether that was possible. No exception ends the thread."""
        try:
            with response_limit(RESPONSE_SECONDS):
                if with_check:
                    send_attention_signals(self._engine)
                    self._delivery.renew_encryption()
                self._delivery.deliver_due()
                if with_check:
                    # At the end, so that a key that does not decrypt holds up no message.
                    sign_checkpoints(self._engine, self._keys, self._issuer, utc_now())
        except Exception as error:
            if not self._is_failing:  # one line for an outage, whose message could contain values (L5)
                level = logging.WARNING if isinstance(error, Unavailable) else logging.ERROR
                LOG.log(level, "Notifications cannot be delivered now, and are retried: %s.", type(error).__name__)
            self._is_failing = True
            return False
        self._is_failing = False
        return True
