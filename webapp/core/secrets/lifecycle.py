"""A client's secrets in the course of time: the next one, and the end of those before it (S7, S8).

A secret is live while it verifies: it has not ended and is not paused. Every function is bound to the account of its
author (A3), takes the version of the client that the author saw (I7), and is one savepoint with its event (L1). What
cannot be done, or only with a confirmation, raises a `SecretRefused`.
"""

import uuid
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.models import ClientSecret, IdentityClient, SecretState, utc_now
from ..errors import FieldError, NotFound
from ..i18n import gettext
from .available_actions import SecretAction, required_confirmations
from .client_secrets import SecretsSnapshot, last_live
from .errors import LastLiveSecret, SecretHasEnded

END_DATE_MAX_DAYS = 365
_AUDIT_ACTIONS = {
    SecretAction.END: Action.SECRET_ENDED,
    SecretAction.PAUSE: Action.SECRET_PAUSED,
    SecretAction.RESUME: Action.SECRET_RESUMED,
    SecretAction.SET_END_DATE: Action.END_DATE_SET,
}


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
    client, secret, now = _get_secret(session, author, key, secret_id)
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
    client, secret, now = _get_secret(session, author, key, secret_id)
    _check_not_ended(session, client, secret, now)
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
    client, secret, now = _get_secret(session, author, key, secret_id)
    _check_not_ended(session, client, secret, now)
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
    client, secret, now = _get_secret(session, author, key, secret_id)
    _check_not_ended(session, client, secret, now)
    if secret.ends_at == ends_at:
        return client
    if ends_at is not None and ends_at <= now:
        raise FieldError("ends_at", gettext("This moment is past. Choose one to come, or end the secret now."))
    if ends_at is not None and ends_at > now + timedelta(days=END_DATE_MAX_DAYS):
        message = gettext("Choose a moment within %(days)s days, or leave it empty for no end.", days=END_DATE_MAX_DAYS)
        raise FieldError("ends_at", message)
    return _write(session, author, client, version, secret, SecretAction.SET_END_DATE, now, confirmed, ends_at=ends_at)


def _get_secret(
    session: Session, author: Author, key: uuid.UUID, secret_id: uuid.UUID
) -> tuple[IdentityClient, ClientSecret, datetime]:
    client = get_client(session, account_id=author.account_id, key=key)
    for secret in client.secrets:
        if secret.id == secret_id:
            return client, secret, utc_now()
    raise NotFound


def _check_not_ended(session: Session, client: IdentityClient, secret: ClientSecret, now: datetime) -> None:
    if secret.state_at(now) is SecretState.ENDED:
        raise SecretHasEnded(detach(session, client), secret)


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
    check_version(session, client, version)
    if action in (SecretAction.END, SecretAction.PAUSE) and secret is last_live(client, now):
        raise LastLiveSecret(detach(session, client), secret)
    if not confirmed:
        for objection in required_confirmations(client, secret, action, now, ends_at=values.get("ends_at")):
            detach(session, client)
            raise objection
    with versioned_change(session, author, client, now):
        before = SecretsSnapshot([secret], now)
        for column, value in values.items():
            setattr(secret, column, value)
        record_event(
            session, author, _AUDIT_ACTIONS[action], client, before.difference_to(SecretsSnapshot([secret], now))
        )
    return client
