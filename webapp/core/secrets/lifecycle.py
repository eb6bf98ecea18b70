"""End, pause or resume one secret or key of a client, or set its end date (S7, S8)."""

import uuid
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.models import NO_END, ClientKey, ClientSecret, IdentityClient, SecretState, utc_now
from ..errors import FieldError
from ..i18n import gettext
from .available_actions import SecretAction, required_confirmations
from .client_secrets import AnyCredential, SecretsSnapshot, credentials_of, find_credential, last_live
from .errors import LastLiveSecret, SecretHasEnded

END_DATE_MAX_DAYS = 365
_AUDIT_ACTIONS = {
    SecretAction.END: Action.SECRET_ENDED,
    SecretAction.PAUSE: Action.SECRET_PAUSED,
    SecretAction.RESUME: Action.SECRET_RESUMED,
    SecretAction.SET_END_DATE: Action.END_DATE_SET,
}
_AUDIT_ACTIONS_ON_KEYS = {
    SecretAction.END: Action.CLIENT_KEY_ENDED,
    SecretAction.PAUSE: Action.CLIENT_KEY_PAUSED,
    SecretAction.RESUME: Action.CLIENT_KEY_RESUMED,
    SecretAction.SET_END_DATE: Action.CLIENT_KEY_END_DATE_SET,
}


def apply_secret_action(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    secret_id: uuid.UUID,
    action: SecretAction,
    ends_at: datetime | None = None,
    confirmed: bool = False,
    secret_max_days: int = 0,
) -> IdentityClient:
    """Apply an action to one secret or key and record its audit event; return the client.

    Nothing is written, whatever the version, where it is already in the state that is asked for. A resumed secret or
    key keeps its end date.

    :param version: the version of the client that the author saw (I7).
    :param secret_id: the ID of the secret or key.
    :param ends_at: the end date to set (aware), within 365 days; None removes it. Only with SET_END_DATE.
    :param secret_max_days: within how many days of its creation a secret has to end, with SET_END_DATE; 0: no limit.
    :param confirmed: whether the author has read what `required_confirmations` returns.
    :raises NotFound: the account has no such client, or the client no such secret or key.
    :raises StaleVersion: the client was changed since.
    :raises SecretHasEnded: it has ended, and stays so.
    :raises LastLiveSecret: the only live secret or key cannot be ended or paused.
    :raises ConfirmationRequired: the action has consequences, and `confirmed` is not set.
    :raises FieldError: the end date is in the past or too far ahead; the field is `ends_at`.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    secret, now = find_credential(credentials_of(client), secret_id), utc_now()
    if _is_applied(secret, action, ends_at, now):
        return client
    if secret.state_at(now) is SecretState.ENDED:
        raise SecretHasEnded(detach(session, client), secret)
    if action is SecretAction.SET_END_DATE:
        _check_new_end_date(secret, ends_at, now, secret_max_days)
    check_version(session, client, version)
    if action in (SecretAction.END, SecretAction.PAUSE) and secret is last_live(client, now):
        raise LastLiveSecret(detach(session, client), secret)
    if not confirmed:
        for confirmation in required_confirmations(client, secret, action, now, ends_at=ends_at):
            detach(session, client)
            raise confirmation
    with versioned_change(session, author, client, now):
        before = SecretsSnapshot([secret], now)
        match action:
            case SecretAction.END:
                secret.ends_at = now
            case SecretAction.PAUSE:
                secret.paused_at = now
            case SecretAction.RESUME:
                secret.paused_at = None
            case SecretAction.SET_END_DATE:
                secret.ends_at = ends_at
        changes = before.difference_to(SecretsSnapshot([secret], now))
        actions = _AUDIT_ACTIONS_ON_KEYS if isinstance(secret, ClientKey) else _AUDIT_ACTIONS
        record_event(session, author, actions[action], client, changes)
    return client


def _is_applied(secret: AnyCredential, action: SecretAction, ends_at: datetime | None, now: datetime) -> bool:
    """Return whether a secret or key is already in the state that the action would bring about."""
    ended = secret.state_at(now) is SecretState.ENDED
    match action:
        case SecretAction.END:
            return ended
        case SecretAction.PAUSE:
            return not ended and secret.paused_at is not None
        case SecretAction.RESUME:
            return not ended and secret.paused_at is None
        case SecretAction.SET_END_DATE:
            return not ended and secret.ends_at == ends_at


def check_end_date(ends_at: datetime, now: datetime, latest: datetime) -> None:
    """Check an end date that is to be set.

    :param latest: the last moment that is allowed besides `END_DATE_MAX_DAYS` from now.
    :raises FieldError: it is past, or too far ahead; the field is `ends_at`.
    """
    if ends_at <= now:
        raise FieldError("ends_at", gettext("This moment is past. Choose one to come, or end the secret now."))
    if ends_at > now + timedelta(days=END_DATE_MAX_DAYS):
        message = gettext("Choose a moment within %(days)s days, or leave it empty for no end.", days=END_DATE_MAX_DAYS)
        raise FieldError("ends_at", message)
    if ends_at > latest:
        raise FieldError("ends_at", _too_late(latest))


def _check_new_end_date(secret: AnyCredential, ends_at: datetime | None, now: datetime, max_days: int) -> None:
    latest = NO_END
    if max_days and isinstance(secret, ClientSecret):
        latest = secret.created_at + timedelta(days=max_days)
        # An earlier end is allowed, also of a secret from before the limit.
        if ends_at is None:
            raise FieldError("ends_at", _too_late(latest))
    if ends_at is not None:
        check_end_date(ends_at, now, latest)


def _too_late(latest: datetime) -> str:
    # Translators: day is a date, such as 2027-01-31.
    return gettext("This secret must end on %(day)s at the latest. Choose an earlier moment.", day=f"{latest:%Y-%m-%d}")
