"""Add, edit and remove the targets of an account's notifications."""

import ipaddress
import re
import uuid
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from functools import partial
from urllib.parse import urlsplit

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import StaleDataError

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..database.models import NOTIFICATION_ADDRESS_MAX, Account, Notification, NotificationTarget, new_id, utc_now
from ..errors import DomainError, FieldError, InvalidFields, NotFound
from ..i18n import gettext
from ..secrets.generation import Secret
from .kinds import KINDS, Channel
from .mail import is_email_address
from .webhook_secrets import WebhookSecretStorage, generate_webhook_secret
from .webhooks import is_public

TARGETS_MAX = 20
"""How many targets an account can have."""
SECRET_OVERLAP = timedelta(hours=24)
"""How long the secret before goes on signing beside a new one."""
_PRINTABLE = re.compile(r"[!-~]+")


class StaleTarget(DomainError):
    """The change was based on a version of the target that is no longer the newest; nothing was changed (I7).

    :param current: the target as it is now, detached from the session.
    """

    def __init__(self, current: NotificationTarget) -> None:
        super().__init__("stale target")
        self.current = current


class TargetService:
    """Adds, edits and removes targets. A method is bound to the account of its author, and writes an audit event.

    :param storage: encrypts the secrets of webhooks.
    :param sends_mail: whether the platform has a mail server.
    :param allow_private: whether a webhook may be on a private network, and without TLS.
    """

    def __init__(self, storage: WebhookSecretStorage, *, sends_mail: bool, allow_private: bool) -> None:
        self._storage = storage
        self.sends_mail = sends_mail
        self._allow_private = allow_private

    def add(
        self, session: Session, *, author: Author, channel: Channel, address: str, kinds: Collection[str]
    ) -> tuple[NotificationTarget, Secret | None]:
        """Add a target; return it, and the secret of a webhook, which is shown once.

        :param address: an e-mail address or a URL; of no meaning for OWNER.
        :raises InvalidFields: an address or a kind is not allowed, or the account has the target already, or 20.
        """
        # Locked, so that concurrent additions count each other.
        session.execute(select(Account.id).where(Account.id == author.account_id).with_for_update())
        address = "" if channel is Channel.OWNER else address.strip()
        targets = list_targets(session, author.account_id)
        _raise_all(
            partial(self._check_address, channel, address),
            partial(_check_not_there, channel, address, targets),
            partial(_check_number, targets),
            partial(_check_kinds, kinds),
        )
        now, target_id = utc_now(), new_id()
        secret = generate_webhook_secret() if channel is Channel.WEBHOOK else None
        target = NotificationTarget(
            id=target_id,
            account_id=author.account_id,
            channel=channel.value,
            address=address,
            kinds=frozenset(kinds),
            secret_encrypted=self._storage.encrypt(secret, target_id) if secret else None,
            created_at=now,
            created_by=author.label,
            updated_at=now,
            updated_by=author.label,
        )
        session.add(target)
        session.flush()
        _record(session, author, Action.NOTIFICATION_TARGET_ADDED, target, kinds=[None, sorted(kinds)])
        return target, secret

    def edit(
        self, session: Session, *, author: Author, target_id: uuid.UUID, version: int | None, kinds: Collection[str]
    ) -> NotificationTarget:
        """Set the kinds that a target gets; return it.

        :raises NotFound: the account has no such target.
        :raises StaleTarget: it was changed since.
        :raises FieldError: no kind is chosen, or an unknown one.
        """
        target = get_target(session, account_id=author.account_id, target_id=target_id)
        _check_version(session, target, version)
        _check_kinds(kinds)
        before = sorted(target.kinds)
        if frozenset(kinds) != target.kinds:
            target.kinds = frozenset(kinds)
            _touch(session, author, target, utc_now())
            _record(session, author, Action.NOTIFICATION_TARGET_CHANGED, target, kinds=[before, sorted(kinds)])
        return target

    def remove(self, session: Session, *, author: Author, target_id: uuid.UUID, version: int | None) -> None:
        """Remove a target; the messages that wait for it are never sent.

        :raises NotFound: the account has no such target.
        :raises StaleTarget: it was changed since.
        """
        target = get_target(session, account_id=author.account_id, target_id=target_id)
        _check_version(session, target, version)
        now = utc_now()
        target.removed_at = now
        target.secret_encrypted = target.previous_secret_encrypted = target.previous_secret_ends_at = None
        _touch(session, author, target, now)
        session.execute(
            update(Notification)
            .where(Notification.target_id == target.id, Notification.next_attempt_at.is_not(None))
            .values(next_attempt_at=None, lease=None, leased_until=None, last_error="The target was removed.")
            .execution_options(synchronize_session=False)
        )
        _record(session, author, Action.NOTIFICATION_TARGET_REMOVED, target)

    def change_secret(
        self, session: Session, *, author: Author, target_id: uuid.UUID, version: int | None
    ) -> tuple[NotificationTarget, Secret]:
        """Give a webhook a new secret; return it, to be shown once. The one before signs too for another 24 hours.

        :raises NotFound: the account has no such webhook.
        :raises StaleTarget: it was changed since, perhaps by a repeat of this POST.
        """
        target = get_target(session, account_id=author.account_id, target_id=target_id)
        if target.channel != Channel.WEBHOOK:
            raise NotFound
        _check_version(session, target, version)
        now, secret = utc_now(), generate_webhook_secret()
        target.previous_secret_encrypted = target.secret_encrypted
        target.previous_secret_ends_at = now + SECRET_OVERLAP
        target.secret_encrypted = self._storage.encrypt(secret, target.id)
        _touch(session, author, target, now)
        _record(session, author, Action.WEBHOOK_SECRET_CHANGED, target)
        return target, secret

    def _check_address(self, channel: Channel, address: str) -> None:
        if channel is Channel.WEBHOOK:
            _check_url(address, allow_private=self._allow_private)
        elif not self.sends_mail:
            raise FieldError("address", gettext("This platform has no mail server, so it cannot send e-mail."))
        elif channel is Channel.EMAIL and not is_email_address(address):
            raise FieldError("address", gettext("Give an e-mail address, such as hannah@company.example."))


