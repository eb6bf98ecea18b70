"""Change from where a client may call."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from . import audit
from .audit import Action, Author
from .changes import changing, get_client, refuse_stale
from .errors import DomainError, FieldError, InvalidFields
from .models import IdentityClient, utc_now
from .networks import AllowedNetwork, check_networks
from .seen_addresses import SeenAddresses, seen_addresses

ANYWHERE = "anywhere"


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a person has to read before other networks take the place of a client's.

    :param refused: addresses from which it called within 7 days and could not any more, with the time of the last call.
    :param opens: whether it could call from anywhere, which it may not now.
    """

    refused: Mapping[str, datetime]
    opens: bool

    @property
    def keys(self) -> frozenset[str]:
        """What a confirmation has to name: the addresses, or `ANYWHERE`; nothing where there is nothing to read."""
        return frozenset(self.refused) | ({ANYWHERE} if self.opens else set())


class NetworksUnconfirmed(DomainError):
    """It can be saved, once the person has read what follows; nothing was changed."""

    def __init__(self, consequences: Consequences) -> None:
        super().__init__("unconfirmed")
        self.consequences = consequences


def consequences(
    client: IdentityClient, networks: Sequence[AllowedNetwork], seen: SeenAddresses, now: datetime
) -> Consequences:
    """Return what would follow if these networks took the place of the client's."""
    before = client.allowed_networks
    return Consequences(seen.refused_by(networks, before, now), opens=bool(before and not networks))


def set_networks(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    text: str,
    confirmed: Collection[str] = (),
) -> IdentityClient:
    """Let a client call from these networks only; where nothing differs nothing is written.

    :param text: one on each line, as `networks.check_networks` reads it; empty: it may call from anywhere (A8).
    :param confirmed: the `Consequences.keys` that the author has read.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises InvalidFields: lines that name no network (I3).
    :raises NetworksUnconfirmed: something follows that the author has not read.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    refuse_stale(session, client, version)
    try:
        networks = check_networks(text)
    except FieldError as error:
        raise InvalidFields([error]) from None
    now = utc_now()
    follows = consequences(client, networks, seen_addresses(session, client), now)
    if not follows.keys <= set(confirmed):
        raise NetworksUnconfirmed(follows)
    before = client.allowed_networks
    if networks != before:
        with changing(session, author, client, now):
            client.allowed_networks = networks
            changes = {"allowed_networks": [list(map(str, before)), list(map(str, networks))]}
            audit.record(session, author, Action.NETWORKS_CHANGED, client, changes)
    return client
