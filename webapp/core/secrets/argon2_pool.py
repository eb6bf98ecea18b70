"""Bound the argon2id computations of a process: few run at once, few requests wait, others are refused at once (D7)."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .. import metrics
from ..errors import Unavailable

POOL_SIZE_MAX = 4
WAITING_MAX = 8
WAIT_SECONDS = 2
RETRY_AFTER_SECONDS = 1
_Result = TypeVar("_Result")


class _Argon2Pool:
    """A pool of threads for argon2id, and a semaphore that limits how many callers compute or wait.

    The 19 MiB of a computation stay allocated to the thread that ran it, so separate threads bound the memory.
    Returning it to the system after each computation would cost half as much time again.
    """

    def __init__(self, size: int) -> None:
        self.executor = ThreadPoolExecutor(size, "argon2", initializer=_mark_pool_thread)
        self.places = threading.BoundedSemaphore(size + WAITING_MAX)


_size = max(1, min(POOL_SIZE_MAX, os.cpu_count() or 1))
_pool: _Argon2Pool | None = None
_pool_lock = threading.Lock()
_pool_thread = threading.local()


def run_in_pool(work: Callable[[], _Result]) -> _Result:
    """Run work that computes argon2id on a thread of the pool, and return its result.

    Work that runs in the pool already runs at once, in the same thread.

    :raises Unavailable: `WAITING_MAX` requests wait already, or no thread became free within `WAIT_SECONDS`.
    """
    if getattr(_pool_thread, "active", False):
        return work()
    pool = _get_pool()
    if not pool.places.acquire(blocking=False):
        metrics.add(metrics.ARGON2_REFUSED)
        raise Unavailable(RETRY_AFTER_SECONDS)
    metrics.add(metrics.ARGON2_WAITING)
    try:
        future = pool.executor.submit(work)
        try:
            return future.result(WAIT_SECONDS)
        except TimeoutError:
            if future.cancel():
                metrics.add(metrics.ARGON2_REFUSED)
                raise Unavailable(RETRY_AFTER_SECONDS) from None
            return future.result()  # it has begun
        finally:
            del future  # its error would refer to this frame, and the frame to the error, with the secret in it
    finally:
        metrics.add(metrics.ARGON2_WAITING, amount=-1)
        pool.places.release()


def set_pool_size(processes: int) -> None:
    """Compute as many at once as this process has processors, where `processes` of them share the machine's.

    More would finish none of them sooner, and each keeps 19 MiB.
    """
    global _size, _pool
    with _pool_lock:
        _size = max(1, min(POOL_SIZE_MAX, (os.cpu_count() or 1) // processes))
        _pool = None


def pool_size() -> int:
    """Return how many computations run at once in this process."""
    return _size


def _get_pool() -> _Argon2Pool:
    """Return the pool, which is made at its first use: after a fork, and after a server has patched `threading`."""
    global _pool
    with _pool_lock:
        if _pool is None:
            _pool = _Argon2Pool(_size)
        return _pool


def _mark_pool_thread() -> None:
    _pool_thread.active = True


def _forget_pool() -> None:
    """Start a forked process without the pool of its parent, whose threads do not exist in it."""
    global _pool, _pool_lock
    _pool, _pool_lock = None, threading.Lock()


os.register_at_fork(after_in_child=_forget_pool)
