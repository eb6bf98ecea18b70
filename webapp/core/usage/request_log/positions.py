"""Positions in the order of the token requests, and how URLs carry them."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ...database.cursors import decode_cursor, encode_cursor
from ...database.models import TokenRequest

_NUMBER_MAX = 2**63 - 1
"""The greatest number that the column can hold."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_KEY = re.compile(r"([0-9]{1,17})-([0-9]{1,19})", re.ASCII)


class Position(NamedTuple):
    """A position in the order of the requests: by time, and by number at the same time."""

    at: datetime
    number: int


def cursor_of(position: TokenRequest | Position) -> str:
    """Return the cursor of a position, or of a request's position."""
    return encode_cursor(position.at.isoformat(), str(position.number))


def parse_cursor(cursor: str) -> Position | None:
    """Return the position that a cursor encodes, None if it is empty or invalid (I4)."""
    parts = decode_cursor(cursor, 2)
    if parts is None:
        return None
    try:
        at, number = datetime.fromisoformat(parts[0]).astimezone(UTC), int(parts[1])
    except (ValueError, OverflowError):
        return None
    return Position(at, number) if abs(number) <= _NUMBER_MAX else None


def key_of(request: TokenRequest) -> str:
    """Return the key of a request among those of its client, for a URL."""
    return f"{(request.at - _EPOCH) // timedelta(microseconds=1)}-{request.number}"


def parse_key(key: str) -> Position | None:
    """Return the position of the request with a key, None if the key is invalid."""
    found = _KEY.fullmatch(key)
    if found is None or int(found[2]) > _NUMBER_MAX:
        return None
    return Position(_EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))
