"""Set and rotate the secrets of clients."""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from .. import client_changes
from ..account_settings import keys_only_roles
from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.models import NO_END, ClientSecret, IdentityClient, utc_now
from ..errors import FieldError
from ..i18n import gettext
from .client_secrets import SecretsSnapshot, not_ended, secret_label
from .errors import SecretNotAllowed, TwoActiveSecrets
from .generation import Secret, generate_secret
from .hashing import SecretHasher, StoredHash
from .lifecycle import check_end_date
from .policy import check_not_weak, check_secret


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


class SecretService:
    """Generates, checks, sets and rotates client secrets.

    A method that takes a session is bound to the account of its author (A3), takes the version of the client that the
    author saw (I7), and writes its change and its audit event in one savepoint (L1).

    :param hasher: hashes and verifies every stored secret.
    :param prefix: what a generated secret starts with (S3).
    :param refuse_weak: refuse a weak secret, where the default is that the screens warn of it (S4).
    :param max_days: within how many days every new secret ends; 0: it needs no end date.
    """

    def __init__(self, hasher: SecretHasher, *, prefix: str, refuse_weak: bool = False, max_days: int = 0) -> None:
        self.hasher = hasher
        self._prefix = prefix
        self._refuse_weak = refuse_weak
        self._max_days = max_days

    def generate(self) -> Secret:
        """Return a new random secret; nothing is stored."""
        return generate_secret(self._prefix)

    def check(self, secret: str, *, client_id: str, name: str) -> Secret:
        """Return a secret that was chosen for a client of this ID and name, if the rules allow it.

        :raises FieldError: it is not 6-100 characters of printable ASCII, or weak where that is refused.
        """
        chosen = check_secret(secret)
        if self._refuse_weak:
            check_not_weak(chosen, client_id, name)
        return chosen

    def check_end_date(self, ends_at: datetime | None, now: datetime) -> None:
        """Check the end date of a new secret.

        :raises FieldError: it is past, or too far ahead; the field is `ends_at`.
        """
        if ends_at is not None:
            check_end_date(ends_at, now, self._latest_end(now) or NO_END)

    def _latest_end(self, now: datetime) -> datetime | None:
        return now + timedelta(days=self._max_days) if self._max_days else None

    def new_client_secret(
        self, secret: Secret, number: int, *, author: Author, now: datetime, ends_at: datetime | None = None
    ) -> ClientSecret:
        """Return the row of a client's secret, which holds only its hash (S1).

        :param number: how many secrets the client has had before.
        :param ends_at: its end date, which was checked; None: the latest that is allowed.
        :raises Unavailable: too many hashes are being computed (D7).
        """
        stored = self.hasher.hash(secret)
        return ClientSecret(
            label=secret_label(number),
            secret_hash=stored.value,
            pepper_version=stored.pepper_version,
            created_at=now,
            created_by=author.label,
            ends_at=ends_at or self._latest_end(now),
        )

    def change(
        self,
        session: Session,
        *,
        author: Author,
        key: uuid.UUID,
        version: int | None,
        secret: str,
        overlap: Overlap,
        end_older: bool = False,
        revoke_tokens: bool = False,
        ends_at: datetime | None = None,
    ) -> tuple[IdentityClient, ClientSecret]:
        """Add a client's next secret and set the end of the one before it; return the client and the new row.

        :param secret: the new secret in clear text, as it was typed or generated.
        :param overlap: when the previous secret ends; replaces an end date that it had.
        :param end_older: end the older one now, where two secrets have not ended.
        :param revoke_tokens: also revoke the tokens that were issued to the client until now.
        :param ends_at: when the new secret ends (aware), within 365 days; None: never, or at the limit of the setting.
        :raises NotFound: the account has no such client.
        :raises StaleVersion: the client was changed since, perhaps by a repeat of this POST (S7).
        :raises TwoActiveSecrets: two secrets have not ended, and `end_older` is not set.
        :raises SecretNotAllowed: the account forbids secrets to clients with a role of this one.
        :raises FieldError: the secret is malformed, weak where that is refused, or already one of the client's, or the
            end date is past or too far ahead.
        """
        client = get_client(session, account_id=author.account_id, key=key)
        check_version(session, client, version)
        if not may_have_secrets(session, client):
            raise SecretNotAllowed
        now = utc_now()
        active = not_ended(client, now)
        if len(active) > 1 and not end_older:
            raise TwoActiveSecrets(detach(session, client), active[0])
        chosen = self.check(secret, client_id=client.client_id, name=client.name)
        self._check_not_in_use(chosen, active)
        self.check_end_date(ends_at, now)
        added = self.new_client_secret(chosen, len(client.secrets), author=author, now=now, ends_at=ends_at)
        with versioned_change(session, author, client, now):
            before = SecretsSnapshot(active, now)
            for older in active[:-1]:
                older.ends_at = now
            for previous in active[-1:]:
                previous.ends_at = overlap.after(now)
            client.secrets.append(added)
            changes = before.difference_to(SecretsSnapshot([*active, added], now))
            record_event(session, author, Action.SECRET_CHANGED, client, changes)
            if revoke_tokens:
                client_changes.revoke_tokens(session, author=author, key=key)
        return client, added

    def replace_leaked(
        self, session: Session, *, author: Author, key: uuid.UUID, version: int | None
    ) -> tuple[IdentityClient, Secret]:
        """End every secret of a client now, revoke its tokens and set a generated secret; return client and secret.

        Allowed also where the account forbids secrets to the client, which had one: a leak must not wait for a key.

        :raises NotFound: the account has no such client.
        :raises StaleVersion: the client was changed since, perhaps by a repeat of this POST (S7).
        """
        client = get_client(session, account_id=author.account_id, key=key)
        check_version(session, client, version)
        now = utc_now()
        secret = self.generate()
        added = self.new_client_secret(secret, len(client.secrets), author=author, now=now)
        reason = {"reason": [None, "leaked"]}
        with versioned_change(session, author, client, now):
            for leaked in not_ended(client, now):
                before = SecretsSnapshot([leaked], now)
                leaked.ends_at = now
                changes = before.difference_to(SecretsSnapshot([leaked], now))
                record_event(session, author, Action.SECRET_ENDED, client, changes | reason)
            client_changes.revoke_tokens(session, author=author, key=key)
            client.secrets.append(added)
            changes = SecretsSnapshot([], now).difference_to(SecretsSnapshot([added], now))
            record_event(session, author, Action.SECRET_CHANGED, client, changes | reason)
        return client, secret

    def _check_not_in_use(self, secret: Secret, active: Sequence[ClientSecret]) -> None:
        """Raise FieldError where the secret is one that the client has."""
        for each in active:
            if self.hasher.verify(secret, StoredHash(each.secret_hash, each.pepper_version, each.legacy_scheme)):
                raise FieldError(
                    "client_secret",
                    gettext(
                        "This is secret %(label)s, which is to be replaced. Choose another, or press Generate new.",
                        label=each.label,
                    ),
                    gettext("New secret is the old one: choose another, or press Generate new"),
                )


def may_have_secrets(session: Session, client: IdentityClient) -> bool:
    """Return whether a secret may be added to a client: its account does not forbid secrets to one of its roles."""
    return client.roles.isdisjoint(keys_only_roles(session, client.account_id))
