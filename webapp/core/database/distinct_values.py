"""Read the distinct values of an indexed column, for the choices of a filter."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute


def distinct_values(
    column: InstrumentedAttribute[Any], condition: ColumnElement[bool], *, count_max: int | None = None
) -> CTE:
    """Return the distinct values of a column in the rows that meet a condition, as `value`; the last one is NULL.

    It jumps from one value to the next in the index (a loose index scan), where DISTINCT would read every row.

    :param column: the column of an index that follows those of the condition.
    """
    found = (
        select(func.min(column).label("value"), literal(1).label("number"))
        .where(condition)
        .cte("distinct_values", recursive=True)
    )
    following = select(func.min(column)).where(condition, column > found.c.value).scalar_subquery()
    step = select(following, found.c.number + 1).where(found.c.value.is_not(None))
    return found.union_all(step if count_max is None else step.where(found.c.number < count_max))
