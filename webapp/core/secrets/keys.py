"""Add public keys to clients (S11)."""

import uuid
from datetime import datetime

from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.models import ClientKey, IdentityClient, utc_now
from ..errors import FieldError
from ..i18n import gettext
from .client_secrets import SecretsSnapshot, keys_not_ended
from .errors import TooManyKeys
from .public_keys import PublicKey, parse_public_key

KEYS_MAX = 5
"""How many keys of a client may be registered that have not ended."""


def add_key(
    session: Session, *, author: Author, key: uuid.UUID, version: int | None, public_key: str
) -> tuple[IdentityClient, ClientKey]:
    """Add a public key to a client; return the client and the new row. Its secrets and other keys stay as they are.

    :param public_key: a JWK or PEM.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: the client was changed since.
    :raises TooManyKeys: `KEYS_MAX` keys have not ended; the error names the oldest.
    :raises PrivateKeyGiven: it is a private key.
    :raises FieldError: it cannot be used, or is or was a key of the client; the field is `public_key`.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    now = utc_now()
    parsed = parse_public_key(public_key)
    active = keys_not_ended(client, now)
    if len(active) >= KEYS_MAX:
        raise TooManyKeys(detach(session, client), active[0])
    _check_not_registered(parsed, client)
    added = new_client_key(parsed, len(client.keys), author=author, now=now)
    with versioned_change(session, author, client, now):
        client.keys.append(added)
        changes = SecretsSnapshot([], now).difference_to(SecretsSnapshot([added], now))
        changes |= {"thumbprint": [None, parsed.thumbprint], "algorithm": [None, parsed.algorithm]}
        record_event(session, author, Action.CLIENT_KEY_ADDED, client, changes)
    return client, added


def new_client_key(public_key: PublicKey, number: int, *, author: Author, now: datetime) -> ClientKey:
    """Return the row of a client's key.

    :param number: how many keys the client has had before.
    """
    return ClientKey(
        label=str(number + 1),
        thumbprint=public_key.thumbprint,
        algorithm=public_key.algorithm,
        public_jwk=public_key.jwk,
        created_at=now,
        created_by=author.label,
    )


def _check_not_registered(public_key: PublicKey, client: IdentityClient) -> None:
    """Raise FieldError where the key is, or was, one of the client's."""
    for each in client.keys:
        if each.thumbprint == public_key.thumbprint:
            raise FieldError(
                "public_key",
                gettext("This is key %(label)s of the client already. Make a new pair.", label=each.label),
                gettext("Public key is one of the client’s: make a new pair"),
            )
