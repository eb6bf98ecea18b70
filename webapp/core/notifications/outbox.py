"""Write the messages to an account's targets, in the transaction of what they are about."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..clients.roles import RoleCatalogue
from ..database.models import AuditEvent, IdentityClient, Notification, NotificationTarget, new_id, utc_now
from .kinds import Channel, EventKind
from .mail import is_email_address


class EventOutbox:
    """Writes the messages of an audit event.

    :param catalogue: says which API roles move money.
    """

    def __init__(self, catalogue: RoleCatalogue) -> None:
        self._catalogue = catalogue

    def __call__(self, session: Session, event: AuditEvent, client: IdentityClient | None) -> None:
        """Add the messages of an event to its transaction; most events have none."""
        if client is None or event.account_id is None:
            return
        found = list(self._kinds_of(event))
        targets = targets_of(session, event.account_id) if found else []
        for kind, facts in found:
            add_messages(
                session,
                targets,
                kind=kind,
                client=client,
                facts={"at": event.at.isoformat(), "actor": event.actor_label, **facts},
            )

    def _kinds_of(self, event: AuditEvent) -> Iterator[tuple[EventKind, dict[str, Any]]]:
        changes = event.changes
        match event.action:
            case Action.CREATED:
                yield EventKind.CREATED, {}
            case Action.DELETED:
                yield EventKind.DELETED, {}
            case Action.SECRET_CHANGED:
                is_leaked = changes.get("reason") == [None, "leaked"]
                yield (EventKind.SECRET_LEAKED if is_leaked else EventKind.SECRET_CHANGED), {}
            case Action.CLIENT_KEY_ADDED:
                yield EventKind.KEY_ADDED, {}
            case Action.EDITED if "client_secret" in changes:
                yield EventKind.SECRET_CHANGED, {}
        if event.action in (Action.CREATED, Action.EDITED) and "roles" in changes:
            before, after = changes["roles"]
            added = self._catalogue.difference(before or (), after or ()).added
            roles = [{"key": role.key, "name": role.name} for role in added if role.moves_money]
            if roles:
                yield EventKind.MONEY_ROLE_ADDED, {"roles": roles}


def targets_of(session: Session, account_id: str) -> Sequence[NotificationTarget]:
    """Return the targets of an account."""
    # The client of a change is flushed by its own function, which knows what a violated constraint means.
    with session.no_autoflush:
        return session.scalars(
            select(NotificationTarget)
            .where(NotificationTarget.account_id == account_id, NotificationTarget.removed_at.is_(None))
            .order_by(NotificationTarget.id)
        ).all()


def add_messages(
    session: Session,
    targets: Iterable[NotificationTarget],
    *,
    kind: str,
    client: IdentityClient | None,
    facts: Mapping[str, Any],
) -> None:
    """Add a message to each of an account's targets that gets this kind; without such a target nothing is written.

    :param targets: those that `targets_of` returned in the same transaction.
    :param client: the client that it is about; None if it is about the account as a whole.
    :param facts: what the message says, by name; never a secret.
    """
    wanting = [target for target in targets if kind in target.kinds]
    addresses = {target.address.casefold() for target in wanting}
    about = {"client_key": client.id, "client_id": client.client_id} if client else {}
    for target in wanting:
        recipient = target.address
        if target.channel == Channel.OWNER:
            recipient = client.owner if client else ""
            if not is_email_address(recipient) or recipient.casefold() in addresses:
                continue
        add_message(session, target=target, recipient=recipient, kind=kind, facts=facts, **about)


def add_message(
    session: Session, *, target: NotificationTarget, recipient: str, kind: str, **columns: Any
) -> Notification:
    """Add one message to a target, due now; return it.

    :param columns: of `Notification`, besides those that every new message has.
    """
    now, key = utc_now(), new_id()
    message = Notification(
        **{
            "id": key,
            "message_id": key,
            "account_id": target.account_id,
            "target_id": target.id,
            "recipient": recipient,
            "kind": kind,
            "is_ordered": True,
            "created_at": now,
            "next_attempt_at": now,
            **columns,
        }
    )
    session.add(message)
    return message
