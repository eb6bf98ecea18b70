"""Deliver the messages that are due: at least once, in order for each recipient, for at most three days."""

import logging
import uuid
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import ColumnElement, Engine, and_, or_, select, update
from sqlalchemy.orm import Session, aliased, joinedload
from standardwebhooks import Webhook

from ..database.models import Notification, NotificationTarget, utc_now
from ..database.unit_of_work import read_session, unit_of_work
from .kinds import TEST, Channel
from .mail import MailServer
from .messages import MessageTexts
from .webhook_secrets import UndecryptableSecret, WebhookSecretStorage
from .webhooks import DeliveryFailed, post

LOG = logging.getLogger(__name__)
LEASE = timedelta(minutes=3)
"""How long a process may deliver a message before others may; an attempt takes less, also with slow name servers."""
FIRST_RETRY = timedelta(seconds=30)
RETRY_MAX = timedelta(hours=6)
GIVE_UP_AFTER = timedelta(days=3)
CANDIDATES = 10


class Delivered(NamedTuple):
    """The outcomes of a run."""

    delivered: int
    failed: int


class DeliveryService:
    """Delivers messages; any number of processes may run it at the same time.

    :param mail: None where the platform has no mail server.
    :param storage: decrypts the secrets of webhooks.
    :param allow_private: whether a webhook may be on a private network.
    """

    def __init__(
        self,
        engine: Engine,
        texts: MessageTexts,
        storage: WebhookSecretStorage,
        *,
        mail: MailServer | None,
        allow_private: bool,
    ) -> None:
        self._engine = engine
        self._texts = texts
        self._storage = storage
        self._mail = mail
        self._allow_private = allow_private

    def deliver_due(self) -> Delivered:
        """Deliver what is due now, message by message; return how many attempts succeeded and failed.

        :raises Unavailable: the database is locked or unreachable.
        """
        delivered = failed = 0
        while (message := self._claim()) is not None:
            if self._attempt(message):
                delivered += 1
            else:
                failed += 1
        return Delivered(delivered, failed)

    def renew_encryption(self) -> None:
        """Encrypt the secrets of webhooks with the first key where another one was the first before."""
        with read_session(self._engine) as session:
            ids = session.scalars(
                select(NotificationTarget.id).where(NotificationTarget.secret_encrypted.is_not(None))
            ).all()
        for target_id in ids:
            with unit_of_work(self._engine) as session:
                target = session.get_one(NotificationTarget, target_id, with_for_update=True)
                columns = {}
                for column in ("secret_encrypted", "previous_secret_encrypted"):
                    try:
                        if (stored := getattr(target, column)) and (renewed := self._storage.renew(stored, target_id)):
                            columns[column] = renewed
                    except UndecryptableSecret:
                        LOG.error("The secret of the webhook %s does not decrypt with any encryption key.", target_id)
                if columns:
                    session.execute(
                        update(NotificationTarget)
                        .where(NotificationTarget.id == target_id)
                        .values(columns)
                        .execution_options(synchronize_session=False)
                    )

    def _claim(self) -> Notification | None:
        """Return the next message that is due, which no other process will deliver for the time of `LEASE`."""
        now = utc_now()
        with read_session(self._engine) as session:
            ids = session.scalars(
                select(Notification.id)
                .where(_is_free(now), _is_first())
                .order_by(Notification.next_attempt_at, Notification.id)
                .limit(CANDIDATES)
            ).all()
        for key in ids:
            with unit_of_work(self._engine) as session:
                if self._lease(session, key):
                    return session.scalars(
                        select(Notification).where(Notification.id == key).options(joinedload(Notification.target))
                    ).one()
        return None

    def _lease(self, session: Session, key: uuid.UUID) -> bool:
        now = utc_now()
        leased = session.execute(
            update(Notification)
            .where(Notification.id == key, _is_free(now))
            .values(lease=uuid.uuid4(), leased_until=now + LEASE)
            .execution_options(synchronize_session=False)
        )
        return bool(leased.rowcount)  # type: ignore[attr-defined] # of an UPDATE

    def _attempt(self, message: Notification) -> bool:
        try:
            self._send(message)
        except DeliveryFailed as failed:
            self._note_failure(message, str(failed))
            return False
        except Exception as error:
            # The message could contain values (L5).
            LOG.error("A notification could not be sent: %s.", type(error).__name__)
            self._note_failure(message, "The message could not be sent; the platform's log has the reason.")
            return False
        now = utc_now()
        with unit_of_work(self._engine) as session:
            if _finish(session, message, delivered_at=now, next_attempt_at=None, last_error=None):
                _set_given_up(session, message, None)
        return True

    def _send(self, message: Notification) -> None:
        target = message.target
        if target.channel == Channel.WEBHOOK:
            payload, now = self._texts.payload(message), utc_now()
            message_id = f"msg_{message.message_id.hex}"
            signatures = [Webhook(secret).sign(message_id, now, payload) for secret in self._secrets(target, now)]
            headers = {
                "Content-Type": "application/json",
                "User-Agent": "Identity-Clients-Webhooks",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(now.timestamp())),
                "webhook-signature": " ".join(signatures),
            }
            post(target.address, payload.encode(), headers, allow_private=self._allow_private)
        elif self._mail is None:
            raise DeliveryFailed("This platform has no mail server.")
        else:
            self._mail.send(self._texts.email(message), message.recipient, message.message_id.hex)

    def _secrets(self, target: NotificationTarget, now: datetime) -> list[str]:
        stored = [target.secret_encrypted]
        if target.previous_secret_ends_at is not None and target.previous_secret_ends_at > now:
            stored.append(target.previous_secret_encrypted)
        try:
            return [self._storage.decrypt(each, target.id).reveal() for each in stored if each is not None]
        except UndecryptableSecret:
            raise DeliveryFailed("The secret of this webhook cannot be read. Change it.") from None

    def _note_failure(self, message: Notification, error: str) -> None:
        now = utc_now()
        retry_at = now + min(FIRST_RETRY * 2**message.attempts, RETRY_MAX)
        gives_up = message.kind == TEST or retry_at > message.created_at + GIVE_UP_AFTER
        with unit_of_work(self._engine) as session:
            noted = _finish(session, message, next_attempt_at=None if gives_up else retry_at, last_error=error)
            if noted and gives_up and message.kind != TEST:
                _set_given_up(session, message, now)


