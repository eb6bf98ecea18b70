"""The list of an account's clients, and the action menu of a row."""

import uuid

from flask import Response, request

from ..core.changes import get_client
from ..core.database import reading
from ..core.errors import NotFound
from ..core.listing import ListQuery
from ..core.listing import list_clients as find_clients
from ..host import services
from .guard import actor
from .htmx import render


def parse_key(text: str) -> uuid.UUID:
    """Return the client's key from a URL.

    A URL converter would fall through to the host's 404, which tells a malformed key from an absent one (A3).

    :raises NotFound: it is not a UUID in its usual form.
    """
    try:
        key = uuid.UUID(text)
    except ValueError:
        raise NotFound from None
    if str(key) != text:
        raise NotFound
    return key


def list_clients() -> Response:
    """Show the clients that match the search and the filters, a page of them."""
    catalogue = services().catalogue
    query = ListQuery.from_arguments(request.args, catalogue)
    with reading(services().engine) as session:
        page = find_clients(session, account_id=actor().account_id, query=query)
    return render("list.html", "_results.html", page=page, query=query, catalogue=catalogue, changed=_changed())


def menu(key: str) -> Response:
    """Show what can be done with one client: a menu for htmx, a page of links without script."""
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
    return render("menu.html", "_menu.html", client=client)


def _changed() -> str:
    """Return the key of the row that was just changed, which the list then marks."""
    return request.args.get("changed", "")
