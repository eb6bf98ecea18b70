"""Report from which addresses a client has recently requested tokens (A8)."""

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
"""How long after its last use an address still counts as one of the client's."""


@dataclass(frozen=True, slots=True)
class RecentAddresses:
    """The addresses from which a client authenticated, and its latest token requests.

    :param requests: newest first; at most `LATEST_MAX`, which a busy client makes within minutes.
    :param callers: the addresses from which it authenticated, however many requests came since, with the last time.
    """

    requests: Sequence[TokenRequest]
    callers: Mapping[str, datetime]

    @property
    def complete_since(self) -> datetime | None:
        """The time since which every request is in `requests`; None: the whole retention period."""
        return self.requests[-1].at if len(self.requests) >= LATEST_MAX else None

    def last_seen(self, network: AllowedNetwork) -> datetime | None:
        """Return when a request last came from a network, whatever its outcome; None: not recently."""
        times = [request.at for request in self.requests if is_allowed((network,), request.address)]
        times += [at for address, at in self.callers.items() if is_allowed((network,), address)]
        return max(times, default=None)

    def count(self, address: str, since: datetime | None = None) -> int:
        """Return the number of requests from an address, whatever their outcome."""
        return sum(request.address == address and (since is None or request.at >= since) for request in self.requests)

    def refused_by(
        self, networks: Sequence[AllowedNetwork], instead_of: Sequence[AllowedNetwork], now: datetime
    ) -> dict[str, datetime]:
        """Return the addresses of the last 7 days that new networks would refuse, with the last time of each.

        :param instead_of: the present networks; an address that they refuse already is left out.
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
    """Return the recent addresses of a client.

    :param client: a client of the reader's own account (A3).
    :param requests: the result of `recent_requests` for the client, if it was read before.
    """
    if requests is None:
        requests = queries.recent_requests(session, client.account_id, client.id)
    return RecentAddresses(requests, queries.caller_addresses(session, client.account_id, client.id))
