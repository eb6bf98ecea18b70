"""Read the list: one page, or all pages of an export."""

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from sqlalchemy import Integer, Select, bindparam, func, or_, select, union, union_all
from sqlalchemy.orm import Session

from ...database.cursors import decode_cursor, encode_cursor
from ...database.models import ClientSecret, IdentityClient, utc_now
from ...database.types import EpochSeconds
from .order import TIMES, Order, Position
from .plans import Plan
from .query import ListQuery
from .source import COUNT_MAX, Source, count_account, count_clients, find_source

PAGE_SIZE = 50
COUNT_ONE_BY_ONE_MAX = 2_000
"""Of how many clients those are counted that meet a condition without an index; beyond, one page is looked at."""
EXPORT_MAX = 10_000
"""How many clients an export has at most (L7)."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of clients.

    :param total: how many clients match, as far as they were counted.
    :param has_more: whether more match than were counted.
    :param account_total: how many the account has, at most `COUNT_MAX`; counted only where no client matches.
    :param first: the position of the first row among those that match, from 1; 0 if there is none or it is not known.
    :param last: the position of the last row.
    :param next_cursor: `after` of the next page, None on the last one.
    :param previous_cursor: `before` of the previous page, None on the first one.
    :param needs_longer_search: whether nothing was searched, since the account is large and the search too short.
    """

    clients: list[IdentityClient]
    total: int
    has_more: bool
    account_total: int
    first: int
    last: int
    next_cursor: str | None
    previous_cursor: str | None
    needs_longer_search: bool = False


def list_clients(session: Session, *, account_id: str, query: ListQuery) -> ListPage:
    """Return a page of the account's clients, without deleted ones.

    A forged cursor, or one of another account, gives the first page (I4).
    """
    order = Order(query.sort)
    source = find_source(session, account_id, query, order)
    if source is None:
        return ListPage([], 0, False, COUNT_MAX, 0, 0, None, None, needs_longer_search=True)
    clients, is_first, is_last = _page(session, source, order, account_id, query)
    if not clients:
        return ListPage([], 0, False, min(count_account(session, account_id), COUNT_MAX), 0, 0, None, None)
    if is_first and is_last:
        total, has_more = len(clients), False
    elif source.total is not None:
        total, has_more = source.total, source.has_more
    elif not source.plan.others or count_account(session, account_id) <= COUNT_ONE_BY_ONE_MAX:
        total = count_clients(session, source, order)
        total, has_more = min(total, COUNT_MAX), total > COUNT_MAX
    else:
        total, has_more = len(clients), True
    first = 1 if is_first else 0
    if not is_first and not has_more:
        first = count_clients(session, source, order, before=order.position_of(clients[0])) + 1
    return ListPage(
        clients=clients,
        total=total,
        has_more=has_more,
        account_total=total,
        first=first,
        last=first + len(clients) - 1 if first else 0,
        next_cursor=None if is_last else _write_cursor(order, clients[-1]),
        previous_cursor=None if is_first else _write_cursor(order, clients[0]),
    )


def export_clients(session: Session, *, account_id: str, query: ListQuery) -> Iterator[list[IdentityClient]]:
    """Yield the clients of all pages, a page at a time, 10,000 clients at most (L7).

    Call `audit.events.record_export` before. The session must stay open until the last page.
    """
    order = Order(query.sort)
    source = find_source(session, account_id, query, order)
    position, count = None, 0
    while source is not None and count < EXPORT_MAX:
        clients = _rows(session, source, order, position)[:PAGE_SIZE]
        if not clients:
            return
        yield clients
        count += len(clients)
        position = order.position_of(clients[-1])
        session.expunge_all()


def oldest_secrets(session: Session, keys: Collection[uuid.UUID]) -> dict[uuid.UUID, datetime]:
    """Return when the oldest secret of each client that has not ended was created, by the client's key."""
    rows = session.execute(
        select(ClientSecret.client_key, func.min(ClientSecret.created_at))
        .where(ClientSecret.client_key.in_(keys), or_(ClientSecret.ends_at.is_(None), ClientSecret.ends_at > utc_now()))
        .group_by(ClientSecret.client_key)
    )
    return dict(iter(rows))


