"""Change from where a client may call."""

import uuid

from sqlalchemy.orm import Session

from . import audit
from .audit import Action, Author
from .changes import changing, get_client, refuse_stale
from .errors import FieldError, InvalidFields
from .models import IdentityClient, utc_now
from .networks import check_networks


def set_networks(session: Session, *, author: Author, key: uuid.UUID, version: int | None, text: str) -> IdentityClient:
    """Let a client call from these networks only; where nothing differs nothing is written.

    :param text: one on each line, as `networks.check_networks` reads it; empty: it may call from anywhere (A8).
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises InvalidFields: lines that name no network (I3).
    """
    client = get_client(session, account_id=author.account_id, key=key)
    refuse_stale(session, client, version)
    try:
        networks = check_networks(text)
    except FieldError as error:
        raise InvalidFields([error]) from None
    before = client.allowed_networks
    if networks != before:
        with changing(session, author, client, utc_now()):
            client.allowed_networks = networks
            changes = {"allowed_networks": [list(map(str, before)), list(map(str, networks))]}
            audit.record(session, author, Action.NETWORKS_CHANGED, client, changes)
    return client
