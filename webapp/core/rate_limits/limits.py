"""How often things may fail or be done: guessing, and quotas."""

import hashlib
import uuid

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from ..addresses import rate_limit_address
from ..errors import RateLimited, TooManyNewClients
from .storage import WindowCounters

FAILURE_WINDOW_MINUTES = 5
_RECORDED_REFUSALS = RateLimitItemPerHour(20)


class RateLimits:
    """Every quota of one application. A number of 0 means that there is none.

    :param storage_url: `memory://`, or `redis://...` shared by all processes.
    :param taken_id_answers_per_hour: how often one actor is told "already in use" (A6).
    :param failures_per_client_and_address: failed authentications in five minutes, of one client ID and address (D2).
    :param failures_per_address: the same, of one address whatever the client ID (D2).
    :param tokens_per_client_and_minute: tokens for one client (D5).
    :param new_clients_per_account_and_hour: clients that one account makes (D5).
    :param exports_per_actor_and_hour: files that one actor exports (D5).
    """

    def __init__(
        self,
        storage_url: str,
        taken_id_answers_per_hour: int,
        *,
        failures_per_client_and_address: int = 10,
        failures_per_address: int = 30,
        tokens_per_client_and_minute: int = 0,
        new_clients_per_account_and_hour: int = 0,
        exports_per_actor_and_hour: int = 10,
    ) -> None:
        self.counters = WindowCounters(storage_url)
        self._taken_id_answers = RateLimitItemPerHour(taken_id_answers_per_hour)
        self._client_failures = RateLimitItemPerMinute(failures_per_client_and_address, FAILURE_WINDOW_MINUTES)
        self._address_failures = RateLimitItemPerMinute(failures_per_address, FAILURE_WINDOW_MINUTES)
        self._failure_notices = RateLimitItemPerMinute(1, FAILURE_WINDOW_MINUTES)
        self._tokens = _quota(RateLimitItemPerMinute, tokens_per_client_and_minute)
        self._new_clients = _quota(RateLimitItemPerHour, new_clients_per_account_and_hour)
        self._exports = RateLimitItemPerHour(exports_per_actor_and_hour)

    def may_answer_taken_id(self, actor_id: str) -> bool:
        """Count one more "already in use" for this actor, and tell whether it may be given (A6)."""
        return self.counters.use(self._taken_id_answers, "taken-id", actor_id)

    def count_taken_id_answer(self, actor_id: str) -> None:
        """Count one more "already in use" for this actor (A6).

        :raises Throttled: the quota of the hour is used up; the answer must not be given.
        """
        self._count(self._taken_id_answers, "taken-id", actor_id)

    def count_token(self, client_key: uuid.UUID) -> None:
        """Count one more token for a client that has authenticated (D5).

        :raises Throttled: the quota of the minute is used up.
        """
        if self._tokens:
            self._count(self._tokens, "token", client_key.hex)

    def count_new_client(self, account_id: str) -> None:
        """Count one more new client of an account (D5).

        :raises TooManyNewClients: the quota of the hour is used up.
        """
        if self._new_clients:
            try:
                self._count(self._new_clients, "new-client", account_id)
            except RateLimited as throttled:
                raise TooManyNewClients(throttled.retry_after_seconds) from None

    def count_export(self, actor_id: str) -> None:
        """Count one more file that an actor exports (D5).

        :raises Throttled: the quota of the hour is used up.
        """
        self._count(self._exports, "export", actor_id)

    def may_record_refusal(self, actor_id: str, kind: str) -> bool:
        """Count one more refusal of this kind for an actor, and tell whether the trail has room for it (L2)."""
        return self.counters.use(_RECORDED_REFUSALS, "refusal", actor_id, kind)

    def check_failures(self, client_id: str, address: str | None) -> None:
        """Refuse to look at a secret where too many were wrong (D2). Nobody is throttled by the client ID alone (D3).

        :raises Throttled: too many authentications failed, of this client ID from this address, or from this address.
        """
        used_up = [
            self.counters.limit_reached(quota, *key)
            for quota, key in self._failure_windows(client_id, address)
            if not self.counters.is_free(quota, *key)
        ]
        if used_up:
            raise max(used_up, key=lambda throttled: throttled.retry_after_seconds)

    def count_failure(self, client_id: str, address: str | None) -> bool:
        """Count a failed authentication; tell whether it was the last one looked at, once in a window (D4)."""
        is_news = False
        for quota, key in self._failure_windows(client_id, address):
            self.counters.use(quota, *key)
            if not self.counters.is_free(quota, *key) and self.counters.use(self._failure_notices, "notice", *key):
                is_news = True
        return is_news

    def _failure_windows(self, client_id: str, address: str | None) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
        block = rate_limit_address(address)
        # People paste secrets where IDs belong: a store that others may read gets a digest (L3).
        digest = hashlib.sha256(client_id.encode()).hexdigest()[:32]
        return [
            (self._client_failures, ("client-failure", block, digest)),
            (self._address_failures, ("address-failure", block)),
        ]

    def _count(self, quota: RateLimitItem, *key: str) -> None:
        if not self.counters.use(quota, *key):
            raise self.counters.limit_reached(quota, *key)


def _quota(unit: type[RateLimitItem], amount: int) -> RateLimitItem | None:
    return unit(amount) if amount else None
