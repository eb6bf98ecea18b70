"""Choose the plan by which the list is read, and count the clients."""

import operator
from collections.abc import Mapping
from functools import lru_cache, reduce
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, bindparam, case, func, literal_column, or_, select, union
from sqlalchemy.orm import Session

from ...database import search_index
from ..attention_queries import ORDERED, REPEATING, count_rows
from .filters import IN_ORDER, Filters, candidates_of, filters_of, values_of
from .order import DEFAULT_SORT, Order, Position
from .plans import Plan
from .query import ListQuery

COUNT_MAX = 10_000
"""How many clients are counted; beyond, there are "10,000+"."""
CANDIDATES_MAX = 5_000
"""How many clients a filter may leave that are sorted for a page."""


class Source(NamedTuple):
    """The plan of a page, the values of its parameters, and how many clients there are.

    :param total: None if they were not counted.
    :param has_more: whether there are more than `total`.
    """

    plan: Plan
    values: Mapping[str, Any]
    total: int | None = None
    has_more: bool = False


def find_source(session: Session, account_id: str, query: ListQuery, order: Order) -> Source | None:
    """Return the plan by which a query reads least, or None: the search is too short for a large account.

    A filter that leaves few clients is read by its index, and the clients are sorted. Where every filter leaves many,
    an index that has the order is read, and the conditions are tested row by row: a page is full before much is read.
    """
    filters = filters_of(session, query)
    names, indexed = filters.names, filters.indexed
    if "q" in names and "q" not in indexed and count_account(session, account_id) > COUNT_MAX:
        return None
    values = {**values_of(session, account_id, query), "limit_of_scan": CANDIDATES_MAX + 1}
    in_order = [name for name in indexed if name in IN_ORDER and order.name == DEFAULT_SORT]
    for name in indexed:
        is_only = len(names) == 1
        if is_only and name in in_order:
            return Source(Plan(filters, name, is_ordered=True), values)
        if name == "q" and search_index.is_common(session.connection(), account_id, search_index.fold(query.q)):
            continue
        if name == "attention":
            count = count_rows(session, filters.attention, values, CANDIDATES_MAX)
        elif name == "q":
            count = session.scalar(_build_count_of_found(filters), values) or 0
        else:
            alone = Plan(filters.only(name), name, is_ordered=True)
            count = _count(session, alone, values, Order(DEFAULT_SORT), CANDIDATES_MAX)
        if count <= CANDIDATES_MAX:
            is_exact = is_only and filters.attention not in REPEATING
            return Source(Plan(filters, name), values, count if is_exact else None)
        if name == "attention" and filters.attention in ORDERED and order.name == DEFAULT_SORT:
            total = CANDIDATES_MAX if is_only else None
            return Source(Plan(filters, name, is_ordered=True), values, total, has_more=True)
    if in_order:
        return Source(Plan(filters, in_order[0], is_ordered=True), values)
    return Source(Plan(filters), values, CANDIDATES_MAX if indexed and len(names) == 1 else None, has_more=True)


def count_clients(session: Session, source: Source, order: Order, before: Position | None = None) -> int:
    """Return how many clients there are, or precede a position, at most one more than `COUNT_MAX`."""
    return _count(session, source.plan, source.values, order, COUNT_MAX, before)


def _count(
    session: Session,
    plan: Plan,
    values: Mapping[str, Any],
    order: Order,
    count_max: int,
    before: Position | None = None,
) -> int:
    statement = _build_count(plan, order.sort, continues=before is not None)
    position = {} if before is None else before.parameters()
    count = session.scalar(statement, {**values, **position, "limit": count_max + 1, "count_max": count_max})
    return min(count or 0, count_max + 1)


@lru_cache(maxsize=64)
def _build_count(plan: Plan, sort: str, *, continues: bool) -> Select[int]:
    order = Order(sort)
    scans = [
        statement.where(order.beyond(value, key, backwards=True)) if continues else statement
        for statement, value, key in plan.selects(order)
    ]
    limit = bindparam("limit", type_=Integer)
    limited = [scan.limit(limit).subquery() for scan in scans]
    # Skipping rows takes half the time of counting them, and adding counts two thirds of uniting the rows.
    one: ColumnElement[int] = literal_column("1")
    rows = [scan.with_only_columns(one, maintain_column_froms=True).limit(1) for scan in scans]
    beyond = [row.offset(bindparam("count_max", type_=Integer)).scalar_subquery() for row in rows]
    counted = [union(*map(select, limited)).limit(limit).subquery()] if plan.is_overlapping else limited
    total = reduce(operator.add, (select(func.count()).select_from(each).scalar_subquery() for each in counted))
    return select(case((or_(*(row.is_not(None) for row in beyond)), limit), else_=total))


@lru_cache(maxsize=8)
def _build_count_of_found(filters: Filters) -> Select[int]:
    limited = candidates_of(filters, "q").limit(bindparam("limit_of_scan", type_=Integer))
    return select(func.count()).select_from(limited.subquery())


def count_account(session: Session, account_id: str) -> int:
    """Return how many clients an account has, at most one more than `COUNT_MAX`."""
    everything = Plan(Filters(session.get_bind().dialect.name))
    return count_clients(session, Source(everything, {"account_id": account_id}), Order(DEFAULT_SORT))
