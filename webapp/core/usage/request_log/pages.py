"""Read a page of the token requests of an account or of one client."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from sqlalchemy.orm import Session

from ...database.models import IdentityClient, TokenRequest
from ...errors import NotFound
from .positions import Position, cursor_of, parse_cursor
from .query import RequestQuery
from .search import Found, Search

PAGE_SIZE = 50


@dataclass(frozen=True, slots=True)
class RequestPage:
    """One page of token requests, newest first, without a total count.

    :param next_cursor: the value of `after` for the next, older page; None on the last page.
    :param previous_cursor: the value of `before` for the previous, newer page; None on the first page.
    :param searched_to: how far back the search came for this page; None where it found a whole page or reached the end.
    """

    requests: Sequence[TokenRequest]
    next_cursor: str | None
    previous_cursor: str | None
    searched_to: datetime | None = None


def list_requests(
    session: Session,
    *,
    account_id: str,
    query: RequestQuery,
    zone: tzinfo,
    client: IdentityClient | None = None,
    size: int = PAGE_SIZE,
) -> RequestPage:
    """Return a page of the token requests of the account, or of one of its clients.

    An invalid cursor gives the first page (I4).

    :param zone: the time zone of the query's times.
    :param client: restricts the page to this client, whatever `query.client` is.
    :raises NotFound: the client is another account's (A3).
    """
    if client is not None and client.account_id != account_id:
        raise NotFound
    search = Search(session, query, account_id=account_id, zone=zone, client=client, size=size)
    position = parse_cursor(query.after)
    if position is not None:
        return _page_after(position, search)
    position = parse_cursor(query.before)
    if position is not None:
        page = _page_before(position, search)
        if page is not None:
            return page
    return _page(search.read(None), size, newer=None)


def _page_after(position: Position, search: Search) -> RequestPage:
    found = search.read(position)
    # Without a row, the previous page is to contain the row at the position.
    newer = found.rows[0] if found.rows else Position(position.at, position.number - 1)
    return _page(found, search.size, newer=newer)


def _page_before(position: Position, search: Search) -> RequestPage | None:
    """Return the page that ends before a position, None if too few rows precede it: then it is the first page."""
    found = search.read(position, backwards=True)
    requests = list(reversed(found.rows[: search.size]))
    if len(found.rows) > search.size:
        return RequestPage(requests, cursor_of(requests[-1]), cursor_of(requests[0]))
    if found.stopped_at:
        older = requests[-1] if requests else Position(position.at, position.number + 1)
        return RequestPage(requests, cursor_of(older), cursor_of(found.stopped_at))
    return None


def _page(found: Found, size: int, *, newer: TokenRequest | Position | None) -> RequestPage:
    """Return a page of rows that were read towards older ones.

    :param newer: the position before which the previous page ends; None: this is the first page.
    """
    requests = found.rows[:size]
    older = requests[-1] if len(found.rows) > size else found.stopped_at
    return RequestPage(
        requests,
        next_cursor=cursor_of(older) if older else None,
        previous_cursor=cursor_of(newer) if newer else None,
        searched_to=found.stopped_at.at if found.stopped_at else None,
    )
