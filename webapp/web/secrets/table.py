"""Prepare what the screens show of a client's secrets and keys: tables, the notice of an end date, the last use."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...core.clients.attention import ENDING_WITHIN_DAYS
from ...core.database.models import IdentityClient, SecretState, utc_now
from ...core.secrets.available_actions import AvailableActions, available_actions, available_key_actions
from ...core.secrets.client_secrets import AnyCredential, credentials_of, keys_not_ended, last_live, live_credentials
from ...host import services

ENDED_MAX = 3
"""How many ended secrets or keys a table shows, the latest ones; the activity shows all."""
RECENT = timedelta(days=30)
"""A secret or key that was used within this time counts as in use: some systems call once a month."""


@dataclass(frozen=True, slots=True)
class EndingSecret:
    """A live secret or key that ends soon.

    :param successor: the secret or key that stays live after it, None if there is none.
    """

    secret: AnyCredential
    ends_at: datetime
    successor: AnyCredential | None


def secrets_context(client: IdentityClient) -> dict[str, Any]:
    """Return the template variables of the sections on secrets and keys."""
    now = utc_now()
    secrets, ended_before = _shown(available_actions(client, now))
    keys, keys_ended_before = _shown(available_key_actions(client, now))
    return {
        "secrets": secrets,
        "ended_before": ended_before,
        "keys": keys,
        "keys_ended_before": keys_ended_before,
        "long_assertions": [
            key
            for key in keys_not_ended(client, now)
            if key.long_assertion_at is not None and now - key.long_assertion_at <= RECENT
        ],
        "issuer": services().settings.issuer,
        "last_live": last_live(client, now),
        "ending": ending_secret(client, now),
    }


def _shown(every: list[AvailableActions]) -> tuple[list[AvailableActions], int]:
    """Return the rows of a table, and how many more have ended."""
    ended = [each for each in every if each.state is SecretState.ENDED]
    hidden = {each.secret.id for each in ended[:-ENDED_MAX]}
    return [each for each in every if each.secret.id not in hidden], len(hidden)


def ending_secret(client: IdentityClient, now: datetime) -> EndingSecret | None:
    """Return the live secret or key that ends first, within 30 days; None if there is none."""
    limit = now + timedelta(days=max(ENDING_WITHIN_DAYS))
    live = live_credentials(client, now)
    ends = [(each.ends_at, each.label, each) for each in live if each.ends_at is not None and each.ends_at <= limit]
    if not ends:
        return None
    ends_at, _, secret = min(ends)
    later = [each for each in live if each is not secret and (each.ends_at is None or each.ends_at > ends_at)]
    return EndingSecret(secret, ends_at, later[0] if later else None)


def last_used(client: IdentityClient) -> AnyCredential | None:
    """Return the secret or key that the client used last, None if it never used one."""
    every = credentials_of(client)
    used = [(each.last_used_at, each.label, each) for each in every if each.last_used_at is not None]
    return max(used)[2] if used else None


def is_relied_on(secret: AnyCredential | None, now: datetime) -> bool:
    """Return whether a secret or key was used within the last 30 days."""
    return secret is not None and secret.last_used_at is not None and now - secret.last_used_at <= RECENT
