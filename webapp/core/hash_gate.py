"""A place for each hash computation: only so many at once in a process, whatever the number of requests (D7)."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .errors import Busy

PLACES_MAX = 4
# More at once than there are processors would make none of them quicker, and would take their memory.
PLACES = min(PLACES_MAX, os.cpu_count() or 1)
WAIT_SECONDS = 2
BUSY_RETRY_AFTER_SECONDS = 1

_Result = TypeVar("_Result")
_thread = threading.local()


def in_a_place(work: Callable[[], _Result]) -> _Result:
    """Run work that computes hashes as soon as there is a place, and return what it returns.

    Work within work runs in the same place.

    :raises Busy: no place became free within two seconds.
    """
    if getattr(_thread, "is_place", False):
        return work()
    future = _places.submit(work)
    try:
        return future.result(WAIT_SECONDS)
    except TimeoutError:
        if future.cancel():
            raise Busy(BUSY_RETRY_AFTER_SECONDS) from None
        return future.result()  # it has begun


def _sit_down() -> None:
    _thread.is_place = True


def _make_places() -> None:
    # Threads of their own: the memory of a computation stays with its thread's heap, so as many heaps would grow as
    # threads compute, and giving it back after each computation would cost half as much again.
    global _places
    _places = ThreadPoolExecutor(PLACES, "argon2", initializer=_sit_down)


_places: ThreadPoolExecutor
_make_places()
os.register_at_fork(after_in_child=_make_places)