def _page(
    session: Session, source: Source, order: Order, account_id: str, query: ListQuery
) -> tuple[list[IdentityClient], bool, bool]:
    """Return a page, and whether it is the first one and the last one."""
    position = _read_cursor(session, order, account_id, query.after)
    if position is not None:
        found = _rows(session, source, order, position)
        if found:
            return found[:PAGE_SIZE], False, len(found) <= PAGE_SIZE
    position = _read_cursor(session, order, account_id, query.before)
    if position is not None:
        found = _rows(session, source, order, position, backwards=True)
        # Backwards, a page that is not full is the first one, even if some of its rows were deleted.
        if len(found) >= PAGE_SIZE:
            return found[PAGE_SIZE - 1 :: -1], len(found) == PAGE_SIZE, False
    found = _rows(session, source, order, None)
    return found[:PAGE_SIZE], True, len(found) <= PAGE_SIZE


def _rows(
    session: Session, source: Source, order: Order, position: Position | None, *, backwards: bool = False
) -> list[IdentityClient]:
    """Return the rows that follow a position or precede it, one more than a page has if there is one more."""
    statement = _build_rows(source.plan, order.sort, continues=position is not None, backwards=backwards)
    values = {**source.values, **(position.parameters() if position else {}), "limit": PAGE_SIZE + 1}
    found = session.scalars(statement, values).all()
    return sorted(found, key=order.sort_key, reverse=order.descending != backwards)


@lru_cache(maxsize=64)
def _build_rows(plan: Plan, sort: str, *, continues: bool, backwards: bool) -> Select[IdentityClient]:
    order = Order(sort)
    scans, limit = [], bindparam("limit", type_=Integer)
    for statement, value, key in plan.selects(order):
        scan = statement.add_columns(value.label("value"))
        if continues:
            scan = scan.where(order.beyond(value, key, backwards=backwards))
        scans.append((scan, scan.order_by(*order.rows(value, key, backwards=backwards)).limit(limit)))
    if len(scans) == 1:
        page = scans[0][1].subquery()
    else:
        # A client that several scans have is within the page in each of them.
        # SQLite merges the scans row by row: with conditions, the last rows of a scan that meet them may be far.
        # PostgreSQL would read all rows of each, so that each scan ends with its page.
        whole = plan.others and plan.filters.dialect == "sqlite"
        merged = (
            union(*(select(limited.subquery()) for _, limited in scans))
            if plan.is_overlapping
            else union_all(*(scan if whole else select(limited.subquery()) for scan, limited in scans))
        )
        columns = merged.selected_columns
        page = (
            merged.order_by(*order.rows(columns.value, columns.client_key, backwards=backwards)).limit(limit).subquery()
        )
    return select(IdentityClient).join(page, page.c.client_key == IdentityClient.id)


def _write_cursor(order: Order, client: IdentityClient) -> str:
    position = order.position_of(client)
    value = position.value.isoformat() if isinstance(position.value, datetime) else position.value
    return encode_cursor(order.sort, value or "", position.key.hex)


def _read_cursor(session: Session, order: Order, account_id: str, cursor: str) -> Position | None:
    """Return the position that a cursor encodes, None if it is not one of this order and account."""
    parts = decode_cursor(cursor, 3)
    if parts is None or parts[0] != order.sort:
        return None
    _, value, key = parts
    try:
        position = Position(_read_value(order, value), uuid.UUID(hex=key))
    except (ValueError, OverflowError):
        return None
    owned = select(IdentityClient.id).where(IdentityClient.id == position.key, IdentityClient.account_id == account_id)
    return position if session.scalar(owned) else None


def _read_value(order: Order, text: str) -> datetime | str | None:
    if order.sort.removeprefix("-") not in TIMES:
        return text
    if not text and isinstance(order.column.type, EpochSeconds):
        return None
    return datetime.fromisoformat(text).astimezone(UTC)
