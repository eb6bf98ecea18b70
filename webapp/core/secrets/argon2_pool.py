"""A place for each hash computation: only so many at once in a process, whatever the number of requests (D7)."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..errors import Unavailable

POOL_SIZE_MAX = 4
WAIT_SECONDS = 2
BUSY_RETRY_AFTER_SECONDS = 1
_Result = TypeVar("_Result")
_thread = threading.local()


def run_in_pool(work: Callable[[], _Result]) -> _Result:
    """Run work that computes hashes as soon as there is a place, and return what it returns.

    Work within work runs in the same place.

    :raises Unavailable: no place became free within two seconds.
    """
    if getattr(_thread, "is_place", False):
        return work()
    future = _places.submit(work)
    try:
        return future.result(WAIT_SECONDS)
    except TimeoutError:
        if future.cancel():
            raise Unavailable(BUSY_RETRY_AFTER_SECONDS) from None
        return future.result()  # it has begun
    finally:
        del future  # else its error would hold this frame, and the frame the error, with the secret that was sent


def set_pool_size(processes: int) -> None:
    """Make as many places as this process has processors, where so many processes share those of the machine.

    More at once would make no computation quicker, and each place keeps 19 MiB.
    """
    global _count
    _count = max(1, min(POOL_SIZE_MAX, (os.cpu_count() or 1) // processes))
    _create_pool()


def pool_size() -> int:
    """Return how many computations run at once in this process."""
    return _count


def _create_pool() -> None:
    # Threads of their own: the memory of a computation stays with its thread's heap, so as many heaps would grow as
    # threads compute, and giving it back after each computation would cost half as much again.
    global _places
    _places = ThreadPoolExecutor(_count, "argon2", initializer=_mark_pool_thread)


def _mark_pool_thread() -> None:
    _thread.is_place = True


_count: int
_places: ThreadPoolExecutor
set_pool_size(1)
os.register_at_fork(after_in_child=_create_pool)