def _is_free(now: datetime) -> ColumnElement[bool]:
    """Return the condition that a message is due, and that no process is delivering it."""
    return and_(
        Notification.next_attempt_at <= now, or_(Notification.leased_until.is_(None), Notification.leased_until <= now)
    )


def _is_first() -> ColumnElement[bool]:
    """Return the condition that no earlier message to the same recipient waits; a test or a repetition may overtake."""
    earlier = aliased(Notification)
    waits = (
        select(earlier.id)
        .where(
            earlier.target_id == Notification.target_id,
            earlier.recipient == Notification.recipient,
            earlier.next_attempt_at.is_not(None),
            earlier.is_ordered,
            earlier.id < Notification.id,
        )
        .exists()
    )
    return or_(~Notification.is_ordered, ~waits)


def _finish(session: Session, message: Notification, **columns: object) -> bool:
    """Write the outcome of an attempt and return True, unless its lease was taken over by another process."""
    finished = session.execute(
        update(Notification)
        .where(Notification.id == message.id, Notification.lease == message.lease)
        .values(attempts=message.attempts + 1, lease=None, leased_until=None, **columns)
        .execution_options(synchronize_session=False)
    )
    return bool(finished.rowcount)  # type: ignore[attr-defined] # of an UPDATE


def _set_given_up(session: Session, message: Notification, at: datetime | None) -> None:
    session.execute(
        update(NotificationTarget)
        .where(NotificationTarget.id == message.target_id)
        .values(given_up_at=at)
        .execution_options(synchronize_session=False)
    )
