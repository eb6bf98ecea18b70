"""Count uses in moving windows with `limits`: in this process, or in a Redis that all processes share."""

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

from limits import RateLimitItem
from limits.errors import StorageError
from limits.storage import MemoryStorage, RedisSentinelStorage, RedisStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from ...settings import SettingsError
from .. import metrics
from ..errors import RateLimited

KEYS_MAX = 50_000
SHARED_TIMEOUT_SECONDS = 0.25
SHARED_RETRY_SECONDS = 5
KEY_PREFIX = "identity-clients"
LOG = logging.getLogger(__name__)
# Not the wall clock: a step of an hour would end every window at once, or make it an hour longer.
_clock = time.monotonic
_Result = TypeVar("_Result")


class WindowCounters:
    """The uses of quotas, each within its moving window.

    While the shared store is unreachable each process counts by itself, so that no quota is ever off (D8).

    :param storage_url: `memory://`, or the URL of a Redis, or of the Sentinels of one.
    :raises SettingsError: the URL is of a Redis, whose client library is not installed.
    """

    def __init__(self, storage_url: str) -> None:
        self._local = MovingWindowRateLimiter(BoundedMemoryStorage())
        self._shared = None if storage_url.startswith("memory:") else MovingWindowRateLimiter(_redis(storage_url))
        self._retry_shared_at = 0.0
        self._shared_is_down = False

    def hit(self, quota: RateLimitItem, *key: str) -> bool:
        """Count one use unless the quota is used up; return whether it was counted."""
        return self._call(lambda limiter: limiter.hit(quota, *key))

    def test(self, quota: RateLimitItem, *key: str) -> bool:
        """Return whether one more use is allowed, without counting it."""
        return self._call(lambda limiter: limiter.test(quota, *key))

    def clear(self, quota: RateLimitItem, *key: str) -> None:
        """Delete the uses of a key."""
        self._call(lambda limiter: limiter.clear(quota, *key))

    def limit_reached(self, quota: RateLimitItem, *key: str) -> RateLimited:
        """Return the error to raise for a used-up quota; it says when to retry, in one second at least (D4)."""
        metrics.add(metrics.RATE_LIMITED, key[0])
        remaining, reset_after_seconds = self.state(quota, *key)
        # With uses left, the window has moved on meanwhile.
        return RateLimited(1 if remaining else reset_after_seconds)

    def state(self, quota: RateLimitItem, *key: str) -> tuple[int, int]:
        """Return how many more uses are allowed, and in how many seconds the oldest use leaves the window."""
        free_at, remaining = self._call(lambda limiter: limiter.get_window_stats(quota, *key))
        return remaining, min(quota.get_expiry(), max(1, math.ceil(free_at - time.time())))

    def close(self) -> None:
        """Close the connections to the shared store; a later use opens new ones."""
        if self._shared is not None and isinstance(storage := self._shared.storage, RedisStorage):
            storage.storage.connection_pool.disconnect()

    def _call(self, operation: Callable[[MovingWindowRateLimiter], _Result]) -> _Result:
        if self._shared is not None and time.monotonic() >= self._retry_shared_at:
            try:
                result = operation(self._shared)
            except StorageError as error:
                self._retry_shared_at = time.monotonic() + SHARED_RETRY_SECONDS
                if not self._shared_is_down:
                    self._shared_is_down = True
                    metrics.set_gauge(metrics.LIMITS_NOT_SHARED, 1)
                    LOG.warning(
                        "rate limits are counted in each process: the shared store does not answer", exc_info=error
                    )
            else:
                if self._shared_is_down:
                    self._shared_is_down = False
                    metrics.set_gauge(metrics.LIMITS_NOT_SHARED, 0)
                    LOG.warning("rate limits are shared again")
                return result
        return operation(self._local)


class BoundedMemoryStorage(MemoryStorage):
    """Moving windows in the memory of this process, of the most recently used keys.

    `MemoryStorage` never removes the keys of moving windows, and iterates over all of them at each use. Here a key is
    removed once its window has passed, or when there are too many and it is the least recently used.
    """

    # Registered by its scheme, so that one of the library's would replace the library's storage in the whole process.
    STORAGE_SCHEME = ["identity-clients-memory"]  # noqa: RUF012 - declared so by the library

    def __init__(self, keys_max: int = KEYS_MAX) -> None:
        # Not that of MemoryStorage, which starts a thread: an application may be created before its process forks, or
        # before its server replaces threads by greenlets.
        super(MemoryStorage, self).__init__()
        self._keys_max = keys_max
        self._lock = Lock()
        # By length of window, keys in order of last use, which is also the order in which their windows end.
        self._uses: dict[int, OrderedDict[str, list[float]]] = {}

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Count uses of a key and return True, or return False if they would exceed the limit within the window."""
        now = _clock()
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
        """Return the wall-clock time of the oldest use within the window, and the number of uses."""
        now = _clock()
        with self._lock:
            uses = [at for at in self._uses.get(expiry, OrderedDict()).get(key, ()) if at > now - expiry]
        return time.time() - (now - uses[0] if uses else 0), len(uses)

    def clear(self, key: str) -> None:
        """Delete the uses of a key."""
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
    # Short, without retries, since a request must not wait for seconds for an unreachable store.
    options: dict[str, Any] = {
        "socket_connect_timeout": SHARED_TIMEOUT_SECONDS,
        "socket_timeout": SHARED_TIMEOUT_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    if url.startswith("redis+sentinel:"):
        # Not from replicas, which receive each count a moment later, and whose loss would need a second look-up.
        return RedisSentinelStorage(
            url,
            use_replicas=False,
            sentinel_kwargs=options,
            key_prefix=KEY_PREFIX,
            wrap_exceptions=True,
            **options,
        )
    pool = ConnectionPool.from_url(url, **options)
    return RedisStorage(url, connection_pool=pool, key_prefix=KEY_PREFIX, wrap_exceptions=True)
