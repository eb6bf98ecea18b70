"""Enable and disable a client."""

import uuid

from sqlalchemy.orm import Session

from .. import client_changes
from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.models import IdentityClient, utc_now


def set_enabled(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    enabled: bool,
    revoke_tokens: bool = False,
) -> IdentityClient:
    """Enable or disable a client and return it; where it is so already nothing is written, whatever the version.

    :param revoke_tokens: also revoke the tokens that were issued to it until now. Those of a disabled client are
        inactive while it is disabled; revoked ones stay inactive.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    if client.enabled != enabled:
        check_version(session, client, version)
        with versioned_change(session, author, client, utc_now()):
            client.enabled = enabled
            action = Action.ENABLED if enabled else Action.DISABLED
            record_event(session, author, action, client, {"enabled": [not enabled, enabled]})
    if revoke_tokens:
        client_changes.revoke_tokens(session, author=author, key=key)
    return client
