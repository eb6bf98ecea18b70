"""Quotas, counted by `limits` in this process or in a shared Redis."""

import math
import time

from limits import RateLimitItem, RateLimitItemPerHour
from limits.storage import storage_from_string
from limits.strategies import MovingWindowRateLimiter

from .errors import Throttled


class Throttles:
    """Every quota of one application.

    :param storage_url: `memory://`, or `redis://...` shared by all processes.
    :param taken_id_answers_per_hour: how often one actor is told "already in use" (A6).
    """

    def __init__(self, storage_url: str, taken_id_answers_per_hour: int) -> None:
        self._limiter = MovingWindowRateLimiter(storage_from_string(storage_url))
        self._taken_id_answers = RateLimitItemPerHour(taken_id_answers_per_hour)

    def may_answer_taken_id(self, actor_id: str) -> bool:
        """Count one more "already in use" for this actor, and tell whether it may be given (A6)."""
        return self._limiter.hit(self._taken_id_answers, "taken-id", actor_id)

    def count_taken_id_answer(self, actor_id: str) -> None:
        """Count one more "already in use" for this actor (A6).

        :raises Throttled: the quota of the hour is used up; the answer must not be given.
        """
        self.count(self._taken_id_answers, "taken-id", actor_id)

    def count(self, quota: RateLimitItem, *key: str) -> None:
        """Count one more use of a quota.

        :raises Throttled: it is used up.
        """
        if not self._limiter.hit(quota, *key):
            free_at = self._limiter.get_window_stats(quota, *key).reset_time
            # At the very moment of its end a use still counts.
            raise Throttled(max(0, math.floor(free_at - time.time())) + 1)
