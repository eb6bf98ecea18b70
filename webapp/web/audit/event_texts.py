"""Describe audit events as text.

Events outlive the code that wrote them, so an unknown action is shown as it is stored.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.audit.actions import Action, Kind, RefusalReason
from ...core.clients.roles import RoleCatalogue
from ...core.database.models import AuditEvent
from ...core.i18n import gettext, lazy_gettext
from ...core.notifications.kinds import KIND_LABELS, Channel
from ..i18n.times import Times
from .event_changes import Change, changes_of, to_text

ACTION_LABELS: Mapping[str, str] = {
    # Translators: an event of the audit log, in the list of filters, as are the next ones.
    Action.CREATED: lazy_gettext("Created"),
    Action.EDITED: lazy_gettext("Edited"),
    Action.ENABLED: lazy_gettext("Enabled"),
    Action.DISABLED: lazy_gettext("Disabled"),
    Action.DELETED: lazy_gettext("Deleted"),
    Action.SECRET_CHANGED: lazy_gettext("Secret changed"),
    Action.SECRET_ENDED: lazy_gettext("Secret ended"),
    Action.SECRET_PAUSED: lazy_gettext("Secret paused"),
    Action.SECRET_RESUMED: lazy_gettext("Secret resumed"),
    Action.END_DATE_SET: lazy_gettext("End date changed"),
    Action.CLIENT_KEY_ADDED: lazy_gettext("Key added"),
    Action.CLIENT_KEY_ENDED: lazy_gettext("Key ended"),
    Action.CLIENT_KEY_PAUSED: lazy_gettext("Key paused"),
    Action.CLIENT_KEY_RESUMED: lazy_gettext("Key resumed"),
    Action.CLIENT_KEY_END_DATE_SET: lazy_gettext("End date of a key changed"),
    Action.NETWORKS_CHANGED: lazy_gettext("Addresses changed"),
    Action.REVIEWED: lazy_gettext("Access reviewed"),
    Action.TOKENS_REVOKED: lazy_gettext("Tokens revoked"),
    Action.SECRET_TESTED: lazy_gettext("Secret tested"),
    Action.NOTIFICATION_TARGET_ADDED: lazy_gettext("Notification added"),
    Action.NOTIFICATION_TARGET_CHANGED: lazy_gettext("Notification changed"),
    Action.NOTIFICATION_TARGET_REMOVED: lazy_gettext("Notification removed"),
    Action.WEBHOOK_SECRET_CHANGED: lazy_gettext("Webhook secret changed"),
    Action.REFUSED: lazy_gettext("Refused"),
    Action.EXPORTED: lazy_gettext("Exported"),
    Action.SETTINGS_CHANGED: lazy_gettext("Settings changed"),
}
"""The options of the filter by action."""
KIND_OF_CHANGE_LABELS: Mapping[str, str] = {
    # Translators: a kind of change of a client, in the list of filters, as are the next ones.
    Kind.ROLES_CHANGED: lazy_gettext("Roles changed"),
    Kind.SECRETS_CHANGED: lazy_gettext("Secrets changed"),
    Kind.KEYS_CHANGED: lazy_gettext("Keys changed"),
    Kind.STATUS_CHANGED: lazy_gettext("Enabled or disabled"),
    Action.NETWORKS_CHANGED: lazy_gettext("Allowed addresses changed"),
    Kind.CREATED_OR_DELETED: lazy_gettext("Created or deleted"),
}
"""The options of the filter by action that come first: the questions of an audit."""
SENTENCES: Mapping[str, str] = {
    # Translators: who is the name or e-mail address of a person, also in the next ones.
    Action.CREATED: lazy_gettext("<b>%(who)s</b> created the client"),
    Action.EDITED: lazy_gettext("<b>%(who)s</b> edited the client"),
    Action.ENABLED: lazy_gettext("<b>%(who)s</b> enabled the client"),
    Action.DISABLED: lazy_gettext("<b>%(who)s</b> disabled the client"),
    Action.DELETED: lazy_gettext("<b>%(who)s</b> deleted the client"),
    Action.SECRET_CHANGED: lazy_gettext("<b>%(who)s</b> changed the secret"),
    Action.SECRET_ENDED: lazy_gettext("<b>%(who)s</b> ended a secret"),
    Action.SECRET_PAUSED: lazy_gettext("<b>%(who)s</b> paused a secret"),
    Action.SECRET_RESUMED: lazy_gettext("<b>%(who)s</b> resumed a secret"),
    Action.END_DATE_SET: lazy_gettext("<b>%(who)s</b> changed the end date of a secret"),
    Action.CLIENT_KEY_ADDED: lazy_gettext("<b>%(who)s</b> added a key"),
    Action.CLIENT_KEY_ENDED: lazy_gettext("<b>%(who)s</b> ended a key"),
    Action.CLIENT_KEY_PAUSED: lazy_gettext("<b>%(who)s</b> paused a key"),
    Action.CLIENT_KEY_RESUMED: lazy_gettext("<b>%(who)s</b> resumed a key"),
    Action.CLIENT_KEY_END_DATE_SET: lazy_gettext("<b>%(who)s</b> changed the end date of a key"),
    Action.NETWORKS_CHANGED: lazy_gettext("<b>%(who)s</b> changed the allowed addresses"),
    Action.REVIEWED: lazy_gettext("<b>%(who)s</b> reviewed the access of the client"),
    Action.TOKENS_REVOKED: lazy_gettext("<b>%(who)s</b> revoked every token issued until then"),
    Action.SECRET_TESTED: lazy_gettext("<b>%(who)s</b> tested a secret, which was refused"),
    Action.NOTIFICATION_TARGET_ADDED: lazy_gettext("<b>%(who)s</b> added an address for notifications"),
    Action.NOTIFICATION_TARGET_CHANGED: lazy_gettext("<b>%(who)s</b> changed the messages to an address"),
    Action.NOTIFICATION_TARGET_REMOVED: lazy_gettext("<b>%(who)s</b> removed an address for notifications"),
    Action.WEBHOOK_SECRET_CHANGED: lazy_gettext("<b>%(who)s</b> changed the secret of a webhook"),
    # Translators: attempt is one of the texts from "see the clients" on.
    Action.REFUSED: lazy_gettext("<b>%(who)s</b> tried to %(attempt)s and was refused"),
    Action.EXPORTED: lazy_gettext("<b>%(who)s</b> exported the activity"),
    Action.SETTINGS_CHANGED: lazy_gettext("<b>%(who)s</b> changed the settings"),
    Action.KEY_CREATED: lazy_gettext("<b>%(who)s</b> created a signing key"),
    Action.KEY_ROTATED: lazy_gettext("<b>%(who)s</b> rotated the signing key"),
    Action.KEY_WITHDRAWN: lazy_gettext("<b>%(who)s</b> withdrew a signing key"),
    Action.RESOURCE_SERVER_ADDED: lazy_gettext("<b>%(who)s</b> added a resource server"),
    Action.RESOURCE_SERVER_REMOVED: lazy_gettext("<b>%(who)s</b> removed a resource server"),
    Action.CHECKPOINT_SIGNED: lazy_gettext("<b>%(who)s</b> signed a checkpoint"),
    Action.PURGED: lazy_gettext("<b>%(who)s</b> deleted what was past its retention"),
}
# Translators: action is a word of a later version that has no text yet.
_UNKNOWN = lazy_gettext("<b>%(who)s</b>: %(action)s")
_EXPORTED: Mapping[str, str] = {
    "clients": lazy_gettext("<b>%(who)s</b> exported the list of clients"),
    "access review": lazy_gettext("<b>%(who)s</b> exported the access review"),
    "token requests": lazy_gettext("<b>%(who)s</b> exported the token requests"),
}
# The sentences where a setting of the account was switched on, and off.
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
_TESTED = lazy_gettext("<b>%(who)s</b> tested a secret, which gets tokens")
_COPIED = lazy_gettext("<b>%(who)s</b> created the client as a copy of %(source)s")


# The sentence of an edit that changed a single field.
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

# Actions whose sentence names the changed field.
_NAME_THE_FIELD = (Action.ENABLED, Action.DISABLED, Action.NETWORKS_CHANGED)


REFUSAL_REASONS: Mapping[str, str] = {
    RefusalReason.FORBIDDEN: lazy_gettext("None of their roles allows it."),
    RefusalReason.FEATURE_OFF: lazy_gettext("Identity Clients was not enabled for the account."),
    RefusalReason.OTHER_SITE: lazy_gettext("The request came from another site."),
    RefusalReason.FORM_EXPIRED: lazy_gettext("The form was not from their session."),
    RefusalReason.STALE_VERSION: lazy_gettext("Somebody else had changed the client meanwhile."),
    RefusalReason.SIGN_IN_TOO_OLD: lazy_gettext("Their sign-in was too long ago."),
    RefusalReason.THROTTLED: lazy_gettext("They had tried too often."),
}
ATTEMPTS: Mapping[str, str] = {
    # Translators: what a person tried to do; the value of %(attempt)s, as are the next ones.
    "list": lazy_gettext("see the clients"),
    "new": lazy_gettext("create a client"),
    "new_form": lazy_gettext("create a client"),
    "check": lazy_gettext("fill in a form"),
    "check_roles": lazy_gettext("fill in a form"),
    "details": lazy_gettext("see the client"),
    "menu": lazy_gettext("see the client"),
    "edit": lazy_gettext("edit the client"),
    "edit_form": lazy_gettext("edit the client"),
    "enable": lazy_gettext("enable the client"),
    "disable": lazy_gettext("disable the client"),
    "delete": lazy_gettext("delete the client"),
    "secret": lazy_gettext("change the secret"),
    "secret_form": lazy_gettext("change the secret"),
    "end_secret": lazy_gettext("end a secret"),
    "pause_secret": lazy_gettext("pause a secret"),
    "resume_secret": lazy_gettext("resume a secret"),
    "end_date": lazy_gettext("set the end date of a secret"),
    "leaked": lazy_gettext("replace a leaked secret"),
    "add_key": lazy_gettext("add a key"),
    "end_key": lazy_gettext("end a key"),
    "pause_key": lazy_gettext("pause a key"),
    "resume_key": lazy_gettext("resume a key"),
    "key_end_date": lazy_gettext("set the end date of a key"),
    "revoke_tokens": lazy_gettext("revoke the tokens"),
    "postman": lazy_gettext("see the client"),
    "try_token": lazy_gettext("test a secret"),
    "networks": lazy_gettext("change the allowed addresses"),
    "networks_check": lazy_gettext("check an address"),
    "usage": lazy_gettext("see the token requests"),
    "requests": lazy_gettext("see the token requests"),
    "account_requests": lazy_gettext("see the token requests"),
    "request": lazy_gettext("see a token request"),
    "requests_csv": lazy_gettext("export the token requests"),
    "preview": lazy_gettext("see the token preview"),
    "settings": lazy_gettext("change the settings"),
    "activity": lazy_gettext("see the activity"),
    "client_activity": lazy_gettext("see the activity"),
    "activity_csv": lazy_gettext("export the activity"),
    "clients_csv": lazy_gettext("export the list of clients"),
    "review": lazy_gettext("see the access review"),
    "review_print": lazy_gettext("see the access review"),
    "review_csv": lazy_gettext("export the access review"),
    "review_one": lazy_gettext("review the client"),
    "bulk": lazy_gettext("change several clients"),
    "notifications": lazy_gettext("see the notifications"),
    "add_target": lazy_gettext("add an address for notifications"),
    "edit_target": lazy_gettext("change the messages to an address"),
    "remove_target": lazy_gettext("remove an address for notifications"),
    "target_secret": lazy_gettext("change the secret of a webhook"),
    "test_target": lazy_gettext("send a test message"),
    "send_again": lazy_gettext("send a message again"),
}
"""The refused attempts, by the last part of the endpoint's name."""
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
FILTER_LABELS: Mapping[str, str] = {
    # Translators: who made a change; a column and a filter.
    "person": lazy_gettext("Person"),
    "client": lazy_gettext("Client ID"),
    # Translators: what was done; a filter.
    "action": lazy_gettext("Action"),
    # Translators: the first day of a range of dates.
    "since": lazy_gettext("From"),
    # Translators: the last day of a range of dates.
    "until": lazy_gettext("To"),
    "outcome": lazy_gettext("Result"),
    "secret": lazy_gettext("Secret or key"),
    "address": lazy_gettext("Address"),
    "request_id": lazy_gettext("Request ID"),
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
