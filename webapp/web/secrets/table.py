"""Prepare what the screens show of a client's secrets: the table, the notice of an end date, the last use."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ...core.clients.attention import ENDING_WITHIN_DAYS
from ...core.database.models import ClientSecret, IdentityClient, SecretState, utc_now
from ...core.secrets.available_actions import AvailableActions, available_actions
from ...core.secrets.client_secrets import last_live, live_secrets

ENDED_MAX = 3
"""How many ended secrets the table shows, the latest ones; the activity shows all."""
RECENT = timedelta(days=30)
"""A secret that was used within this time counts as in use: some systems call once a month."""


@dataclass(frozen=True, slots=True)
class EndingSecret:
    """A live secret that ends soon.

    :param successor: the secret that stays live after it, None if there is none.
    """

    secret: ClientSecret
    ends_at: datetime
    successor: ClientSecret | None


def secrets_context(client: IdentityClient) -> dict[str, Any]:
    """Return the template variables of the section on secrets."""
    now = utc_now()
    every = available_actions(client, now)
    ended = [each for each in every if each.state is SecretState.ENDED]
    hidden = {each.secret.id for each in ended[:-ENDED_MAX]}
    shown: list[AvailableActions] = [each for each in every if each.secret.id not in hidden]
    return {
        "secrets": shown,
        "ended_before": len(hidden),
        "only_secret": last_live(client, now),
        "ending": ending_secret(client, now),
    }


def ending_secret(client: IdentityClient, now: datetime) -> EndingSecret | None:
    """Return the live secret that ends first, within 30 days; None if there is none."""
    limit = now + timedelta(days=max(ENDING_WITHIN_DAYS))
    live = live_secrets(client, now)
    ends = [(each.ends_at, each.label, each) for each in live if each.ends_at is not None and each.ends_at <= limit]
    if not ends:
        return None
    ends_at, _, secret = min(ends)
    later = [each for each in live if each is not secret and (each.ends_at is None or each.ends_at > ends_at)]
    return EndingSecret(secret, ends_at, later[0] if later else None)


def last_used(client: IdentityClient) -> ClientSecret | None:
    """Return the secret that the client used last, None if it never used one."""
    used = [(each.last_used_at, each.label, each) for each in client.secrets if each.last_used_at is not None]
    return max(used)[2] if used else None


def is_relied_on(secret: ClientSecret | None, now: datetime) -> bool:
    """Return whether a secret was used within the last 30 days."""
    return secret is not None and secret.last_used_at is not None and now - secret.last_used_at <= RECENT
