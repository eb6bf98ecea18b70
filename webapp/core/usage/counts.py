"""Count the token requests of each client, by day (UTC), secret or key, and outcome (L2)."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, inspect
from sqlalchemy.dialects import postgresql, sqlite

from ..database.models import TokenRequestCount
from .queries import CALLERS_MAX


class RequestCountKey(NamedTuple):
    """The key by which token requests are counted."""

    day: date
    client_key: uuid.UUID
    secret_label: str
    """Empty if no secret or key matched."""
    outcome: str


@dataclass(slots=True)
class RequestCount:
    """The number of token requests with one key.

    :param addresses: their addresses, at most `CALLERS_MAX`, each with its last time; the latest comes last.
    """

    count: int = 0
    addresses: dict[str | None, datetime] = field(default_factory=dict)

    def add(self, at: datetime, address: str | None) -> None:
        """Count one request."""
        self.count += 1
        self._add_address(at, address)

    def merge(self, newer: "RequestCount") -> None:
        """Add the count of later requests."""
        self.count += newer.count
        for address, at in newer.addresses.items():
            self._add_address(at, address)

    def latest(self) -> tuple[datetime, str | None]:
        """Return the time and the address of the last request."""
        address = next(reversed(self.addresses))
        return self.addresses[address], address

    def _add_address(self, at: datetime, address: str | None) -> None:
        self.addresses.pop(address, None)
        self.addresses[address] = at
        if len(self.addresses) > CALLERS_MAX:
            del self.addresses[next(iter(self.addresses))]


def write_counts(connection: Connection, counts: Mapping[RequestCountKey, RequestCount]) -> None:
    """Add to the stored counts."""
    ordered = sorted(counts.items(), key=lambda item: (item[0].day, item[0].client_key.int, *item[0][2:]))
    connection.execute(
        _UPSERT_COUNT[connection.dialect.name], [{**key._asdict(), "count": count.count} for key, count in ordered]
    )


def _upsert_count(insert_into: Any) -> Any:
    statement = insert_into(TokenRequestCount)
    return statement.on_conflict_do_update(
        index_elements=inspect(TokenRequestCount).primary_key,
        set_={"count": TokenRequestCount.count + statement.excluded["count"]},
    )


_UPSERT_COUNT = {"sqlite": _upsert_count(sqlite.insert), "postgresql": _upsert_count(postgresql.insert)}
