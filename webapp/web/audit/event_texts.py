"""Describe audit events as text.

Events outlive the code that wrote them, so an unknown action is shown as it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.audit.actions import Action
from ...core.clients.roles import RoleCatalogue
from ...core.database.models import AuditEvent
from ...core.i18n import gettext, lazy_gettext
from ...core.notifications.kinds import KIND_LABELS, Channel
from ..i18n.times import Times
from .event_changes import Change, changes_of, to_text
from .event_labels import ACTION_LABELS, ATTEMPTS, FILTER_LABELS, KIND_OF_CHANGE_LABELS, REFUSAL_REASONS, SENTENCES

# Translators: action is a word of a later version that has no text yet.
_UNKNOWN = lazy_gettext("<b>%(who)s</b>: %(action)s")
_EXPORTED: Mapping[str, str] = {
    "clients": lazy_gettext("<b>%(who)s</b> exported the list of clients"),
    "access review": lazy_gettext("<b>%(who)s</b> exported the access review"),
    "token requests": lazy_gettext("<b>%(who)s</b> exported the token requests"),
}
_SETTINGS: Mapping[str, tuple[str, str]] = {
    "management_api": (
        lazy_gettext("<b>%(who)s</b> allowed the management API"),
        lazy_gettext("<b>%(who)s</b> no longer allows the management API"),
    ),
    "strict_assertions": (
        lazy_gettext("<b>%(who)s</b> let only strict assertions be accepted"),
        lazy_gettext("<b>%(who)s</b> let other than strict assertions be accepted again"),
    ),
    "keys_only": (
        lazy_gettext("<b>%(who)s</b> forbade secrets to clients that move money"),
        lazy_gettext("<b>%(who)s</b> allowed secrets to clients that move money again"),
    ),
}
"""The sentences where a setting of the account was switched on, and off."""
_TESTED = lazy_gettext("<b>%(who)s</b> tested a secret, which gets tokens")
_COPIED = lazy_gettext("<b>%(who)s</b> created the client as a copy of %(source)s")
_ONE_FIELD: Mapping[str, str] = {
    "client_id": lazy_gettext("<b>%(who)s</b> changed the client ID"),
    "name": lazy_gettext("<b>%(who)s</b> changed the client name"),
    "description": lazy_gettext("<b>%(who)s</b> changed the description"),
    "token_duration_minutes": lazy_gettext("<b>%(who)s</b> changed the token duration"),
    "roles": lazy_gettext("<b>%(who)s</b> changed the roles"),
    "owner": lazy_gettext("<b>%(who)s</b> changed the owner"),
    "tags": lazy_gettext("<b>%(who)s</b> changed the tags"),
    "client_secret": SENTENCES[Action.SECRET_CHANGED],
}
"""The sentence of an edit that changed a single field."""
_NAME_THE_FIELD = (Action.ENABLED, Action.DISABLED, Action.NETWORKS_CHANGED)
"""Actions whose sentence names the changed field."""
_REASONS: Mapping[str, str] = {"leaked": lazy_gettext("The secret had leaked.")}
_TARGET_ACTIONS = (
    Action.NOTIFICATION_TARGET_ADDED,
    Action.NOTIFICATION_TARGET_CHANGED,
    Action.NOTIFICATION_TARGET_REMOVED,
    Action.WEBHOOK_SECRET_CHANGED,
)
_TARGET_LABELS: Mapping[str, str] = {
    # Translators: where notifications are sent: an e-mail address or a URL.
    "target": lazy_gettext("Address"),
    # Translators: the kinds of notifications that an address gets.
    "kinds": lazy_gettext("Messages"),
}


@dataclass(frozen=True, slots=True)
class EventText:
    """An audit event as text.

    :param sentence: a message with variables.
    :param changes: the changes, in the order of the fields on the screens.
    :param note: the reason, or empty.
    :param folded: whether the changes are shown on demand only.
    """

    event: AuditEvent
    sentence: str
    variables: Mapping[str, str]
    changes: tuple[Change, ...]
    note: str = ""
    folded: bool = False


def describe_event(event: AuditEvent, *, times: Times, catalogue: RoleCatalogue) -> EventText:
    """Return the text of an event."""
    stored = dict(event.changes) if isinstance(event.changes, dict) else {"": event.changes}
    sentence, variables = SENTENCES.get(event.action, _UNKNOWN), {"who": event.actor_label, "action": event.action}
    note, labelled = _text_of(_REASONS, stored, "reason"), event.action not in _NAME_THE_FIELD
    if event.action == Action.REFUSED:
        attempt = to_text(_take(stored, "attempt")) or ""
        # Translators: a page without a text of its own; the value of %(attempt)s.
        variables["attempt"] = str(ATTEMPTS.get(attempt) or gettext("use “%(page)s”", page=attempt))
        note = _text_of(REFUSAL_REASONS, stored, "refusal")
    elif event.action == Action.CREATED and (source := to_text(_take(stored, "copied_from"))):
        sentence, variables["source"] = _COPIED, source
    elif event.action == Action.SECRET_TESTED:
        sentence = _TESTED if _take(stored, "issued") else sentence
    elif event.action == Action.SETTINGS_CHANGED and (
        setting := next((name for name in stored if name in _SETTINGS), None)
    ):
        switched_on, switched_off = _SETTINGS[setting]
        sentence = switched_on if _take(stored, setting) else switched_off
    elif event.action == Action.EXPORTED:
        sentence = _EXPORTED.get(to_text(_take(stored, "of")) or "", sentence)
        stored = _filters(_take(stored, "filters")) | stored
    elif event.action == Action.EDITED and len(stored) == 1:
        [name] = stored
        sentence, labelled = _ONE_FIELD.get(name, sentence), name not in _ONE_FIELD
    elif event.action in _TARGET_ACTIONS:
        stored = {str(_TARGET_LABELS.get(name, name)): _target_change(pair) for name, pair in stored.items()}
    changes = changes_of(stored, times=times, catalogue=catalogue, labelled=labelled)
    return EventText(event, sentence, variables, changes, note, folded=event.action == Action.CREATED)


def _take(stored: dict[str, Any], name: str) -> Any:
    """Remove a field from the stored changes, and return its value after the event."""
    pair = stored.pop(name, None)
    return pair[1] if isinstance(pair, list) and len(pair) == 2 else pair


def _text_of(texts: Mapping[str, str], stored: dict[str, Any], name: str) -> str:
    value = to_text(_take(stored, name)) or ""
    return str(texts.get(value, value))


def _target_change(pair: Any) -> Any:
    """Return the change of a target with the labels of its kinds."""
    return [_target_text(side) for side in pair] if isinstance(pair, list) else pair


def _target_text(side: Any) -> Any:
    if side == Channel.OWNER:
        return gettext("Owners of clients")
    if not isinstance(side, list) or not all(isinstance(kind, str) for kind in side):
        return side
    return "; ".join(str(KIND_LABELS.get(kind, kind)) for kind in side)


def _filters(filters: Any) -> dict[str, Any]:
    """Return the filters of an export as changes, by their labels."""
    if not isinstance(filters, dict):
        return {"filters": filters} if filters is not None else {}
    return {str(FILTER_LABELS.get(name, name)): [None, _filter(name, value)] for name, value in filters.items()}


def _filter(name: str, value: Any) -> Any:
    labels = {**KIND_OF_CHANGE_LABELS, **ACTION_LABELS}
    return str(labels.get(value, value)) if name == "action" and isinstance(value, str) else value
