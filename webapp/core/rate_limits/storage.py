"""Counting uses in windows of time, by `limits`: in this process, or in a Redis that all processes share."""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from ...settings import SettingsError
from ..errors import RateLimited

KEYS_MAX = 50_000
SHARED_TIMEOUT_SECONDS = 0.25
SHARED_RETRY_SECONDS = 5
LOG = logging.getLogger(__name__)
_Answer = TypeVar("_Answer")


class WindowCounters:
    """Uses of quotas, each in a window that moves with the time.

    While the shared store is out of reach each process counts by itself: no quota is ever off (D8).

    :param storage_url: `memory://`, or the address of a Redis.
    :raises SettingsError: Redis is asked for, and its library is not installed.
    """

    def __init__(self, storage_url: str) -> None:
        self._own = MovingWindowRateLimiter(BoundedMemoryStorage())
        self._shared = None if storage_url.startswith("memory:") else MovingWindowRateLimiter(_redis(storage_url))
        self._ask_shared_at = 0.0
        self._shared_is_out = False

    def use(self, quota: RateLimitItem, *key: str) -> bool:
        """Count one more use, unless the quota is used up; tell whether it was free."""
        return self._ask(lambda windows: windows.hit(quota, *key))

    def is_free(self, quota: RateLimitItem, *key: str) -> bool:
        """Tell whether one more use is free, and count none."""
        return self._ask(lambda windows: windows.test(quota, *key))

    def reset(self, quota: RateLimitItem, *key: str) -> None:
        """Forget every use."""
        self._ask(lambda windows: windows.clear(quota, *key))

    def limit_reached(self, quota: RateLimitItem, *key: str) -> RateLimited:
        """Return the error that says when one more use of a quota is free: in one second at least (D4)."""
        free_at, remaining = self._ask(lambda windows: windows.get_window_stats(quota, *key))
        if remaining:  # since it was refused
            return RateLimited(1)
        return RateLimited(min(quota.get_expiry(), max(1, math.ceil(free_at - time.time()))))

    def _ask(self, question: Callable[[MovingWindowRateLimiter], _Answer]) -> _Answer:
        if self._shared is not None and time.monotonic() >= self._ask_shared_at:
            try:
                answer = question(self._shared)
            except StorageError as error:
                self._ask_shared_at = time.monotonic() + SHARED_RETRY_SECONDS
                if not self._shared_is_out:
                    self._shared_is_out = True
                    LOG.warning(
                        "rate limits are counted in each process: the shared store does not answer", exc_info=error
                    )
            else:
                if self._shared_is_out:
                    self._shared_is_out = False
                    LOG.warning("rate limits are shared again")
                return answer
        return question(self._own)


class BoundedMemoryStorage(MemoryStorage):
    """Moving windows in this process, of the keys used last.

    The library's own keeps every key of a moving window for ever, and walks over all of them for each use. Here a key
    goes when its window has passed, and where room is short the one used least lately.
    """

    # A name of its own, or it would take the place of the library's in the whole process.
    STORAGE_SCHEME = ["identity-clients-memory"]  # noqa: RUF012 - the library reads it so

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        super().__init__()
        self._keys_max = keys_max
        self._lock = Lock()
        # For each length of window its keys in the order of their last use, which is that of their end.
        self._uses: dict[int, OrderedDict[str, list[float]]] = {}

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count so many uses of a key, unless they are more than the limit within the window."""
        now = time.time()
        with self._lock:
            windows = self._uses.setdefault(expiry, OrderedDict())
            uses = [at for at in windows.get(key, ()) if at > now - expiry]
            if len(uses) + amount > limit:
                return False
            windows[key] = [*uses, *[now] * amount]
            windows.move_to_end(key)
            while len(windows) > self._keys_max or next(iter(windows.values()))[-1] <= now - expiry:
                windows.popitem(last=False)
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time of the oldest use within the window, and how many there are."""
        now = time.time()
        with self._lock:
            uses = [at for at in self._uses.get(expiry, OrderedDict()).get(key, ()) if at > now - expiry]
        return (uses[0] if uses else now), len(uses)

    def clear(self, key: str) -> None:
        """Forget a key."""
        with self._lock:
            for windows in self._uses.values():
                windows.pop(key, None)

    def __len__(self) -> int:
        return sum(map(len, self._uses.values()))


def _redis(url: str) -> Storage:
    try:
        from redis import ConnectionPool
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise SettingsError(
            f"IDENTITY_CLIENTS_THROTTLE_STORAGE_URL needs {error.name}. Run: pip install redis"
        ) from None
    # A request must not wait for a store that is away: the library would try for seconds.
    pool = ConnectionPool.from_url(
        url,
        socket_connect_timeout=SHARED_TIMEOUT_SECONDS,
        socket_timeout=SHARED_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return RedisStorage(url, connection_pool=pool, key_prefix="identity-clients", wrap_exceptions=True)
