"""Read the secrets of a client: which have not ended, which are live, and how the audit log shows them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..database.models import ClientSecret, IdentityClient, SecretState


def by_age(secrets: Iterable[ClientSecret]) -> list[ClientSecret]:
    """Return secrets of one client in the order in which they were created: A, B, ... Z, AA."""
    return sorted(secrets, key=lambda secret: (len(secret.label), secret.label))


def not_ended(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that have not ended, the oldest first: two at most (S7)."""
    return [secret for secret in by_age(client.secrets) if secret.state_at(now) is not SecretState.ENDED]


def live_secrets(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that have not ended and are not paused, the oldest first."""
    return [secret for secret in not_ended(client, now) if secret.paused_at is None]


def last_live(client: IdentityClient, now: datetime) -> ClientSecret | None:
    """Return the only live secret, or None if there are two or none."""
    live = live_secrets(client, now)
    return live[0] if len(live) == 1 else None


def secret_label(number: int) -> str:
    """Return A, B, ... Z, AA, AB and so on for 0, 1, ..."""
    label, rest = "", number + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def secret_states(now: datetime, secrets: Iterable[ClientSecret]) -> dict[str, str]:
    """Return the state of each secret by its label."""
    return {secret.label: secret.state_at(now).value for secret in secrets}


class SecretsSnapshot:
    """States and end dates of some secrets of a client at one moment, for the audit log."""

    def __init__(self, secrets: Iterable[ClientSecret], now: datetime) -> None:
        secrets = list(secrets)
        self._states = secret_states(now, secrets)
        self._ends = {
            each.label: None if each.ends_at is None else each.ends_at.isoformat(timespec="seconds")
            for each in secrets
            if each.state_at(now) is not SecretState.ENDED
        }

    def difference_to(self, later: "SecretsSnapshot") -> dict[str, Any]:
        """Return `[before, after]` of the states, and of the end dates that were set, moved or cleared."""
        changes: dict[str, Any] = {"client_secret": [self._states, later._states]}
        moved = [label for label, end in later._ends.items() if self._ends.get(label) != end]
        if moved:
            changes["ends_at"] = [
                {label: self._ends.get(label) for label in moved},
                {label: later._ends[label] for label in moved},
            ]
        return changes
