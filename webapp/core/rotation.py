"""A client's secrets in the course of time: the next one, and the end of those before it."""

from collections.abc import Iterable
from datetime import datetime

from .audit import Author
from .models import ClientSecret, IdentityClient, SecretState
from .secrets import Secret, SecretHasher


def new_secret(secret: Secret, number: int, *, hasher: SecretHasher, author: Author, now: datetime) -> ClientSecret:
    """Return the row of a client's secret, which is stored as its hash only (S1).

    :param number: how many secrets the client has had before.
    """
    stored = hasher.hash(secret)
    return ClientSecret(
        label=label_of(number),
        secret_hash=stored.value,
        pepper_version=stored.pepper_version,
        created_at=now,
        created_by=author.label,
    )


def label_of(number: int) -> str:
    """Return A, B, ... Z, AA, AB and so on for 0, 1, ..."""
    label, rest = "", number + 1
    while rest:
        rest, letter = divmod(rest - 1, 26)
        label = chr(ord("A") + letter) + label
    return label


def replace_secrets(client: IdentityClient, added: ClientSecret, now: datetime) -> list[dict[str, str]]:
    """Add a secret and end all others now; return their states before and after, as the trail keeps them."""
    live = [secret for secret in client.secrets if secret.state_at(now) is not SecretState.ENDED]
    before = states_at(now, live)
    for secret in live:
        secret.ends_at = now
    client.secrets.append(added)
    return [before, states_at(now, [*live, added])]


def states_at(now: datetime, secrets: Iterable[ClientSecret]) -> dict[str, str]:
    """Return the state of each secret by its label."""
    return {secret.label: secret.state_at(now).value for secret in secrets}
