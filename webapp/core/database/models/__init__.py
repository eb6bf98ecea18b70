"""The tables. Every name begins with `identity_client`, so that they can share the host's database.

* `base`: the declarative base
* `accounts`, `clients`, `tokens`, `usage`, `audit`, `notifications`, `idempotency`: the tables of the part of core of
  this name
* `client_list`: the tables by which the list of clients is searched and filtered

Import the classes from this package: all of them are loaded together, which their relationships need.
"""

from .accounts import ACCOUNT_ID_MAX, Account, KeysOnlyRole
from .audit import AuditChain, AuditEvent, AuditEventHash, has_change
from .base import Base, new_id, utc_now
from .client_list import NO_END, AttentionPeriod, ClientRole, ClientSearchText, ClientTag, RefusalDay
from .clients import (
    DESCRIPTION_MAX,
    NAME_MAX,
    NAME_MIN,
    OWNER_MAX,
    OWNER_MIN,
    REVIEW_NOTE_MAX,
    TAG_MAX,
    TAGS_MAX,
    TOKEN_DURATION_MAX_MINUTES,
    TOKEN_DURATION_MIN_MINUTES,
    ClaimedClientId,
    ClientKey,
    ClientSecret,
    Credential,
    IdentityClient,
    SecretState,
    is_of_account,
    secret_state,
)
from .idempotency import IdempotentResponse
from .notifications import (
    NOTIFICATION_ADDRESS_MAX,
    NOTIFICATION_ERROR_MAX,
    AttentionNotice,
    Notification,
    NotificationTarget,
)
from .tokens import ResourceServer, RevokedToken, StoredSigningKey, UsedAssertion
from .usage import SCOPE_MAX, CallerAddress, TokenRequest, TokenRequestCount

__all__ = [
    "ACCOUNT_ID_MAX",
    "DESCRIPTION_MAX",
    "NAME_MAX",
    "NAME_MIN",
    "NOTIFICATION_ADDRESS_MAX",
    "NOTIFICATION_ERROR_MAX",
    "NO_END",
    "OWNER_MAX",
    "OWNER_MIN",
    "REVIEW_NOTE_MAX",
    "SCOPE_MAX",
    "TAGS_MAX",
    "TAG_MAX",
    "TOKEN_DURATION_MAX_MINUTES",
    "TOKEN_DURATION_MIN_MINUTES",
    "Account",
    "AttentionNotice",
    "AttentionPeriod",
    "AuditChain",
    "AuditEvent",
    "AuditEventHash",
    "Base",
    "CallerAddress",
    "ClaimedClientId",
    "ClientKey",
    "ClientRole",
    "ClientSearchText",
    "ClientSecret",
    "ClientTag",
    "Credential",
    "IdempotentResponse",
    "IdentityClient",
    "KeysOnlyRole",
    "Notification",
    "NotificationTarget",
    "RefusalDay",
    "ResourceServer",
    "RevokedToken",
    "SecretState",
    "StoredSigningKey",
    "TokenRequest",
    "TokenRequestCount",
    "UsedAssertion",
    "has_change",
    "is_of_account",
    "new_id",
    "secret_state",
    "utc_now",
]
