"""List the messages of an account, send a test, and send a message again."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from ..audit.events import Author
from ..database.cursors import decode_cursor, encode_cursor
from ..database.models import Notification, NotificationTarget, utc_now
from ..errors import NotFound
from ..rate_limits.limits import RateLimits
from .kinds import TEST, Channel
from .outbox import add_message
from .targets import get_target

PAGE_SIZE = 25


class DeliveryState(StrEnum):
    """The state of a message."""

    WAITING = "waiting"
    RETRYING = "retrying"
    """At least one attempt failed, and another one follows."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """It was given up."""


def state_of(message: Notification) -> DeliveryState:
    """Return the state of a message."""
    if message.delivered_at is not None:
        return DeliveryState.DELIVERED
    if message.next_attempt_at is None:
        return DeliveryState.FAILED
    return DeliveryState.RETRYING if message.attempts else DeliveryState.WAITING


@dataclass(frozen=True, slots=True)
class LogPage:
    """One page of messages, newest first, with their targets.

    :param next_cursor: the value of `after` for the older page; None on the last page.
    """

    messages: Sequence[Notification]
    next_cursor: str | None


def list_messages(session: Session, *, account_id: str, after: str = "") -> LogPage:
    """Return a page of the account's messages; an invalid cursor gives the first page (I4).

    :param after: the cursor of the page before.
    """
    rows = (
        select(Notification)
        .where(Notification.account_id == account_id)
        .options(joinedload(Notification.target))
        .order_by(Notification.id.desc())
        .limit(PAGE_SIZE + 1)
    )
    position = _position(after)
    if position is not None:
        rows = rows.where(Notification.id < position)
    found = session.scalars(rows).all()
    is_last = len(found) <= PAGE_SIZE
    return LogPage(found[:PAGE_SIZE], None if is_last else encode_cursor(found[PAGE_SIZE - 1].id.hex))


def send_test(session: Session, *, author: Author, target_id: uuid.UUID, rate_limits: RateLimits) -> NotificationTarget:
    """Add a test message to a target, which does not wait for others and is tried once; return the target.

    :raises NotFound: the account has no such target, or it is the owners, who have no address of their own.
    :raises RateLimited: the author has sent too many in this hour.
    """
    target = get_target(session, account_id=author.account_id, target_id=target_id)
    if target.channel == Channel.OWNER:
        raise NotFound
    rate_limits.count_test_message(author.actor_id)
    facts = {"at": utc_now().isoformat(), "actor": author.label}
    add_message(session, target=target, recipient=target.address, kind=TEST, facts=facts, is_ordered=False)
    return target


def get_message(session: Session, *, account_id: str, key: uuid.UUID) -> Notification:
    """Return a message of the account that can be sent again, with its target.

    :raises NotFound: the account has no such message, or its target was removed, or it is still tried.
    """
    message = session.scalar(
        select(Notification)
        .where(Notification.id == key, Notification.account_id == account_id)
        .options(joinedload(Notification.target))
    )
    if message is None or message.next_attempt_at is not None or message.target.removed_at is not None:
        raise NotFound
    return message


def send_again(session: Session, *, author: Author, key: uuid.UUID, rate_limits: RateLimits) -> Notification:
    """Add a repetition of a message that was delivered or given up, with the same ID for its receiver; return it.

    :raises NotFound: the account has no such message, or its target was removed, or it is still tried.
    :raises RateLimited: the author has sent too many in this hour.
    """
    message = get_message(session, account_id=author.account_id, key=key)
    rate_limits.count_test_message(author.actor_id)
    return add_message(
        session,
        target=message.target,
        kind=message.kind,
        message_id=message.message_id,
        recipient=message.recipient,
        client_key=message.client_key,
        client_id=message.client_id,
        facts=message.facts,
        is_ordered=False,
    )


def _position(cursor: str) -> uuid.UUID | None:
    parts = decode_cursor(cursor, 1)
    try:
        return uuid.UUID(hex=parts[0]) if parts else None
    except ValueError:
        return None
