"""Targets of notifications, and the service that delivers to them."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Engine, select, update

from tests.support.factories import ACCOUNT, CATALOGUE, make_account, make_author
from tests.support.receivers import Mailbox
from webapp.core.audit.events import with_outbox
from webapp.core.database.models import IdentityClient, Notification, NotificationTarget, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.notifications.delivery import DeliveryService
from webapp.core.notifications.kinds import KINDS, Channel, EventKind
from webapp.core.notifications.mail import MailServer
from webapp.core.notifications.messages import MessageTexts
from webapp.core.notifications.outbox import EventOutbox
from webapp.core.notifications.targets import TargetService
from webapp.core.notifications.webhook_secrets import WebhookSecretStorage

STORAGE = WebhookSecretStorage([b"k" * 32])
TEXTS = MessageTexts(platform="Vitesse", screens_url="https://mas.example/clients", zone="Europe/London")
TARGETS = TargetService(STORAGE, sends_mail=True, allow_private=True)


def notifying(engine: Engine) -> Engine:
    """Return the engine as `init_app` sets it up, so that every event writes its messages."""
    return with_outbox(engine, EventOutbox(CATALOGUE))


def make_target(
    engine: Engine,
    address: str = "ops@northwind.example",
    kinds: Collection[str] = KINDS,
    *,
    account_id: str = ACCOUNT,
) -> tuple[NotificationTarget, str]:
    """Add a target, and its account if it is missing; return it with the secret of a webhook, or an empty text."""
    make_account(engine, account_id)
    channel = Channel.WEBHOOK if address.startswith("http") else Channel.EMAIL
    with unit_of_work(engine) as session:
        target, secret = TARGETS.add(
            session, author=make_author(account_id), channel=channel, address=address, kinds=kinds
        )
    return target, secret.reveal() if secret else ""


def add_notification_for(engine: Engine, client: IdentityClient) -> None:
    """Add a webhook and a delivered message, whose IDs are the client's, for tests that ask for every route."""
    now = utc_now()
    with unit_of_work(engine) as session:
        session.add(
            NotificationTarget(
                id=client.id,
                account_id=client.account_id,
                channel=Channel.WEBHOOK.value,
                address="https://hooks.example/identity",
                kinds=frozenset(KINDS),
                created_at=now,
                created_by="tests",
                updated_at=now,
                updated_by="tests",
            )
        )
        session.flush()
        session.add(
            Notification(
                id=client.id,
                message_id=client.id,
                account_id=client.account_id,
                target_id=client.id,
                recipient="https://hooks.example/identity",
                kind=EventKind.CREATED.value,
                client_key=client.id,
                client_id=client.client_id,
                facts={},
                is_ordered=True,
                created_at=now,
                delivered_at=now,
            )
        )


def make_delivery(engine: Engine, mailbox: Mailbox | None = None, **options: Any) -> DeliveryService:
    """Return the service that delivers, with this mail server."""
    mail = None
    if mailbox is not None:
        mail = MailServer(mailbox.host, mailbox.port, "none", None, None, "Vitesse <no-reply@vitesse.example>")
    return DeliveryService(engine, TEXTS, **{"storage": STORAGE, "mail": mail, "allow_private": True, **options})


def messages(engine: Engine) -> Sequence[Notification]:
    """Return every message, the oldest first."""
    with read_session(engine) as session:
        return session.scalars(select(Notification).order_by(Notification.id)).all()


def age(engine: Engine, by: timedelta) -> None:
    """Make the queued messages older."""
    with unit_of_work(engine) as session:
        for message in session.scalars(select(Notification).where(Notification.next_attempt_at.is_not(None))):
            session.execute(
                update(Notification)
                .where(Notification.id == message.id)
                .values(
                    created_at=message.created_at - by,
                    next_attempt_at=(message.next_attempt_at or message.created_at) - by,
                    leased_until=message.leased_until - by if message.leased_until else None,
                )
                .execution_options(synchronize_session=False)
            )
