"""Concurrent calls, each in a thread."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

from webapp.core.errors import DomainError


def run_concurrently(calls: list[Callable[[], Any]]) -> list[Any]:
    """Run the calls at the same moment, each in a thread; return the result or domain error of each."""
    barrier = Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        barrier.wait()
        try:
            return call()
        except DomainError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))