def list_targets(session: Session, account_id: str) -> Sequence[NotificationTarget]:
    """Return the targets of an account, in the order of their addition."""
    return session.scalars(
        select(NotificationTarget)
        .where(NotificationTarget.account_id == account_id, NotificationTarget.removed_at.is_(None))
        .order_by(NotificationTarget.id)
    ).all()


def list_failing(session: Session, account_id: str) -> list[NotificationTarget]:
    """Return the targets of an account to which a message could not be delivered for three days."""
    return list(session.scalars(_FAILING, {"account_id": account_id}))


# Built once, since every list of clients asks for it.
_FAILING = (
    select(NotificationTarget)
    .where(
        NotificationTarget.account_id == bindparam("account_id"),
        NotificationTarget.removed_at.is_(None),
        NotificationTarget.given_up_at.is_not(None),
    )
    .order_by(NotificationTarget.id)
)


def get_target(session: Session, *, account_id: str, target_id: uuid.UUID, removed: bool = False) -> NotificationTarget:
    """Return a target of the account.

    :param removed: also return one that was removed.
    :raises NotFound: the account has no such target, whether or not another one has (A3).
    """
    target = session.scalar(
        select(NotificationTarget).where(
            NotificationTarget.id == target_id, NotificationTarget.account_id == account_id
        )
    )
    if target is None or (target.removed_at is not None and not removed):
        raise NotFound
    return target


def shown_address(target: NotificationTarget) -> str:
    """Return the address without the path of a webhook, which may be a secret."""
    if target.channel == Channel.OWNER:
        # Translators: a recipient of notifications.
        return gettext("Owners of clients")
    if target.channel == Channel.EMAIL:
        return target.address
    parts = urlsplit(target.address)
    return f"{parts.scheme}://{parts.netloc}/" + ("…" if parts.path not in ("", "/") or parts.query else "")


def _check_url(address: str, *, allow_private: bool) -> None:
    message = gettext("Give an https address, such as https://hooks.company.example/identity.")
    try:
        parts = urlsplit(address)
        valid = bool(_PRINTABLE.fullmatch(address) and parts.hostname and parts.port != 0)
    except ValueError:
        raise FieldError("address", message) from None
    if len(address) > NOTIFICATION_ADDRESS_MAX:
        raise FieldError("address", gettext("Use at most %(number)s characters.", number=NOTIFICATION_ADDRESS_MAX))
    if not valid or parts.scheme not in (("https", "http") if allow_private else ("https",)):
        raise FieldError("address", message)
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise FieldError("address", gettext("Leave out the user name, the password and the part after #."))
    try:
        literal = ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        literal = None  # a name is checked at each delivery, as it resolves then
    if literal is not None and not allow_private and not is_public(literal):
        raise FieldError("address", gettext("This address is on a private network, where nothing is sent."))


def _check_kinds(kinds: Collection[str]) -> None:
    if not kinds or not set(KINDS).issuperset(kinds):
        raise FieldError("kinds", gettext("Choose at least one kind of message."))


def _check_number(targets: Sequence[NotificationTarget]) -> None:
    if len(targets) >= TARGETS_MAX:
        raise FieldError(
            "address", gettext("An account has at most %(number)s addresses. Remove one first.", number=TARGETS_MAX)
        )


def _check_not_there(channel: Channel, address: str, targets: Sequence[NotificationTarget]) -> None:
    same = {target.address for target in targets if target.channel == channel}
    if address in same or (channel is Channel.EMAIL and address.casefold() in {each.casefold() for each in same}):
        raise FieldError("address", gettext("Messages are sent there already: edit that one."))


def _raise_all(*checks: Callable[[], None]) -> None:
    """Call every check, and raise their errors together.

    :raises InvalidFields: at least one raised a FieldError.
    """
    errors = []
    for check in checks:
        try:
            check()
        except FieldError as error:
            errors.append(error)
    if errors:
        raise InvalidFields(errors)


def _check_version(session: Session, target: NotificationTarget, version: int | None) -> None:
    if version != target.version:
        session.expunge(target)
        raise StaleTarget(target)


def _touch(session: Session, author: Author, target: NotificationTarget, now: datetime) -> None:
    """Write a changed target, by an UPDATE that checks its version.

    :raises StaleTarget: another transaction has changed it since it was loaded.
    """
    target_id = target.id
    target.updated_at, target.updated_by = now, author.label
    try:
        with session.begin_nested():
            session.flush()
    except StaleDataError:
        session.expire_all()
        current = get_target(session, account_id=author.account_id, target_id=target_id, removed=True)
        session.expunge(current)
        raise StaleTarget(current) from None


def _record(
    session: Session, author: Author, action: Action, target: NotificationTarget, **changes: list[object]
) -> None:
    # The text of an event is stored in English, like all that events hold.
    address: list[object] = [None, Channel.OWNER.value if target.channel == Channel.OWNER else shown_address(target)]
    record_event(session, author, action, None, {"target": address, **changes})
