"""Column types that behave the same on every engine."""

import json
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import BigInteger, DateTime, Dialect, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

from ..addresses import AllowedNetwork


class UtcDateTime(TypeDecorator[datetime]):
    """An aware time in UTC; a naive one raises ValueError."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC.

        :raises ValueError: the time is naive.
        """
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time was given")
        return value if value.tzinfo is UTC else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return an aware time; SQLite stores no time zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class EpochSeconds(TypeDecorator[datetime]):
    """A time stored in whole seconds since 1970; None, for never, is stored as 0.

    NULL would not do, since keyset pagination cannot continue after it.
    """

    impl = BigInteger
    cache_ok = True
    coerce_to_is_types = ()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int:
        """Return the time in seconds.

        :raises ValueError: the time is naive.
        """
        if value is None:
            return 0
        if value.tzinfo is None:
            raise ValueError("a naive time was given")
        return int(value.timestamp())

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        """Return an aware time in UTC, None for never."""
        return datetime.fromtimestamp(value, UTC) if value else None


class StringSet(TypeDecorator[frozenset[str]]):
    """A set of keys, stored as a sorted JSON list, so that a filter can search for `"key"`."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Collection[str] | None, dialect: Dialect) -> str | None:
        """Return a sorted JSON list."""
        return None if value is None else json.dumps(sorted(value), separators=(",", ":"))

    def process_result_value(self, value: str | None, dialect: Dialect) -> frozenset[str] | None:
        """Return a frozen set."""
        return None if value is None else _key_set(value)


@lru_cache(maxsize=4096)
def _key_set(value: str) -> frozenset[str]:
    # Cached, since many clients have the same few roles and each token request reads them.
    return frozenset(json.loads(value))


class NetworkList(TypeDecorator[tuple[AllowedNetwork, ...]]):
    """The networks from which a client may call, stored as a JSON list of pairs of network and label."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Iterable[AllowedNetwork] | None, dialect: Dialect) -> str | None:
        """Return a JSON list in the given order."""
        return None if value is None else json.dumps(list(value), separators=(",", ":"), ensure_ascii=False)

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[AllowedNetwork, ...]:
        """Return a tuple of networks."""
        if value is None or value == "[]":  # as for most clients; each token request reads this
            return ()
        return tuple(AllowedNetwork(network, label) for network, label in json.loads(value))


class _Masked(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return "***"


class MaskedText(TypeDecorator[str]):
    """The text of a hash, whose repr() is `***`, since SQLAlchemy logs result rows at debug level (L4)."""

    impl = String
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        """Return the text with a masked repr()."""
        return None if value is None else _Masked(value)


def sorted_text(length: int | None = None) -> TypeEngine[str]:
    """Return a text type that sorts by code point on every engine, whatever the database's collation."""
    plain = String(length) if length else Text()
    return plain.with_variant(type(plain)(length, collation="C"), "postgresql")
