"""Read the secrets and keys of a client: which have not ended, which are live, and how the audit log shows them."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, TypeVar

from ..database.models import ClientKey, ClientSecret, Credential, IdentityClient, SecretState
from ..errors import NotFound

AnyCredential = ClientSecret | ClientKey
_Credential = TypeVar("_Credential", bound=Credential)


def credentials_of(client: IdentityClient) -> list[AnyCredential]:
    """Return the secrets, then the keys, of a client, ended ones too."""
    return [*client.secrets, *client.keys]


def find_credential(credentials: Iterable[_Credential], credential_id: uuid.UUID) -> _Credential:
    """Return the secret or key of a client with this ID.

    :raises NotFound: the client has none with this ID.
    """
    for credential in credentials:
        if credential.id == credential_id:
            return credential
    raise NotFound


def by_age(credentials: Iterable[_Credential]) -> list[_Credential]:
    """Return secrets or keys of one client in the order in which they were created: A, B, ... Z, AA; 1, 2, ... 10."""
    return sorted(credentials, key=lambda credential: (len(credential.label), credential.label))


def not_ended(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that have not ended, the oldest first: two at most (S7)."""
    return [secret for secret in by_age(client.secrets) if secret.state_at(now) is not SecretState.ENDED]


def keys_not_ended(client: IdentityClient, now: datetime) -> list[ClientKey]:
    """Return the keys that have not ended, the oldest first: five at most (S11)."""
    return [key for key in by_age(client.keys) if key.state_at(now) is not SecretState.ENDED]


def credentials_not_ended(client: IdentityClient, now: datetime) -> list[AnyCredential]:
    """Return the secrets, then the keys, that have not ended, the oldest of each first."""
    return [*not_ended(client, now), *keys_not_ended(client, now)]


def live_secrets(client: IdentityClient, now: datetime) -> list[ClientSecret]:
    """Return the secrets that have not ended and are not paused, the oldest first."""
    return [secret for secret in not_ended(client, now) if secret.paused_at is None]


def live_credentials(client: IdentityClient, now: datetime) -> list[AnyCredential]:
    """Return the secrets, then the keys, that have not ended and are not paused, the oldest of each first."""
    return [each for each in credentials_not_ended(client, now) if each.paused_at is None]


def last_live(client: IdentityClient, now: datetime) -> AnyCredential | None:
    """Return the only live secret or key, or None if there are several or none."""
    live = live_credentials(client, now)
    return live[0] if len(live) == 1 else None


def secret_label(number: int) -> str:
    """Return A, B, ... Z, AA, AB and so on for 0, 1, ..."""
    label, rest = "", number + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def is_key_label(label: str) -> bool:
    """Return whether a label is that of a key, which is a number, and not that of a secret, which has letters."""
    return label.isdecimal()


def secret_states(now: datetime, secrets: Iterable[Credential]) -> dict[str, str]:
    """Return the state of each secret or key by its label."""
    return {secret.label: secret.state_at(now).value for secret in secrets}


class SecretsSnapshot:
    """States and end dates of some secrets, or some keys, of a client at one moment, for the audit log."""

    def __init__(self, secrets: Iterable[Credential], now: datetime) -> None:
        secrets = list(secrets)
        self._states = secret_states(now, secrets)
        self._ends = {
            each.label: None if each.ends_at is None else each.ends_at.isoformat(timespec="seconds")
            for each in secrets
            if each.state_at(now) is not SecretState.ENDED
        }

    def difference_to(self, later: "SecretsSnapshot") -> dict[str, Any]:
        """Return `[before, after]` of the states, and of the end dates that were set, moved or cleared."""
        is_of_keys = any(map(is_key_label, later._states))
        changes: dict[str, Any] = {"public_key" if is_of_keys else "client_secret": [self._states, later._states]}
        moved = [label for label, end in later._ends.items() if self._ends.get(label) != end]
        if moved:
            changes["ends_at"] = [
                {label: self._ends.get(label) for label in moved},
                {label: later._ends[label] for label in moved},
            ]
        return changes
