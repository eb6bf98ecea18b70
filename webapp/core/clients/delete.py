"""Delete a client."""

import uuid

from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.models import utc_now
from ..errors import FieldError
from ..i18n import gettext
from ..secrets.client_secrets import AnyCredential, SecretsSnapshot, keys_not_ended, not_ended


def delete_client(
    session: Session, *, author: Author, key: uuid.UUID, version: int | None, typed_client_id: str
) -> None:
    """Delete a client: end its secrets and keys, and make its tokens inactive; ID and audit log stay.

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
    secrets, keys = not_ended(client, now), keys_not_ended(client, now)
    with versioned_change(session, author, client, now):
        secrets_before, keys_before = SecretsSnapshot(secrets, now), SecretsSnapshot(keys, now)
        client.deleted_at = now
        credentials: list[AnyCredential] = [*secrets, *keys]
        for credential in credentials:
            credential.ends_at = now
        changes = secrets_before.difference_to(SecretsSnapshot(secrets, now))
        if keys:
            changes |= keys_before.difference_to(SecretsSnapshot(keys, now))
        record_event(session, author, Action.DELETED, client, changes)
