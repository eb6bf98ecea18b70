"""The rows of a client's secrets: making them, telling them apart, and how they look in the trail."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ..audit.events import Author
from ..database.models import ClientSecret, IdentityClient, SecretState
from .generation import Secret
from .hashing import SecretHasher


def not_ended(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that have not ended, the oldest first: two at most (S7)."""
    return [secret for secret in by_age(client.secrets) if secret.state_at(now) is not SecretState.ENDED]


def by_age(secrets: Iterable[ClientSecret]) -> list[ClientSecret]:
    """Return secrets of one client in the order in which they were made: A, B, ... Z, AA."""
    return sorted(secrets, key=lambda secret: (len(secret.label), secret.label))


def live_secrets(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that verify now, the oldest first."""
    return [secret for secret in not_ended(client, now) if secret.paused_at is None]


def last_live(client: IdentityClient, now: datetime) -> ClientSecret | None:
    """Return the only live secret; None if there are two, or none."""
    live = live_secrets(client, now)
    return live[0] if len(live) == 1 else None


def new_secret(secret: Secret, number: int, *, hasher: SecretHasher, author: Author, now: datetime) -> ClientSecret:
    """Return the row of a client's secret, which is stored as its hash only (S1).

    :param number: how many secrets the client has had before.
    """
    stored = hasher.hash(secret)
    return ClientSecret(
        label=secret_label(number),
        secret_hash=stored.value,
        pepper_version=stored.pepper_version,
        created_at=now,
        created_by=author.label,
    )


def secret_label(number: int) -> str:
    """Return A, B, ... Z, AA, AB and so on for 0, 1, ..."""
    label, rest = "", number + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def replace_secrets(client: IdentityClient, added: ClientSecret, now: datetime) -> list[dict[str, str]]:
    """Add a secret and end all others now; return their states before and after, as the trail keeps them."""
    kept = not_ended(client, now)
    before = secret_states(now, kept)
    for secret in kept:
        secret.ends_at = now
    client.secrets.append(added)
    return [before, secret_states(now, [*kept, added])]


def secret_states(now: datetime, secrets: Iterable[ClientSecret]) -> dict[str, str]:
    """Return the state of each secret by its label."""
    return {secret.label: secret.state_at(now).value for secret in secrets}


class SecretsSnapshot:
    """What some secrets of a client look like at a moment, for the trail: states and end dates, by label."""

    def __init__(self, secrets: Iterable[ClientSecret], now: datetime) -> None:
        secrets = list(secrets)
        self._states = secret_states(now, secrets)
        self._ends = {
            each.label: None if each.ends_at is None else each.ends_at.isoformat(timespec="seconds")
            for each in secrets
            if each.state_at(now) is not SecretState.ENDED
        }

    def difference_to(self, later: "SecretsSnapshot") -> dict[str, Any]:
        """Return the states before and after, and the end dates that were set, moved or cleared."""
        changes: dict[str, Any] = {"client_secret": [self._states, later._states]}
        moved = [label for label, end in later._ends.items() if self._ends.get(label) != end]
        if moved:
            changes["ends_at"] = [
                {label: self._ends.get(label) for label in moved},
                {label: later._ends[label] for label in moved},
            ]
        return changes
