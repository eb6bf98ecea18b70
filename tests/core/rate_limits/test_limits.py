"""Quotas in one process and shared by several (A6)."""

import time
from typing import Any

import pytest
import redis
import time_machine

from webapp.core.errors import RateLimited
from webapp.core.rate_limits.limits import RateLimits


def test_20_answers_in_any_hour() -> None:
    """The window slides, and both answers and refusals count (A6)."""
    rate_limits = RateLimits("memory://", 20)
    with time_machine.travel("2026-03-01 12:30:00+00:00", tick=False) as clock:
        for answer in range(20):
            if answer % 2:
                rate_limits.count_taken_id_answer("hannah")
            else:
                assert rate_limits.may_answer_taken_id("hannah")
            clock.shift(60)
        assert not rate_limits.may_answer_taken_id("hannah")
        assert rate_limits.may_answer_taken_id("somebody else")
        with pytest.raises(RateLimited) as caught:
            rate_limits.count_taken_id_answer("hannah")
        assert caught.value.retry_after_seconds == 40 * 60
        clock.shift(caught.value.retry_after_seconds)
        rate_limits.count_taken_id_answer("hannah")
        assert not rate_limits.may_answer_taken_id("hannah")


def test_processes_share_a_quota(redis_url: str) -> None:
    """Two applications with one Redis count together (A6)."""
    one, two = RateLimits(redis_url, 2), RateLimits(redis_url, 2)
    one.count_taken_id_answer("hannah")
    assert two.may_answer_taken_id("hannah")
    assert not one.may_answer_taken_id("hannah")
    with pytest.raises(RateLimited) as caught:
        two.count_taken_id_answer("hannah")
    assert 3590 < caught.value.retry_after_seconds <= 3600
    for rate_limits in (one, two):  # the application would keep it open until it ends
        storage: Any = rate_limits.counters._shared.storage  # type: ignore[union-attr]
        storage.storage.connection_pool.disconnect()


@pytest.mark.parametrize("step_seconds", [3600, -3600])
@pytest.mark.parametrize("store", ["memory", "redis"])
def test_a_step_of_the_clock_does_not_prolong_a_refusal(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, store: str, step_seconds: int
) -> None:
    """After a step back `Retry-After` stays the rest of the window, and the window ends then (T8).

    In Redis the uses carry the wall clock's times, but the key ends by the clock of Redis.
    """
    monkeypatch.setattr("webapp.core.rate_limits.storage._clock", time.monotonic)
    url = "memory://" if store == "memory" else str(request.getfixturevalue("redis_url"))
    rate_limits = RateLimits(url, 20, failures_per_client_and_address=2)
    with time_machine.travel("2026-03-01 12:30:00+00:00") as clock:
        for _ in range(2):
            rate_limits.count_failure("northwind-api", "192.0.2.1")
        clock.shift(step_seconds)
        if store == "memory" or step_seconds < 0:
            with pytest.raises(RateLimited) as caught:
                rate_limits.check_failures("northwind-api", "192.0.2.1")
            assert 290 < caught.value.retry_after_seconds <= 300
        else:
            rate_limits.check_failures("northwind-api", "192.0.2.1")  # the window has passed by the wall clock
    if store == "redis":
        with redis.Redis.from_url(url) as connection:
            assert all(0 < connection.ttl(key) <= 300 for key in connection.scan_iter())
        storage: Any = rate_limits.counters._shared.storage  # type: ignore[union-attr]
        storage.storage.connection_pool.disconnect()
