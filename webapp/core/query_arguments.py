"""Read the arguments of a query string by which clients, events and token requests are searched (I4)."""

import re
from datetime import date, datetime

UNSEARCHABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Characters that no stored text contains, and that not every engine accepts as a parameter."""
# Not of every year: a time zone cannot be applied to the first and the last that Python has.
_DAY = re.compile(r"(?:19|20|21)[0-9]{2}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MINUTE = re.compile(rf"{_DAY.pattern}T[0-9]{{2}}:[0-9]{{2}}", re.ASCII)


def searchable(text: str, length_max: int) -> str:
    """Return a text to search for, or an empty one if it is too long or has characters that no stored text contains."""
    return "" if len(text) > length_max or UNSEARCHABLE.search(text) else text


def parse_day(text: str) -> date | None:
    """Return the day of a text such as `2026-03-31`; None if it is no day of the years 1900 to 2199."""
    try:
        return date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        return None


def parse_minute(text: str, *, of_day: str) -> datetime | None:
    """Return the minute of a text such as `2026-03-31T12:00`, naive; None if it is none of the years 1900 to 2199.

    :param of_day: the minute of a text that has only a day, such as `23:59`.
    """
    text = f"{text}T{of_day}" if _DAY.fullmatch(text) else text
    try:
        return datetime.fromisoformat(text) if _MINUTE.fullmatch(text) else None
    except ValueError:
        return None
