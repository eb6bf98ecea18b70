"""Encode and decode pagination cursors: the sort key of a row, as URLs carry it."""

import base64
import json

from ..query_arguments import UNSEARCHABLE

CURSOR_MAX = 2000


def encode_cursor(*parts: str) -> str:
    """Return a cursor with these parts."""
    text = json.dumps(parts, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, length: int) -> list[str] | None:
    """Return the parts of a cursor, None if it is malformed or has another number of parts (I4)."""
    if not cursor or len(cursor) > CURSOR_MAX:
        return None
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        return None
    if not isinstance(parts, list) or len(parts) != length:
        return None
    if not all(isinstance(part, str) and not UNSEARCHABLE.search(part) for part in parts):
        return None
    return parts
