"""A client's secrets in the course of time: the next one, and the end of those before it (S7, S8).

A secret is live while it verifies: it has not ended and is not paused. Every function is bound to the account of its
author (A3), takes the version of the client that the author saw (I7), and is one savepoint with its event (L1). What
cannot be done, or only with a confirmation, raises a `SecretRefused`.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy.orm import Session

from . import audit, revocation
from .audit import Action, Author
from .changes import changing, get_client, loose, refuse_stale
from .client_secrets import Picture, last_live, new_secret, not_ended
from .errors import FieldError, LastSecret, NotFound, SecretHasEnded, TwoSecrets
from .models import ClientSecret, IdentityClient, SecretState, utc_now
from .secret_controls import SecretAction, objections
from .secrets import SecretHasher, StoredHash, check_chosen_secret
from .words import gettext

END_DATE_MAX_DAYS = 365


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


_IN_TRAIL = {
    SecretAction.END: Action.SECRET_ENDED,
    SecretAction.PAUSE: Action.SECRET_PAUSED,
    SecretAction.RESUME: Action.SECRET_RESUMED,
    SecretAction.SET_END_DATE: Action.END_DATE_SET,
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
    refuse_stale(session, client, version)
    now = utc_now()
    kept = not_ended(client, now)
    if len(kept) > 1 and not end_older:
        raise TwoSecrets(loose(session, client), kept[0])
    added = _next_secret(client, kept, secret, author=author, hasher=hasher, refuse_weak=refuse_weak, now=now)
    with changing(session, author, client, now):
        before = Picture(kept, now)
        for older in kept[:-1]:
            older.ends_at = now
        for previous in kept[-1:]:
            previous.ends_at = overlap.after(now)
        client.secrets.append(added)
        audit.record(session, author, Action.SECRET_CHANGED, client, before.compared_to(Picture([*kept, added], now)))
        if revoke_tokens:
            revocation.revoke_tokens(session, author=author, key=key)
    return client, added


def leaked(
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
    refuse_stale(session, client, version)
    now = utc_now()
    kept = not_ended(client, now)
    added = _next_secret(client, kept, secret, author=author, hasher=hasher, refuse_weak=refuse_weak, now=now)
    reason = {"reason": [None, "leaked"]}
    with changing(session, author, client, now):
        for each in kept:
            before = Picture([each], now)
            each.ends_at = now
            changes = before.compared_to(Picture([each], now))
            audit.record(session, author, Action.SECRET_ENDED, client, changes | reason)
        revocation.revoke_tokens(session, author=author, key=key)
        client.secrets.append(added)
        changes = Picture([], now).compared_to(Picture([added], now))
        audit.record(session, author, Action.SECRET_CHANGED, client, changes | reason)
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


# One secret


def end_secret(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret_id: uuid.UUID,
    confirmed: bool = False,
) -> IdentityClient:
    """End a secret now; where it has ended nothing is written, whatever the version.

    :raises NotFound: the account has no such client, or the client no such secret.
    :raises StaleVersion: the client was changed since.
    :raises LastSecret: it is the only live one.
    :raises RecentlyUsed: it was used within the last hour, and this was not confirmed.
    :raises LastSecretEnds: what is left ends by itself, and this was not confirmed.
    """
    client, secret, now = _find(session, author, key, secret_id)
    if secret.state_at(now) is SecretState.ENDED:
        return client
    return _write(session, author, client, version, secret, SecretAction.END, now, confirmed, ends_at=now)


def pause_secret(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret_id: uuid.UUID,
    confirmed: bool = False,
) -> IdentityClient:
    """Let a secret verify nothing until it is resumed; its end date stays. Where it is paused nothing is written.

    :raises NotFound: the account has no such client, or the client no such secret.
    :raises StaleVersion: the client was changed since.
    :raises SecretHasEnded: it has ended.
    :raises LastSecret: it is the only live one.
    :raises LastSecretEnds: what is left ends by itself, and this was not confirmed.
    """
    client, secret, now = _find(session, author, key, secret_id)
    _refuse_ended(session, client, secret, now)
    if secret.paused_at is not None:
        return client
    return _write(session, author, client, version, secret, SecretAction.PAUSE, now, confirmed, paused_at=now)


def resume_secret(
    session: Session, *, author: Author, key: uuid.UUID, version: int | None, secret_id: uuid.UUID
) -> IdentityClient:
    """Let a paused secret verify again, until its end date if it has one: that never moves (S8).

    :raises NotFound: the account has no such client, or the client no such secret.
    :raises StaleVersion: the client was changed since.
    :raises SecretHasEnded: its end date has passed.
    """
    client, secret, now = _find(session, author, key, secret_id)
    _refuse_ended(session, client, secret, now)
    if secret.paused_at is None:
        return client
    return _write(session, author, client, version, secret, SecretAction.RESUME, now, True, paused_at=None)


def set_end_date(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret_id: uuid.UUID,
    ends_at: datetime | None,
    confirmed: bool = False,
) -> IdentityClient:
    """Let a secret end at a moment (aware) within 365 days, or never; where it is so already nothing is written.

    :raises NotFound: the account has no such client, or the client no such secret.
    :raises StaleVersion: the client was changed since.
    :raises SecretHasEnded: it has ended; nothing brings it back.
    :raises FieldError: the date is past or too far ahead; the field is `ends_at`.
    :raises LastSecretEnds: from that moment nothing would work, and this was not confirmed.
    """
    client, secret, now = _find(session, author, key, secret_id)
    _refuse_ended(session, client, secret, now)
    if secret.ends_at == ends_at:
        return client
    if ends_at is not None and ends_at <= now:
        raise FieldError("ends_at", gettext("This moment is past. Choose one to come, or end the secret now."))
    if ends_at is not None and ends_at > now + timedelta(days=END_DATE_MAX_DAYS):
        message = gettext("Choose a moment within %(days)s days, or leave it empty for no end.", days=END_DATE_MAX_DAYS)
        raise FieldError("ends_at", message)
    return _write(session, author, client, version, secret, SecretAction.SET_END_DATE, now, confirmed, ends_at=ends_at)


def _find(
    session: Session, author: Author, key: uuid.UUID, secret_id: uuid.UUID
) -> tuple[IdentityClient, ClientSecret, datetime]:
    client = get_client(session, account_id=author.account_id, key=key)
    for secret in client.secrets:
        if secret.id == secret_id:
            return client, secret, utc_now()
    raise NotFound


def _refuse_ended(session: Session, client: IdentityClient, secret: ClientSecret, now: datetime) -> None:
    if secret.state_at(now) is SecretState.ENDED:
        raise SecretHasEnded(loose(session, client), secret)


def _write(
    session: Session,
    author: Author,
    client: IdentityClient,
    version: int | None,
    secret: ClientSecret,
    action: SecretAction,
    now: datetime,
    confirmed: bool,
    **values: datetime | None,
) -> IdentityClient:
    refuse_stale(session, client, version)
    if action in (SecretAction.END, SecretAction.PAUSE) and secret is last_live(client, now):
        raise LastSecret(loose(session, client), secret)
    if not confirmed:
        for objection in objections(client, secret, action, now, ends_at=values.get("ends_at")):
            loose(session, client)
            raise objection
    with changing(session, author, client, now):
        before = Picture([secret], now)
        for column, value in values.items():
            setattr(secret, column, value)
        audit.record(session, author, _IN_TRAIL[action], client, before.compared_to(Picture([secret], now)))
    return client
