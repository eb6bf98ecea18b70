"""The actions and reasons that audit events record. The values are stored and never change."""

from enum import StrEnum


class Action(StrEnum):
    """What was done."""

    CREATED = "created"
    EDITED = "edited"
    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"
    SECRET_CHANGED = "secret changed"  # noqa: S105 - the name of an action
    SECRET_ENDED = "secret ended"  # noqa: S105 - the name of an action
    SECRET_PAUSED = "secret paused"  # noqa: S105 - the name of an action
    SECRET_RESUMED = "secret resumed"  # noqa: S105 - the name of an action
    END_DATE_SET = "end date set"
    CLIENT_KEY_ADDED = "client key added"
    CLIENT_KEY_ENDED = "client key ended"
    CLIENT_KEY_PAUSED = "client key paused"
    CLIENT_KEY_RESUMED = "client key resumed"
    CLIENT_KEY_END_DATE_SET = "client key end date set"
    NETWORKS_CHANGED = "networks changed"
    REFUSED = "refused"
    """An attempt was refused, for a `RefusalReason`."""
    EXPORTED = "exported"
    REVIEWED = "reviewed"
    TOKENS_REVOKED = "tokens revoked"
    SECRET_TESTED = "secret tested"  # noqa: S105 - the name of an action
    """A person tried a token request on the screens."""
    SETTINGS_CHANGED = "settings changed"
    """A setting of the account was changed."""
    NOTIFICATION_TARGET_ADDED = "notification target added"
    NOTIFICATION_TARGET_CHANGED = "notification target changed"
    NOTIFICATION_TARGET_REMOVED = "notification target removed"
    WEBHOOK_SECRET_CHANGED = "webhook secret changed"  # noqa: S105 - the name of an action
    KEY_CREATED = "key created"
    KEY_ROTATED = "key rotated"
    KEY_WITHDRAWN = "key withdrawn"
    RESOURCE_SERVER_ADDED = "resource server added"
    RESOURCE_SERVER_REMOVED = "resource server removed"
    CHECKPOINT_SIGNED = "checkpoint signed"
    """A checkpoint of an account's audit log, or of the platform's, was signed."""
    PURGED = "purged"


class Kind(StrEnum):
    """A kind of change, as a filter: events with one of several actions, or edits of one field."""

    ROLES_CHANGED = "roles-changed"
    SECRETS_CHANGED = "secrets-changed"
    KEYS_CHANGED = "keys-changed"
    STATUS_CHANGED = "status-changed"
    CREATED_OR_DELETED = "created-or-deleted"


class RefusalReason(StrEnum):
    """Why an attempt was refused."""

    FORBIDDEN = "not allowed"
    """No role of the actor allows it."""
    FEATURE_OFF = "feature off"
    OTHER_SITE = "other site"
    FORM_EXPIRED = "form expired"
    """The CSRF token was missing or invalid."""
    STALE_VERSION = "stale version"
    SIGN_IN_TOO_OLD = "sign-in too old"
    THROTTLED = "throttled"
