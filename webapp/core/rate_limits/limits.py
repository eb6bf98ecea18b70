"""Every rate limit and quota: failed authentications, tokens, new clients, exports, "already in use" answers."""

import hashlib
import uuid
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute

from ..addresses import rate_limit_address
from ..errors import RateLimited, TooManyNewClients
from .storage import WindowCounters

FAILURE_WINDOW_MINUTES = 5
_RECORDED_REFUSALS = RateLimitItemPerHour(20)
_TEST_MESSAGES = RateLimitItemPerHour(30)


class QuotaState(NamedTuple):
    """The state of a quota after one use.

    :param amount: how many uses a window allows.
    :param remaining: how many more are allowed now.
    :param reset_after_seconds: when the oldest use leaves the window, and one more is allowed.
    :param is_exceeded: whether the use was beyond the quota, and was not counted.
    """

    amount: int
    window_seconds: int
    remaining: int
    reset_after_seconds: int
    is_exceeded: bool


class RateLimits:
    """The rate limits of one application. A quota of 0 means that there is none.

    :param storage_url: `memory://`, or `redis://...` shared by all processes.
    :param taken_id_answers_per_hour: how often one actor gets the answer "already in use" (A6).
    :param failures_per_client_and_address: failed authentications in five minutes per client ID and address (D2).
    :param failures_per_address: the same per address, over all client IDs (D2).
    :param tokens_per_client_and_minute: tokens for one client (D5).
    :param new_clients_per_account_and_hour: clients that one account creates (D5).
    :param exports_per_actor_and_hour: files that one actor exports (D5).
    :param api_requests_per_client_and_minute: requests of one client to the management API (D5).
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
        api_requests_per_client_and_minute: int = 600,
    ) -> None:
        self.counters = WindowCounters(storage_url)
        self._taken_id_answers = RateLimitItemPerHour(taken_id_answers_per_hour)
        self._client_failures = RateLimitItemPerMinute(failures_per_client_and_address, FAILURE_WINDOW_MINUTES)
        self._address_failures = RateLimitItemPerMinute(failures_per_address, FAILURE_WINDOW_MINUTES)
        self._failure_notices = RateLimitItemPerMinute(1, FAILURE_WINDOW_MINUTES)
        self._tokens = _quota(RateLimitItemPerMinute, tokens_per_client_and_minute)
        self._new_clients = _quota(RateLimitItemPerHour, new_clients_per_account_and_hour)
        self._exports = RateLimitItemPerHour(exports_per_actor_and_hour)
        self._api_requests = RateLimitItemPerMinute(api_requests_per_client_and_minute)

    def may_answer_taken_id(self, actor_id: str) -> bool:
        """Count one answer "already in use" to this actor; return False if the quota is used up (A6)."""
        return self.counters.hit(self._taken_id_answers, "taken-id", actor_id)

    def count_taken_id_answer(self, actor_id: str) -> None:
        """Count one answer "already in use" to this actor (A6).

        :raises RateLimited: the quota of the hour is used up, so that the answer must not be given.
        """
        self._count(self._taken_id_answers, "taken-id", actor_id)

    def count_token(self, client_key: uuid.UUID) -> None:
        """Count one token for an authenticated client (D5).

        :raises RateLimited: the quota of the minute is used up.
        """
        if self._tokens:
            self._count(self._tokens, "token", client_key.hex)

    def count_api_request(self, client_key: uuid.UUID) -> "QuotaState":
        """Count one request of a client to the management API; return what is left of the minute (D5)."""
        key = ("api-request", client_key.hex)
        counted = self.counters.hit(self._api_requests, *key)
        remaining, reset_after_seconds = self.counters.state(self._api_requests, *key)
        return QuotaState(
            amount=self._api_requests.amount,
            window_seconds=self._api_requests.get_expiry(),
            remaining=remaining if counted else 0,
            reset_after_seconds=reset_after_seconds,
            is_exceeded=not counted,
        )

    def count_new_client(self, account_id: str) -> None:
        """Count one new client of an account (D5).

        :raises TooManyNewClients: the quota of the hour is used up.
        """
        if self._new_clients:
            try:
                self._count(self._new_clients, "new-client", account_id)
            except RateLimited as error:
                raise TooManyNewClients(error.retry_after_seconds) from None

    def count_export(self, actor_id: str) -> None:
        """Count one file that an actor exports (D5).

        :raises RateLimited: the quota of the hour is used up.
        """
        self._count(self._exports, "export", actor_id)

    def count_test_message(self, actor_id: str) -> None:
        """Count one test message or repetition of a message that an actor sends; 30 an hour are allowed.

        :raises RateLimited: the quota of the hour is used up.
        """
        self._count(_TEST_MESSAGES, "test-message", actor_id)

    def may_record_refusal(self, actor_id: str, kind: str) -> bool:
        """Count one refusal of this kind for an actor; return False if it need not be in the audit log (L2)."""
        return self.counters.hit(_RECORDED_REFUSALS, "refusal", actor_id, kind)

    def check_failures(self, client_id: str, address: str | None) -> None:
        """Refuse to check a secret after too many failures (D2), which are never counted by client ID alone (D3).

        :raises RateLimited: too many authentications failed with this client ID from this address, or from this
            address.
        """
        reached = [
            self.counters.limit_reached(quota, *key)
            for quota, key in self._failure_quotas(client_id, address)
            if not self.counters.test(quota, *key)
        ]
        if reached:
            raise max(reached, key=lambda error: error.retry_after_seconds)

    def count_failure(self, client_id: str, address: str | None) -> bool:
        """Count a failed authentication; return whether it was the first to reach the limit (D4)."""
        is_first_report = False
        for quota, key in self._failure_quotas(client_id, address):
            self.counters.hit(quota, *key)
            if not self.counters.test(quota, *key) and self.counters.hit(self._failure_notices, "notice", *key):
                is_first_report = True
        return is_first_report

    def _failure_quotas(self, client_id: str, address: str | None) -> list[tuple[RateLimitItem, tuple[str, ...]]]:
        caller = rate_limit_address(address)
        # A digest, since people paste secrets as client IDs and others may read the store (L3).
        digest = hashlib.sha256(client_id.encode()).hexdigest()[:32]
        return [
            (self._client_failures, ("client-failure", caller, digest)),
            (self._address_failures, ("address-failure", caller)),
        ]

    def _count(self, quota: RateLimitItem, *key: str) -> None:
        if not self.counters.hit(quota, *key):
            raise self.counters.limit_reached(quota, *key)


def _quota(unit: type[RateLimitItem], amount: int) -> RateLimitItem | None:
    return unit(amount) if amount else None
