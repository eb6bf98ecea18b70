"""The actions and reasons that stand in the audit log."""

from enum import StrEnum


class Action(StrEnum):
    """What an event tells; the value is stored, so it never changes its meaning."""

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
    NETWORKS_CHANGED = "networks changed"
    REFUSED = "refused"
    """Somebody tried what they may not do, or came too late."""
    EXPORTED = "exported"
    TOKENS_REVOKED = "tokens revoked"
    KEY_CREATED = "key created"
    KEY_ROTATED = "key rotated"
    KEY_WITHDRAWN = "key withdrawn"
    RESOURCE_SERVER_ADDED = "resource server added"
    RESOURCE_SERVER_REMOVED = "resource server removed"
    PURGED = "purged"


class RefusalReason(StrEnum):
    """Why somebody was refused; the value is stored, so it never changes."""

    FORBIDDEN = "not allowed"
    """They have no role for it."""
    FEATURE_OFF = "feature off"
    OTHER_SITE = "other site"
    FORM_EXPIRED = "form expired"
    """The CSRF token was missing, or not theirs."""
    STALE_VERSION = "stale version"
    SIGN_IN_TOO_OLD = "sign-in too old"
    THROTTLED = "throttled"
