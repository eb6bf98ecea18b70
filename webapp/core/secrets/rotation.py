"""Change the secret of a client."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from .. import client_changes
from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.models import ClientSecret, IdentityClient, utc_now
from ..errors import FieldError
from ..i18n import gettext
from .client_secrets import SecretsSnapshot, new_secret, not_ended
from .errors import TwoActiveSecrets
from .hashing import SecretHasher, StoredHash
from .policy import check_chosen_secret


class Overlap(StrEnum):
    """When the old secret ends after Change secret; the value is what the form posts."""

    NOW = "now"
    HOUR = "1h"
    DAY = "24h"
    WEEK = "7d"

    def after(self, now: datetime) -> datetime:
        """Return the moment at which the old secret ends."""
        return now + _OVERLAPS[self]


_OVERLAPS = {
    Overlap.NOW: timedelta(0),
    Overlap.HOUR: timedelta(hours=1),
    Overlap.DAY: timedelta(days=1),
    Overlap.WEEK: timedelta(days=7),
}


# The next secret


def change_secret(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret: str,
    overlap: Overlap,
    hasher: SecretHasher,
    end_older: bool = False,
    revoke_tokens: bool = False,
    refuse_weak: bool = False,
) -> tuple[IdentityClient, ClientSecret]:
    """Give a client its next secret, and the one before it an end; return the client and the new secret's row.

    :param secret: the new one in the clear, as it was chosen or generated.
    :param overlap: how long the one before stays; an end date that it had gives way to this one.
    :param end_older: where two have not ended, end the older one now.
    :param revoke_tokens: revoke the tokens that the client got until now as well.
    :param refuse_weak: refuse a weak secret (S4).
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since, by this very POST perhaps: no secret is set, or shown, twice (S7).
    :raises TwoSecrets: two have not ended; the older one would have to end first.
    :raises FieldError: the secret is malformed, weak where that is refused, or one that the client has.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    now = utc_now()
    kept = not_ended(client, now)
    if len(kept) > 1 and not end_older:
        raise TwoActiveSecrets(detach(session, client), kept[0])
    added = _next_secret(client, kept, secret, author=author, hasher=hasher, refuse_weak=refuse_weak, now=now)
    with versioned_change(session, author, client, now):
        before = SecretsSnapshot(kept, now)
        for older in kept[:-1]:
            older.ends_at = now
        for previous in kept[-1:]:
            previous.ends_at = overlap.after(now)
        client.secrets.append(added)
        record_event(
            session, author, Action.SECRET_CHANGED, client, before.difference_to(SecretsSnapshot([*kept, added], now))
        )
        if revoke_tokens:
            client_changes.revoke_tokens(session, author=author, key=key)
    return client, added


def replace_leaked_secret(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret: str,
    hasher: SecretHasher,
    refuse_weak: bool = False,
) -> tuple[IdentityClient, ClientSecret]:
    """End every secret of a client now, revoke the tokens that it got, and give it a new secret; return both.

    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since, by this very POST perhaps.
    :raises FieldError: the secret is malformed, weak where that is refused, or one that the client has.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    now = utc_now()
    kept = not_ended(client, now)
    added = _next_secret(client, kept, secret, author=author, hasher=hasher, refuse_weak=refuse_weak, now=now)
    reason = {"reason": [None, "leaked"]}
    with versioned_change(session, author, client, now):
        for each in kept:
            before = SecretsSnapshot([each], now)
            each.ends_at = now
            changes = before.difference_to(SecretsSnapshot([each], now))
            record_event(session, author, Action.SECRET_ENDED, client, changes | reason)
        client_changes.revoke_tokens(session, author=author, key=key)
        client.secrets.append(added)
        changes = SecretsSnapshot([], now).difference_to(SecretsSnapshot([added], now))
        record_event(session, author, Action.SECRET_CHANGED, client, changes | reason)
    return client, added


def _next_secret(
    client: IdentityClient,
    kept: Sequence[ClientSecret],
    secret: str,
    *,
    author: Author,
    hasher: SecretHasher,
    refuse_weak: bool,
    now: datetime,
) -> ClientSecret:
    chosen = check_chosen_secret(secret, client.client_id, client.name, refuse_weak=refuse_weak)
    for each in kept:
        if hasher.verify(chosen, StoredHash(each.secret_hash, each.pepper_version)):
            raise FieldError(
                "client_secret",
                gettext(
                    "This is secret %(label)s, which is to be replaced. Choose another, or press Generate new.",
                    label=each.label,
                ),
                gettext("New secret is the old one: choose another, or press Generate new"),
            )
    return new_secret(chosen, len(client.secrets), hasher=hasher, author=author, now=now)
