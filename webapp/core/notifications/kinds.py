"""The kinds of notifications, and the channels that send them. The values are stored and never change."""

from collections.abc import Mapping
from enum import StrEnum

from ..clients.attention import AttentionReason
from ..i18n import lazy_gettext as _


class Channel(StrEnum):
    """How a target gets its messages."""

    EMAIL = "email"
    WEBHOOK = "webhook"
    OWNER = "owner"
    """E-mail to the owner of the client that a message is about, where the owner is an e-mail address."""


class EventKind(StrEnum):
    """A change of a client of which its account can be notified; also the `type` of a webhook's message."""

    CREATED = "client.created"
    DELETED = "client.deleted"
    SECRET_CHANGED = "secret.changed"  # noqa: S105 - the name of a kind
    SECRET_LEAKED = "secret.leaked"  # noqa: S105 - the name of a kind
    KEY_ADDED = "key.added"
    MONEY_ROLE_ADDED = "role.money_added"


CHECKPOINT = "audit.checkpoint"
"""The daily checkpoint of the account's audit log."""
TEST = "test"
"""A test message, which a person sends to one target."""
_ATTENTION = "attention."


def attention_kind(reason: AttentionReason) -> str:
    """Return the kind of the notifications that a client needs attention for this reason."""
    return f"{_ATTENTION}{reason.value}"


def attention_reason(kind: str) -> AttentionReason | None:
    """Return the reason for attention that a kind is about, None for another kind."""
    reason = kind.removeprefix(_ATTENTION)
    return AttentionReason(reason) if kind != reason and reason in list(AttentionReason) else None


KINDS: tuple[str, ...] = (*EventKind, *map(attention_kind, AttentionReason), CHECKPOINT)
"""Every kind that a target can have, in the order of the screens."""
KIND_LABELS: Mapping[str, str] = {
    # Translators: a kind of notification, as are the next ones.
    EventKind.CREATED: _("A client is created"),
    EventKind.DELETED: _("A client is deleted"),
    EventKind.SECRET_CHANGED: _("A secret is changed"),
    EventKind.SECRET_LEAKED: _("A secret has leaked and is replaced"),
    EventKind.KEY_ADDED: _("A client gets a public key"),
    EventKind.MONEY_ROLE_ADDED: _("A client gets a role that moves money"),
    attention_kind(AttentionReason.ENDING): _("A secret or key ends soon: 30, 14, 7 days and 1 day before"),
    attention_kind(AttentionReason.SECRET): _("A client that moves money has a secret, which the settings forbid"),
    attention_kind(AttentionReason.REFUSED): _("Many token requests are refused"),
    attention_kind(AttentionReason.UNUSED): _("A client was not used in the week after its creation"),
    attention_kind(AttentionReason.IDLE): _("A client has not been used for 90 days"),
    attention_kind(AttentionReason.OLD): _("A secret or key is older than a year"),
    attention_kind(AttentionReason.TWO): _("Two secrets have worked for 30 days"),
    attention_kind(AttentionReason.OVERDUE): _("The access review of a client is overdue"),
    CHECKPOINT: _("A checkpoint of the activity is signed, once a day"),
    TEST: _("Test message"),
}
