"""Choose the indexes that the list is read by, and count the clients."""

import operator
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache, reduce
from types import MappingProxyType
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Integer, Select, bindparam, case, false, func, literal_column, select, true, union
from sqlalchemy.orm import Session

from ...database import search_index
from ...database.models import IdentityClient, utc_now
from ..attention import AttentionReason
from ..attention_queries import count_rows, ordered_clients_of
from .filters import IndexScan, candidates_of, conditions_of, ordered_scans_of
from .order import DEFAULT_SORT, Order, Position
from .query import ListQuery

COUNT_MAX = 10_000
"""How many clients are counted; beyond, there are "10,000+"."""
CANDIDATES_MAX = 5_000
"""How many clients a filter may leave that are sorted for a page."""


class Source(NamedTuple):
    """The indexes from which a page is read, and what they do not ensure.

    :param scans: the list consists of their clients.
    :param conditions: what a client of a scan must meet besides.
    :param total: how many clients there are, None if they were not counted.
    :param has_more: whether there are more than `total`.
    :param overlapping: whether several scans may have the same client.
    :param parameters: the values of the parameters in the scans.
    :param status: of all clients with a status: the argument for which `all_clients` has the same scans, so that
        statements with them are built once; None for any other source.
    """

    scans: Sequence[IndexScan]
    conditions: Sequence[ColumnElement[bool]]
    total: int | None = None
    has_more: bool = False
    overlapping: bool = False
    parameters: Mapping[str, Any] = MappingProxyType({})
    status: str | None = None

    def selects(self, order: Order) -> list[tuple[Select[*tuple[Any, ...]], Any, Any]]:
        """Return for each scan the SELECT with the conditions, and the two columns to order it by."""
        selects = []
        for keys, key, client_id_folded in self.scans:
            reads_clients = client_id_folded is None
            statement, order_by = keys, (client_id_folded, key)
            if reads_clients or order.name != DEFAULT_SORT:
                order_by = (order.column, IdentityClient.id)
            if not reads_clients and (order.name != DEFAULT_SORT or self.conditions):
                statement = keys.join(IdentityClient, IdentityClient.id == key)
            selects.append((statement.where(*self.conditions), *order_by))
        return selects


def find_source(session: Session, account_id: str, query: ListQuery, order: Order) -> Source | None:
    """Return the indexes by which a query reads least, or None: the search is too short for a large account.

    A filter that leaves few clients is read by its index, and the clients are sorted. Where every filter leaves many,
    an index that has the order is read, and the conditions are tested row by row: a page is full before much is read.
    """
    conditions = conditions_of(session, account_id, query)
    candidates = candidates_of(session, account_id, query, CANDIDATES_MAX + 1)
    ordered_scans = ordered_scans_of(account_id, query) if order.name == DEFAULT_SORT else {}
    if query.q and "q" not in candidates and count_account(session, account_id) > COUNT_MAX:
        return None
    for name, found in candidates.items():
        others = [condition for other, condition in conditions.items() if other != name]
        if name in ordered_scans and not others:
            return Source(ordered_scans[name], [], overlapping=len(ordered_scans[name]) > 1)
        if name == "q" and search_index.is_common(session.connection(), account_id, search_index.fold(query.q)):
            continue
        if name == "attention":
            count = count_rows(session, query.attention, account_id, CANDIDATES_MAX)
        else:
            count = _count_up_to(session, found.limit(CANDIDATES_MAX + 1))
        if count <= CANDIDATES_MAX:
            rows = (found.distinct() if name == "attention" else found).subquery()
            scan = IndexScan(select(rows.c.client_key), rows.c.client_key, rows.c.client_id_folded)
            return Source([scan], others, None if others or name == "attention" else count)
        if name == "attention" and order.name == DEFAULT_SORT:
            ordered = ordered_clients_of(query.attention, account_id, utc_now())
            if ordered is not None:
                key, client_id_folded = ordered.selected_columns
                reads_clients = query.attention == AttentionReason.UNUSED
                scan = IndexScan(ordered.with_only_columns(key), key, None if reads_clients else client_id_folded)
                return Source([scan], others, None if others else CANDIDATES_MAX, has_more=True)
    for name, scans in ordered_scans.items():
        others = [condition for other, condition in conditions.items() if other != name]
        return Source(scans, others, overlapping=len(scans) > 1)
    others = [condition for name, condition in conditions.items() if name != "status"]
    status = "enabled" if query.attention else query.status
    only_one = len(conditions) == 1 and candidates
    return all_clients(status)._replace(
        conditions=others,
        total=CANDIDATES_MAX if only_one else None,
        has_more=True,
        parameters={"account_id": account_id},
        status=None if others else status,
    )


@cache
def all_clients(status: str) -> Source:
    """Return all clients of an account with a status, each in every order; one scan for each status if it is empty."""
    wanted = [status == "enabled"] if status else [True, False]
    scans = [
        IndexScan(
            select(IdentityClient.id.label("client_key")).where(
                IdentityClient.account_id == bindparam("account_id"),
                IdentityClient.enabled == (true() if enabled else false()),
                IdentityClient.deleted_at.is_(None),
            ),
            IdentityClient.id,
        )
        for enabled in wanted
    ]
    return Source(scans, [], status=status)


def count_clients(session: Session, source: Source, order: Order, before: Position | None = None) -> int:
    """Return how many clients there are, or precede a position, at most one more than `COUNT_MAX`."""
    continues = before is not None
    statement = (
        _build_count(source, order, continues=continues)
        if source.status is None
        else _build_count_of_all(source.status, order.sort, continues=continues)
    )
    position = {} if before is None else before.parameters()
    values = {**source.parameters, **position, "limit": COUNT_MAX + 1, "count_max": COUNT_MAX}
    return min(session.scalar(statement, values) or 0, COUNT_MAX + 1)


@lru_cache(maxsize=32)
def _build_count_of_all(status: str, sort: str, *, continues: bool) -> Select[int]:
    return _build_count(all_clients(status), Order(sort), continues=continues)


def _build_count(source: Source, order: Order, *, continues: bool) -> Select[int]:
    scans = [
        statement.where(order.beyond(value, key, backwards=True)) if continues else statement
        for statement, value, key in source.selects(order)
    ]
    limit = bindparam("limit", type_=Integer)
    limited = [scan.limit(limit).subquery() for scan in scans]
    if source.overlapping:
        return select(func.count()).select_from(union(*map(select, limited)).limit(limit).subquery())
    # Skipping rows takes half the time of counting them, and adding counts two thirds of uniting the rows.
    one: ColumnElement[int] = literal_column("1")
    first = scans[0].with_only_columns(one, maintain_column_froms=True)
    beyond = first.limit(1).offset(bindparam("count_max", type_=Integer)).scalar_subquery()
    counts = (select(func.count()).select_from(scan).scalar_subquery() for scan in limited)
    return select(case((beyond.is_not(None), limit), else_=reduce(operator.add, counts)))


def count_account(session: Session, account_id: str) -> int:
    """Return how many clients an account has, at most one more than `COUNT_MAX`."""
    source = all_clients("")._replace(parameters={"account_id": account_id})
    return count_clients(session, source, Order(DEFAULT_SORT))


def _count_up_to(session: Session, limited: Any) -> int:
    return session.scalar(select(func.count()).select_from(limited.subquery())) or 0
