"""Signals for the host, such as for sending mail. They are sent after the commit of the change.

The sender is the engine. Receivers get the keyword arguments `account_id`, `client_key` (a UUID), `client_id`,
`actor_id`, `actor_label`, `action` (as in the audit log) and `at`; those of `attention` are listed at the signal. No
signal carries a secret. An exception in a receiver is logged and stops nothing. Receivers are referenced weakly:

    from identity_clients import signals

    @signals.secret_changed.connect
    def tell_owner(engine, *, client_id, actor_label, **_): ...
"""

import logging
from typing import Any

import blinker
from sqlalchemy import Engine

from ..database.models import AuditEvent
from .actions import Action

LOG = logging.getLogger(__name__)
namespace = blinker.Namespace()
created = namespace.signal("created", "A client was created.")
changed = namespace.signal("changed", "A client was edited, its networks were changed, or its tokens were revoked.")
enabled = namespace.signal("enabled", "A client was enabled.")
disabled = namespace.signal("disabled", "A client was disabled.")
deleted = namespace.signal("deleted", "A client was deleted.")
secret_changed = namespace.signal(
    "secret_changed", "A client got a new secret, or the state of one of its secrets changed."
)
key_changed = namespace.signal("key_changed", "A client got a new public key, or the state of one of its keys changed.")
attention = namespace.signal(
    "attention",
    "A client needs attention for a new reason. Keyword arguments: `account_id`, `client_key`, `client_id` and"
    " `attention`, an `Attention`. Sent by `flask identity-clients attention`.",
)
_BY_ACTION = {
    Action.CREATED: created,
    Action.EDITED: changed,
    Action.NETWORKS_CHANGED: changed,
    Action.TOKENS_REVOKED: changed,
    Action.ENABLED: enabled,
    Action.DISABLED: disabled,
    Action.DELETED: deleted,
    Action.SECRET_CHANGED: secret_changed,
    Action.SECRET_ENDED: secret_changed,
    Action.SECRET_PAUSED: secret_changed,
    Action.SECRET_RESUMED: secret_changed,
    Action.END_DATE_SET: secret_changed,
    Action.CLIENT_KEY_ADDED: key_changed,
    Action.CLIENT_KEY_ENDED: key_changed,
    Action.CLIENT_KEY_PAUSED: key_changed,
    Action.CLIENT_KEY_RESUMED: key_changed,
    Action.CLIENT_KEY_END_DATE_SET: key_changed,
}
CHANGES = frozenset(_BY_ACTION)
"""The actions that change a client."""


def send_event_signals(engine: Engine, event: AuditEvent) -> None:
    """Send the signals that belong to a committed audit event."""
    matching = [_BY_ACTION[Action(event.action)]] if event.action in _BY_ACTION else []
    if event.action == Action.EDITED and "client_secret" in event.changes:
        matching.append(secret_changed)
    for signal in matching:
        send(
            signal,
            engine,
            account_id=event.account_id,
            client_key=event.client_key,
            client_id=event.client_id,
            actor_id=event.actor_id,
            actor_label=event.actor_label,
            action=event.action,
            at=event.at,
        )


def send(signal: blinker.Signal, engine: Engine, **arguments: Any) -> bool:
    """Send a signal to every receiver; return whether none of them raised an exception."""
    succeeded = True
    for receiver in signal.receivers_for(engine):
        try:
            receiver(engine, **arguments)
        except Exception as error:
            succeeded = False
            LOG.error("a receiver of the signal %s failed", signal, exc_info=error)
    return succeeded
