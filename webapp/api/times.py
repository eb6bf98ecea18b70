"""Days and moments in query strings."""

import re
from datetime import date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from .requests import argument_error

_FIRST_YEAR, _LAST_YEAR = 1900, 2199
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
# RFC 3339 section 5.6
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)


def _parse_day(value: Any) -> date:
    """Return the day of a text; pydantic would also accept a number of seconds."""
    try:
        if isinstance(value, str) and _DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise PydanticCustomError("day", "Write the day as YYYY-MM-DD")


def _parse_moment(value: Any) -> datetime:
    """Return the time of a text; pydantic would also accept a number of seconds, and a time without a zone."""
    try:
        if isinstance(value, str) and _MOMENT.fullmatch(value):
            return datetime.fromisoformat(value.upper())
    except ValueError:
        pass
    raise PydanticCustomError("moment", "Write the time as in RFC 3339, such as 2026-03-31T12:00:00Z")


Day = Annotated[date, BeforeValidator(_parse_day)]
Moment = Annotated[datetime, BeforeValidator(_parse_moment)]


def check_years(**arguments: date | None) -> None:
    """Refuse days and moments that are so far away that no time zone can be applied to them.

    :raises ProblemRaised: with the name of the argument.
    """
    for name, value in arguments.items():
        if value is not None and not _FIRST_YEAR <= value.year <= _LAST_YEAR:
            raise argument_error(name, f"Use a time of the years {_FIRST_YEAR} to {_LAST_YEAR}.")
