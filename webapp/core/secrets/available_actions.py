"""List which actions on a secret or key are possible now, and what must be confirmed before each."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from ..database.models import IdentityClient, SecretState
from ..i18n import lazy_gettext
from .client_secrets import AnyCredential, by_age, last_live, live_credentials
from .errors import ConfirmationRequired, LastSecretWouldEnd, SecretRecentlyUsed

RECENTLY_USED_MINUTES = 60
LAST_SECRET_MESSAGE = lazy_gettext(
    "This is the only secret or key that works. Change the secret or add a key first, which takes its place."
)


class SecretAction(StrEnum):
    """An action on one secret or key; the value is the last part of its URL."""

    END = "end"
    PAUSE = "pause"
    RESUME = "resume"
    SET_END_DATE = "end-date"


_ACTIONS_BY_STATE = {
    SecretState.CURRENT: (SecretAction.PAUSE, SecretAction.END, SecretAction.SET_END_DATE),
    SecretState.ENDING: (SecretAction.PAUSE, SecretAction.END, SecretAction.SET_END_DATE),
    SecretState.PAUSED: (SecretAction.RESUME, SecretAction.END, SecretAction.SET_END_DATE),
    SecretState.ENDED: (),
}


@dataclass(frozen=True, slots=True)
class AvailableActions:
    """The actions on one secret or key in its present state.

    :param actions: each action of that state, with the sentence why it is refused now, or None.
    """

    secret: AnyCredential
    state: SecretState
    actions: dict[SecretAction, str | None]


def available_actions(client: IdentityClient, now: datetime) -> list[AvailableActions]:
    """Return the actions on each secret of a client, the oldest secret first."""
    return _available(client, by_age(client.secrets), now)


def available_key_actions(client: IdentityClient, now: datetime) -> list[AvailableActions]:
    """Return the actions on each key of a client, the oldest key first."""
    return _available(client, by_age(client.keys), now)


def _available(client: IdentityClient, secrets: Iterable[AnyCredential], now: datetime) -> list[AvailableActions]:
    last = last_live(client, now)
    found = []
    for secret in secrets:
        state = secret.state_at(now)
        refused = {SecretAction.PAUSE, SecretAction.END} if secret is last else set()
        actions = {action: LAST_SECRET_MESSAGE if action in refused else None for action in _ACTIONS_BY_STATE[state]}
        found.append(AvailableActions(secret, state, actions))
    return found


def required_confirmations(
    client: IdentityClient,
    secret: AnyCredential,
    action: SecretAction,
    now: datetime,
    *,
    ends_at: datetime | None = None,
) -> list[ConfirmationRequired]:
    """Return the consequences of an action that a person must confirm first, for the confirmation page.

    `lifecycle.apply_secret_action` raises the first of them that is not confirmed.

    :param ends_at: the end date to set, with SET_END_DATE.
    """
    live = live_credentials(client, now)
    found: list[ConfirmationRequired] = []
    used_at = secret.last_used_at
    recently = now - timedelta(minutes=RECENTLY_USED_MINUTES)
    if action is SecretAction.END and secret in live and used_at is not None and used_at > recently:
        found.append(SecretRecentlyUsed(client, secret, used_at))
    ends = {each: each.ends_at for each in live}
    ends_before = _end_of_all(ends)
    if action is SecretAction.SET_END_DATE and secret in live:
        ends[secret] = ends_at
    elif action in (SecretAction.END, SecretAction.PAUSE):
        ends.pop(secret, None)
    end_of_all = _end_of_all(ends)
    if end_of_all is not None and end_of_all != ends_before:
        last = next(each for each, end in ends.items() if end == end_of_all)
        found.append(LastSecretWouldEnd(client, last, end_of_all))
    return found


def _end_of_all(ends: Mapping[AnyCredential, datetime | None]) -> datetime | None:
    """Return when the last of these secrets and keys ends, or None if one never ends or there is none."""
    known = [end for end in ends.values() if end is not None]
    return max(known) if known and len(known) == len(ends) else None
