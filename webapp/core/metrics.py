"""Counts for monitoring, cheap enough for every request, and their sums over the processes of one host.

Everything is a number at a fixed index: in an array of this process, or in a file of its own in a directory that the
processes share. Adding needs no Prometheus library; `webapp.prometheus` reads the sums at a scrape.
"""

import contextlib
import mmap
import os
import threading
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import NamedTuple

BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
ENDPOINTS = ("token", "introspection", "revocation")
METHODS = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
SUCCESS, OTHER = "success", "other"
OUTCOMES = (
    SUCCESS, "unavailable", "throttled", "server_error", OTHER,
    # of `AuthenticationFailure`
    "malformed", "unknown", "wrong_secret", "ended_secret", "paused_secret", "deleted", "disabled", "account_off",
    "address_not_allowed", "wrong_key", "ended_key", "paused_key", "assertion_algorithm", "assertion_malformed",
    "assertion_audience", "assertion_expired", "assertion_early", "assertion_too_long", "assertion_used_before",
    "assertion_not_strict", "white_space_around_client_id",
    # of `ErrorKind`
    "plain_http", "wrong_method", "wrong_content_type", "too_large", "parameter_in_query", "not_utf_8",
    "repeated_parameter", "two_authentication_methods", "two_client_ids", "no_grant_type", "unsupported_grant_type",
    "invalid_client", "malformed_scope", "scope_not_allowed", "no_roles", "invalid_target", "no_token",
    "token_of_another_client",
)  # fmt: skip
"""How a request to the endpoint can end. No label is a client ID, so that their number stays small."""
LIMITS = (
    "taken-id", "token", "new-client", "export", "client-failure", "address-failure", "api-request", "test-message",
    OTHER,
)  # fmt: skip
DATABASE_ERRORS = ("unavailable", "not_writable", "pool_exhausted", "missing_tables")


class Metric(NamedTuple):
    """A metric: its name, what it means, and the values that its labels may have."""

    name: str
    help: str
    labels: Mapping[str, tuple[str, ...]] = {}
    is_gauge: bool = False


REQUESTS = Metric(
    "identity_clients_requests",
    "Requests to the identity endpoint.",
    {"endpoint": ENDPOINTS, "method": METHODS, "outcome": OUTCOMES},
)
DURATION = Metric(
    "identity_clients_request_seconds",
    "Time that requests to the identity endpoint took in the application.",
    {"endpoint": ENDPOINTS, "le": (*map(str, BUCKETS_SECONDS), "+Inf", "sum")},
)
ARGON2_WAITING = Metric(
    "identity_clients_argon2_in_use", "argon2id computations that run or wait for a thread.", is_gauge=True
)
ARGON2_REFUSED = Metric("identity_clients_argon2_refused", "Requests refused since too many wait for argon2id.")
RECORDER_BACKLOG = Metric(
    "identity_clients_recorder_backlog", "Counts of token requests that wait to be written.", is_gauge=True
)
RECORDER_LOST = Metric("identity_clients_recorder_lost", "Token requests that were neither stored nor counted.")
RATE_LIMITED = Metric("identity_clients_rate_limited", "Uses that a rate limit or quota refused.", {"limit": LIMITS})
LIMITS_NOT_SHARED = Metric(
    "identity_clients_rate_limits_not_shared", "Processes that count rate limits by themselves.", is_gauge=True
)
DATABASE = Metric("identity_clients_database_errors", "Errors of the database, by kind.", {"kind": DATABASE_ERRORS})
METRICS = (
    REQUESTS, DURATION, ARGON2_WAITING, ARGON2_REFUSED, RECORDER_BACKLOG, RECORDER_LOST, RATE_LIMITED,
    LIMITS_NOT_SHARED, DATABASE,
)  # fmt: skip
_INDEX = {
    key: index
    for index, key in enumerate(
        (metric.name, *values) for metric in METRICS for values in product(*metric.labels.values())
    )
}
_GAUGES = frozenset(
    _INDEX[metric.name, *values] for metric in METRICS if metric.is_gauge for values in product(*metric.labels.values())
)
_DURATION_START = {endpoint: _INDEX[DURATION.name, endpoint, str(BUCKETS_SECONDS[0])] for endpoint in ENDPOINTS}
_SUM = len(BUCKETS_SECONDS) + 1
_BYTES = len(_INDEX) * 8
_SUFFIX = ".metrics"

_lock = threading.Lock()
_directory: Path | None = None
_values: "array[float] | memoryview[float]" = array("d", bytes(_BYTES))


def share(directory: str) -> None:
    """Keep the numbers of this process in a file in a directory, which all processes of the host share.

    Files of processes that ended still count: empty the directory before the first process starts.

    :raises OSError: the directory cannot be written.
    """
    global _directory
    before, _directory = _directory, Path(directory)
    try:
        _open()
    except OSError:
        _directory = before
        raise


def add(metric: Metric, *values: str, amount: float = 1) -> None:
    """Add to a metric with these values of its labels; one that is not known counts as `OTHER`."""
    index = _INDEX.get((metric.name, *values))
    if index is None:
        index = _INDEX[metric.name, *values[:-1], OTHER]
    with _lock:
        _values[index] += amount


def set_gauge(metric: Metric, value: float) -> None:
    """Set a metric of this process that has no labels."""
    _values[_INDEX[metric.name,]] = value


def observe(endpoint: str, method: str, outcome: str, seconds: float) -> None:
    """Count one request to the endpoint and its duration, in less than a microsecond."""
    index = _INDEX.get((REQUESTS.name, endpoint, method, outcome))
    if index is None:
        index = _INDEX[REQUESTS.name, endpoint, method, OTHER]
    start = _DURATION_START[endpoint]
    with _lock:
        _values[index] += 1
        _values[start + bisect_left(BUCKETS_SECONDS, seconds)] += 1
        _values[start + _SUM] += seconds


def totals() -> dict[tuple[str, ...], float]:
    """Return the sum over all processes for each metric, by its name and the values of its labels."""
    sums = [0.0] * len(_INDEX)
    for values, is_running in _processes():
        for index, value in enumerate(values):
            if is_running or index not in _GAUGES:
                sums[index] += value
    return dict(zip(_INDEX, sums, strict=True))


def _processes() -> Iterator[tuple[Iterable[float], bool]]:
    """Yield the numbers of each process, and whether it still runs."""
    if _directory is None:
        yield list(_values), True
        return
    for path in _directory.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError, ValueError):
            content = path.read_bytes()
            if len(content) == _BYTES:  # else of another release
                yield array("d", content), _is_running(int(path.stem))


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _open() -> None:
    """Start from zero, in a file if there is a directory."""
    global _values, _lock
    _lock = threading.Lock()
    if _directory is None:
        _values = array("d", bytes(_BYTES))
        return
    descriptor = os.open(_directory / f"{os.getpid()}{_SUFFIX}", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, _BYTES)
        _values = memoryview(mmap.mmap(descriptor, _BYTES)).cast("d")
    finally:
        os.close(descriptor)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open)
