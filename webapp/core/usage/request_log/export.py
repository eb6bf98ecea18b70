"""Read the token requests of an export; the screens write them as CSV."""

from collections.abc import Iterator
from datetime import tzinfo

from sqlalchemy import Engine

from ...database.models import IdentityClient, TokenRequest
from ...database.unit_of_work import read_session
from .lookup import clients_of
from .pages import list_requests
from .query import RequestQuery

EXPORT_MAX = 10_000
"""How many token requests an export has at most (L7)."""
_PAGES_MAX = 400
"""How many pages an export reads, so that a search for rare requests in a large account ends."""
_PAGE_SIZE = 500


def export_requests(
    engine: Engine, *, account_id: str, query: RequestQuery, zone: tzinfo, client: IdentityClient | None
) -> Iterator[tuple[TokenRequest, IdentityClient]]:
    """Yield token requests with their clients, newest first, 10,000 at most (L7).

    They are read in pages with a transaction each, so that a slow download holds none open. Call
    `audit.events.record_export` before.
    """
    left = EXPORT_MAX
    query = query.with_cursor()
    for _ in range(_PAGES_MAX):
        with read_session(engine) as session:
            page = list_requests(
                session, account_id=account_id, query=query, zone=zone, client=client, size=min(_PAGE_SIZE, left)
            )
            clients = clients_of(session, account_id, page.requests)
        yield from ((request, clients[request.client_key]) for request in page.requests)
        left -= len(page.requests)
        if page.next_cursor is None or not left:
            return
        query = query.with_cursor(after=page.next_cursor)
