"""Write audit events in the form of the class Entity Management (3004) of OCSF."""

from datetime import datetime
from typing import Any

from ..database.models import AuditEvent, AuditEventHash
from .actions import Action
from .chain import canonical_text

SCHEMA_VERSION = "1.6.0"
CLASS, CATEGORY = 3004, 3
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete"), (99, "Other")
_ACTIVITIES = {
    Action.CREATED: _CREATE,
    Action.CLIENT_KEY_ADDED: _CREATE,
    Action.NOTIFICATION_TARGET_ADDED: _CREATE,
    Action.KEY_CREATED: _CREATE,
    Action.RESOURCE_SERVER_ADDED: _CREATE,
    Action.EXPORTED: _READ,
    Action.REVIEWED: _READ,
    Action.DELETED: _DELETE,
    Action.NOTIFICATION_TARGET_REMOVED: _DELETE,
    Action.RESOURCE_SERVER_REMOVED: _DELETE,
    Action.PURGED: _DELETE,
    Action.CHECKPOINT_SIGNED: _OTHER,
    Action.REFUSED: _OTHER,
}
"""The activity of each action that is not an update."""


def ocsf_event(event: AuditEvent, entry: AuditEventHash | None) -> dict[str, Any]:
    """Return an event in OCSF's form. `unmapped` holds what OCSF has no attribute for.

    `raw_data` is the text of which `raw_data_hash` is the hash; it holds the position, also in `metadata.sequence`, and
    the hash before (L8).

    :param entry: its entry in the chain; None for an event from before there was one.
    """
    activity, activity_name = _ACTIVITIES.get(Action(event.action), _UPDATE)
    entity = {"type": "platform", "uid": "identity-clients"}
    if event.client_key is not None:
        entity = {"type": "identity client", "uid": str(event.client_key), "name": event.client_id or ""}
    elif event.account_id is not None:
        entity = {"type": "account", "uid": event.account_id}
    elif event.action == Action.CHECKPOINT_SIGNED and event.changes["account"][1]:
        entity = {"type": "account", "uid": event.changes["account"][1]}
    refused = event.action == Action.REFUSED
    found: dict[str, Any] = {
        "class_uid": CLASS,
        "class_name": "Entity Management",
        "category_uid": CATEGORY,
        "category_name": "Identity & Access Management",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Entity Management: {activity_name}",
        "severity_id": 2 if refused else 1,
        "status_id": 2 if refused else 1,
        "time": _epoch_milliseconds(event.at),
        "metadata": {
            "uid": str(event.id),
            "version": SCHEMA_VERSION,
            "event_code": event.action,
            "product": {"name": "Identity Clients"},
        },
        "actor": {"user": {"uid": event.actor_id, "name": event.actor_label}},
        "entity": entity,
        "unmapped": {"changes": event.changes},
    }
    if event.account_id is not None:
        found["metadata"]["tenant_uid"] = event.account_id
    if event.request_id is not None:
        found["metadata"]["correlation_uid"] = event.request_id
    if event.address is not None:
        found["src_endpoint"] = {"ip": event.address}
    if entry is not None and entry.position is not None and entry.previous_hash is not None:
        found["metadata"]["sequence"] = entry.position
        found["raw_data"] = canonical_text(event, entry.position, entry.previous_hash)
        found["raw_data_hash"] = {"algorithm_id": 3, "algorithm": "SHA-256", "value": entry.hash}
    return found


def _epoch_milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
