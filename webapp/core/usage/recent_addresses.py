"""From where a client was asked for tokens lately (A8)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter

from sqlalchemy.orm import Session

from ..addresses import AllowedNetwork, is_allowed
from ..database.models import IdentityClient, TokenRequest
from . import queries
from .queries import LATEST_MAX

REFUSAL_WARNING_PERIOD = timedelta(days=7)
"""How long an address counts as one from which the client calls."""


@dataclass(frozen=True, slots=True)
class RecentAddresses:
    """The addresses from which a client called, and those of its latest token requests.

    Calling is showing a right secret: whoever only guesses one is no caller.

    :param requests: the newest first; at most 200 are kept, which a busy client makes within minutes.
    :param callers: when each address last called, however many requests came since.
    """

    requests: Sequence[TokenRequest]
    callers: Mapping[str, datetime]

    @property
    def complete_since(self) -> datetime | None:
        """Since when every request is known; None: for as long as they are kept."""
        return self.requests[-1].at if len(self.requests) >= LATEST_MAX else None

    def last_seen(self, network: AllowedNetwork) -> datetime | None:
        """Return when a request last came from a network, whatever became of it; None: not lately."""
        times = [request.at for request in self.requests if is_allowed((network,), request.address)]
        times += [at for address, at in self.callers.items() if is_allowed((network,), address)]
        return max(times, default=None)

    def count(self, address: str, since: datetime | None = None) -> int:
        """Return how many of the requests came from an address, whatever became of them."""
        return sum(request.address == address and (since is None or request.at >= since) for request in self.requests)

    def refused_by(
        self, networks: Sequence[AllowedNetwork], instead_of: Sequence[AllowedNetwork], now: datetime
    ) -> dict[str, datetime]:
        """Return from which addresses the client called within 7 days that these networks would refuse, and when last.

        :param instead_of: the networks until now; what they refuse already is not named.
        """
        newest_first = sorted(self.callers.items(), key=itemgetter(1), reverse=True)
        return {
            address: at
            for address, at in newest_first
            if at >= now - REFUSAL_WARNING_PERIOD
            and is_allowed(instead_of, address)
            and not is_allowed(networks, address)
        }


def recent_addresses(
    session: Session, client: IdentityClient, requests: Sequence[TokenRequest] | None = None
) -> RecentAddresses:
    """Return from where a client was asked for tokens lately.

    :param client: of the account that asks (A3).
    :param requests: `usage.recent` of the client, where it was read before.
    """
    if requests is None:
        requests = queries.recent_requests(session, client.account_id, client.id)
    return RecentAddresses(requests, queries.caller_addresses(session, client.account_id, client.id))
