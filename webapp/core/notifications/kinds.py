"""The kinds of notifications, and the channels that send them. The values are stored and never change."""

from enum import StrEnum

from ..clients.attention import AttentionReason


class Channel(StrEnum):
    """How a target gets its messages."""

    EMAIL = "email"
    WEBHOOK = "webhook"


class EventKind(StrEnum):
    """A change of a client of which its account can be notified; also the `type` of a webhook's message."""

    CREATED = "client.created"
    DELETED = "client.deleted"
    SECRET_CHANGED = "secret.changed"  # noqa: S105 - the name of a kind
    SECRET_LEAKED = "secret.leaked"  # noqa: S105 - the name of a kind
    MONEY_ROLE_ADDED = "role.money_added"


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


KINDS: tuple[str, ...] = (*EventKind, *map(attention_kind, AttentionReason))
"""Every kind that a target can have, in the order of the screens."""
