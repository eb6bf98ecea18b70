"""Delete a client."""

import uuid

from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.models import utc_now
from ..errors import FieldError
from ..i18n import gettext
from ..secrets.client_secrets import SecretsSnapshot, not_ended


def delete_client(
    session: Session, *, author: Author, key: uuid.UUID, version: int | None, typed_client_id: str
) -> None:
    """Delete a client: end its secrets and make its tokens inactive; its ID stays taken and its audit log stays.

    :param typed_client_id: the client ID as the person typed it to confirm; letter case counts.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises FieldError: another client ID was typed; the field is `confirm`.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    if typed_client_id.strip() != client.client_id:
        raise FieldError(
            "confirm",
            # Translators: client is a client ID.
            gettext("Type %(client)s exactly, with the same capital and small letters.", client=client.client_id),
            gettext("Client ID does not match: type it exactly"),
        )
    now = utc_now()
    active = not_ended(client, now)
    with versioned_change(session, author, client, now):
        before = SecretsSnapshot(active, now)
        client.deleted_at = now
        for secret in active:
            secret.ends_at = now
        record_event(session, author, Action.DELETED, client, before.difference_to(SecretsSnapshot(active, now)))
