"""What a host may listen to, such as to send mail. Told when the change is committed, never before.

Every receiver gets the engine on which it happened as sender, and by keyword `account_id`, `client_key` (our own key, a
UUID), `client_id`, `actor_id`, `actor_label`, `action` (as in the trail) and `at`; `attention` its own, see below. No
signal ever carries a secret. A receiver that raises is logged and holds nobody up. Receivers are held weakly:

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
created = namespace.signal("created", "A client was made.")
changed = namespace.signal("changed", "A client was edited, its networks were changed, or its tokens were revoked.")
enabled = namespace.signal("enabled", "A client was enabled.")
disabled = namespace.signal("disabled", "A client was disabled.")
deleted = namespace.signal("deleted", "A client was deleted.")
secret_changed = namespace.signal("secret_changed", "A client has a new secret, or one of its secrets another state.")
attention = namespace.signal(
    "attention",
    "A client needs attention, for a reason that is new. By keyword: `account_id`, `client_key`, `client_id` and"
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
}


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


def send(signal: blinker.Signal, engine: Engine, **facts: Any) -> bool:
    """Send one signal; return whether no receiver raised."""
    heard = True
    for receiver in signal.receivers_for(engine):
        try:
            receiver(engine, **facts)
        except Exception as error:
            heard = False
            LOG.error("a receiver of %s failed", signal, exc_info=error)
    return heard
