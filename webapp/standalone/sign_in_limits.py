"""Rate limits for failed sign-ins (D6)."""

from limits import RateLimitItemPerMinute

from ..core.addresses import rate_limit_address
from ..core.rate_limits.storage import WindowCounters
from .users import folded

WINDOW_MINUTES = 15
FAILURES_PER_NAME_AND_ADDRESS = 5
FAILURES_PER_ADDRESS = 20


class SignInLimits:
    """Counts failed sign-ins by name and address, and by address alone, so that no other address can lock a name out.

    :param counters: where the application counts.
    """

    def __init__(self, counters: WindowCounters) -> None:
        self._counters = counters
        self._by_name = RateLimitItemPerMinute(FAILURES_PER_NAME_AND_ADDRESS, WINDOW_MINUTES)
        self._by_address = RateLimitItemPerMinute(FAILURES_PER_ADDRESS, WINDOW_MINUTES)

    def begin(self, email: str, address: str | None) -> None:
        """Count an attempt before anything is hashed; `succeeded` takes it back.

        :raises RateLimited: too many have failed.
        """
        block = rate_limit_address(address)
        if not self._counters.test(self._by_address, "sign-in", block):
            raise self._counters.limit_reached(self._by_address, "sign-in", block)
        if not self._counters.hit(self._by_name, "sign-in", folded(email), block):
            raise self._counters.limit_reached(self._by_name, "sign-in", folded(email), block)

    def failed(self, address: str | None) -> None:
        """Count a failure against the address."""
        self._counters.hit(self._by_address, "sign-in", rate_limit_address(address))

    def succeeded(self, email: str, address: str | None) -> None:
        """Forget the failures of this name from this address."""
        self._counters.clear(self._by_name, "sign-in", folded(email), rate_limit_address(address))
