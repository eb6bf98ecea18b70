"""How often a sign-in may fail (D6)."""

import ipaddress
import math
import time

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from ..core.errors import Throttled
from .users import folded

WINDOW_MINUTES = 15
FAILURES_PER_NAME_AND_ADDRESS = 5
FAILURES_PER_ADDRESS = 20


class SignInThrottle:
    """Counts failed sign-ins by name and address, and by address alone; nobody can lock a name out from elsewhere.

    :param storage_url: as of the other throttles, `memory://` or `redis://...`.
    """

    def __init__(self, storage_url: str) -> None:
        self._limiter = MovingWindowRateLimiter(storage_from_string(storage_url))
        self._by_name = RateLimitItemPerMinute(FAILURES_PER_NAME_AND_ADDRESS, WINDOW_MINUTES)
        self._by_address = RateLimitItemPerMinute(FAILURES_PER_ADDRESS, WINDOW_MINUTES)

    def begin(self, email: str, address: str | None) -> None:
        """Count an attempt before anything is hashed; `succeeded` takes it back.

        :raises Throttled: too many have failed.
        """
        network = _network(address)
        if not self._limiter.test(self._by_address, "sign-in", network):
            raise self._throttled(self._by_address, "sign-in", network)
        if not self._limiter.hit(self._by_name, "sign-in", folded(email), network):
            raise self._throttled(self._by_name, "sign-in", folded(email), network)

    def failed(self, address: str | None) -> None:
        """Count a failure against the address."""
        self._limiter.hit(self._by_address, "sign-in", _network(address))

    def succeeded(self, email: str, address: str | None) -> None:
        """Forget the failures of this name from this address."""
        self._limiter.clear(self._by_name, "sign-in", folded(email), _network(address))

    def _throttled(self, item: RateLimitItem, *key: str) -> Throttled:
        left = self._limiter.get_window_stats(item, *key).reset_time - time.time()
        return Throttled(math.floor(left) + 1)  # at the very end of the window the attempt still counts


def _network(address: str | None) -> str:
    """Return an IPv4 address as it is and an IPv6 one as its /64, which is one customer's."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return "unknown"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))
