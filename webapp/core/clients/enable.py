"""Enable and disable a client."""

import uuid

from sqlalchemy.orm import Session

from .. import client_changes
from ..audit.actions import Action
from ..audit.events import Author
from ..client_changes import check_version, get_client
from ..database.models import IdentityClient, utc_now
from .edit import write_fields


def set_enabled(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    enabled: bool,
    revoke_tokens: bool = False,
) -> IdentityClient:
    """Enable or disable a client; where it is so already it stays as it is, whatever the version.

    :param revoke_tokens: revoke the tokens that it got until now as well. Those of a disabled client do not count while
        it is disabled; revoked ones never count again.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    if client.enabled != enabled:
        check_version(session, client, version)
        action = Action.ENABLED if enabled else Action.DISABLED
        client = write_fields(session, author, action, client, {"enabled": enabled}, utc_now())
    if revoke_tokens:
        client_changes.revoke_tokens(session, author=author, key=key)
    return client
