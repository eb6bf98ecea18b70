"""The outcomes of token requests that wait in memory to be written (L2)."""

import itertools
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select

from ..credentials import is_well_formed
from ..database.models import ClaimedClientId
from ..database.outcomes import AuthenticationFailure
from .counts import RequestCount, RequestCountKey
from .stored_requests import RecordedRequest

REQUESTS_MAX = 10_000
"""How many requests wait in memory to be stored individually; beyond, the oldest are only counted."""
COUNTS_MAX = 20_000
"""How many counts wait in memory; a request that would need a further one is lost."""
UNKNOWN_REQUESTS_MAX = 1_000
"""How many requests with unknown client IDs wait in memory; beyond, the oldest are only counted."""


class UnknownClientRequest(NamedTuple):
    """A token request with an ID that no client has at present."""

    client_id: str
    at: datetime
    outcome: str
    address: str | None
    scope: str
    request_id: str | None


@dataclass(slots=True)
class PendingWrites:
    """The outcomes that wait to be written."""

    counts: dict[RequestCountKey, RequestCount] = field(default_factory=dict)
    requests: deque[RecordedRequest] = field(default_factory=lambda: deque(maxlen=REQUESTS_MAX))
    unknown: deque[UnknownClientRequest] = field(default_factory=lambda: deque(maxlen=UNKNOWN_REQUESTS_MAX))
    unknown_count: int = 0
    """The number of requests with unknown IDs, including those that no longer fit into `unknown`."""
    lost: int = 0
    """The number of requests that are not counted, since there are `COUNTS_MAX` counts."""

    def __bool__(self) -> bool:
        return bool(self.counts or self.unknown_count)

    def add(self, request: RecordedRequest) -> None:
        """Add a request of a client."""
        self.requests.append(request)
        key = RequestCountKey(request.at.date(), request.client_key, request.secret_label or "", request.outcome)
        count = self._count_of(key)
        if count is None:
            self.lost += 1
        else:
            count.add(request.at, request.address)

    def add_unknown(self, request: UnknownClientRequest) -> None:
        """Add a request with an ID that no client has at present."""
        self.unknown.append(request)
        self.unknown_count += 1

    def split_off(self, counts_max: int) -> "PendingWrites":
        """Remove and return all but the first `counts_max` counts, with the requests of their clients."""
        rest = PendingWrites()
        for key in list(itertools.islice(self.counts, counts_max, None)):
            rest.counts[key] = self.counts.pop(key)
        if rest:
            clients = {key.client_key for key in self.counts}
            requests, self.requests = self.requests, deque(maxlen=REQUESTS_MAX)
            for request in requests:
                (self if request.client_key in clients else rest).requests.append(request)
        return rest

    def merge(self, newer: "PendingWrites") -> None:
        """Add later outcomes."""
        for key, newer_count in newer.counts.items():
            count = self._count_of(key)
            if count is None:
                self.lost += newer_count.count
            else:
                count.merge(newer_count)
        self.requests.extend(newer.requests)
        self.unknown.extend(newer.unknown)
        self.unknown_count += newer.unknown_count
        self.lost += newer.lost

    def assign_unknown(self, connection: Connection) -> None:
        """Assign requests with unknown IDs to the client that had the ID before, or whose ID is almost the same.

        That is one in another letter case, or without the white space at its ends, which is then the reason (S10).
        """
        well_formed = [client_id for request in self.unknown if is_well_formed(client_id := request.client_id.strip())]
        clients = _clients_by_claimed_id(connection, well_formed) if well_formed else {}
        for _ in range(len(self.unknown)):
            request = self.unknown.popleft()
            stripped = request.client_id.strip()
            client_key = clients.get(stripped.casefold())
            if client_key is None:
                self.unknown.append(request)
            else:
                self.unknown_count -= 1
                _, at, outcome, address, scope, request_id = request
                if stripped != request.client_id and isinstance(outcome, AuthenticationFailure):
                    outcome = AuthenticationFailure.WHITE_SPACE
                self.add(RecordedRequest(client_key, at, outcome, None, address, scope, None, request_id))

    def _count_of(self, key: RequestCountKey) -> RequestCount | None:
        """Return the count of a key, None if a further one would exceed `COUNTS_MAX`."""
        count = self.counts.get(key)
        if count is None and len(self.counts) < COUNTS_MAX:
            count = self.counts[key] = RequestCount()
        return count


def _clients_by_claimed_id(connection: Connection, client_ids: Iterable[str]) -> Mapping[str, uuid.UUID]:
    """Return the clients that have or had these IDs in any letter case, by case-folded ID; unknown IDs are left out."""
    folded = {client_id.casefold() for client_id in client_ids}
    rows = connection.execute(
        select(ClaimedClientId.client_id_folded, ClaimedClientId.client_key).where(
            ClaimedClientId.client_id_folded.in_(folded)
        )
    )
    return {client_id: key for client_id, key in rows if key is not None}
