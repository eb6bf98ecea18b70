"""The SELECT of a page of token requests, and of the last row that it tests.

A statement is built once for all queries of one form, that is with the same columns and numbers of ranges; values are
parameters.
"""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Integer,
    Select,
    bindparam,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.orm import InstrumentedAttribute

from ...database.models import TokenRequest

Range = Mapping[str, object]
"""A part of an index, in the order of time: the values of the columns with which the index begins.

All ranges of a search have the same columns.
"""
Conditions = Mapping[str, Collection[object]]
"""The values that other columns must have, one of those given."""
_COLUMNS: tuple[InstrumentedAttribute[Any], ...] = (
    TokenRequest.client_key,
    TokenRequest.at,
    TokenRequest.number,
    TokenRequest.outcome,
    TokenRequest.secret_label,
    TokenRequest.address,
)
"""The primary key, and the columns of conditions."""
_ROWS_MAX: BindParameter[int] = bindparam("rows_max", type_=Integer)
_SCAN_MAX: BindParameter[int] = bindparam("scan_max", type_=Integer)
_BEFORE_LAST: BindParameter[int] = bindparam("before_last", type_=Integer)


class Statements(NamedTuple):
    """The statements of a search.

    :param rows: SELECT the rows of a page and one more.
    :param last_tested: SELECT the time and number of the last row that may be tested for the conditions, if there are
        any.
    """

    rows: Select[TokenRequest]
    last_tested: Select[Any] | None


@lru_cache(maxsize=128)
def build_statements(
    range_columns: tuple[str, ...],
    range_count: int,
    condition_columns: tuple[str, ...],
    bounds: tuple[str, ...],
    *,
    backwards: bool,
    row_by_row: bool,
) -> Statements:
    """Return the statements for all queries of one form; `parameters_of` returns the values of their parameters.

    They are kept, since building those of all outcomes takes several times as long as running them.

    :param range_columns: the columns of each range.
    :param condition_columns: the columns of the conditions.
    :param bounds: which of the bounds `since`, `until`, and `at` with `number` (a position) there are.
    :param backwards: towards newer rows.
    :param row_by_row: whether the engine merges ranges row by row, as SQLite does. PostgreSQL would read and sort all
        their rows, so that there each range has a limit of its own.
    """
    within = _within_bounds(bounds, backwards=backwards)
    scans = [
        select(*_COLUMNS).where(
            *(getattr(TokenRequest, column) == bindparam(f"{column}_{index}") for column in range_columns), *within
        )
        for index in range(range_count)
    ]
    if not condition_columns:
        return Statements(
            _rows_of(_merge(scans, _ROWS_MAX, backwards=backwards, row_by_row=False), backwards=backwards), None
        )
    tested = _merge(scans, _SCAN_MAX, backwards=backwards, row_by_row=row_by_row).subquery()
    order = _order(tested.c.at, tested.c.number, backwards=backwards)
    matching = [tested.c[column].in_(bindparam(f"{column}_in", expanding=True)) for column in condition_columns]
    return Statements(
        _rows_of(select(tested).where(*matching).order_by(*order).limit(_ROWS_MAX), backwards=backwards),
        select(tested.c.at, tested.c.number).order_by(*order).offset(_BEFORE_LAST).limit(1),
    )


def parameters_of(
    ranges: Sequence[Range], conditions: Conditions, bounds: Mapping[str, object], *, rows_max: int, scan_max: int
) -> dict[str, object]:
    """Return the values of the parameters of the statements for a query.

    :param rows_max: how many rows to return.
    :param scan_max: how many rows to test for the conditions.
    """
    return {
        **bounds,
        **{f"{column}_{index}": value for index, each in enumerate(ranges) for column, value in each.items()},
        **{f"{column}_in": values for column, values in conditions.items()},
        "rows_max": rows_max,
        "scan_max": scan_max,
        "before_last": scan_max - 1,
    }


def _within_bounds(bounds: tuple[str, ...], *, backwards: bool) -> list[ColumnElement[bool]]:
    table, within = TokenRequest, []
    if "since" in bounds:
        within.append(table.at >= bindparam("since"))
    if "until" in bounds:
        within.append(table.at < bindparam("until"))
    if "at" in bounds:
        row = tuple_(table.at, table.number)
        position = tuple_(bindparam("at", type_=table.at.type), bindparam("number", type_=table.number.type))
        within.append(row > position if backwards else row < position)
    return within


def _merge(
    scans: Sequence[Select[Any]], limit: BindParameter[int], *, backwards: bool, row_by_row: bool
) -> Select[Any] | CompoundSelect[Any]:
    """Return the first rows of all scans together, in their order.

    :param row_by_row: let the engine merge the scans row by row, in place of a limit for each scan.
    """
    if not row_by_row or len(scans) == 1:
        scans = [
            scan.order_by(*_order(TokenRequest.at, TokenRequest.number, backwards=backwards)).limit(limit)
            for scan in scans
        ]
    if len(scans) == 1:
        return scans[0]
    merged = union_all(*(scan if row_by_row else select(scan.subquery()) for scan in scans))
    columns = merged.selected_columns
    return merged.order_by(*_order(columns.at, columns.number, backwards=backwards)).limit(limit)


def _rows_of(keys: Select[Any] | CompoundSelect[Any], *, backwards: bool) -> Select[TokenRequest]:
    """Return the SELECT of the whole rows with the primary keys that another one finds."""
    found = keys.subquery()
    return (
        select(TokenRequest)
        .join(
            found,
            (TokenRequest.client_key == found.c.client_key)
            & (TokenRequest.at == found.c.at)
            & (TokenRequest.number == found.c.number),
        )
        .order_by(*_order(found.c.at, found.c.number, backwards=backwards))
    )


def _order(at: Any, number: Any, *, backwards: bool) -> tuple[Any, Any]:
    return (at, number) if backwards else (at.desc(), number.desc())
