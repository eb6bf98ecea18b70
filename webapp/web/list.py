"""The list of an account's clients, and the action menu of a row."""

import uuid

from flask import Response, request

from ..core.changes import get_client
from ..core.database import reading
from ..core.errors import NotFound
from ..core.listing import ListQuery
from ..core.listing import list_clients as find_clients
from ..core.words import lazy_gettext
from ..host import services
from .guard import actor
from .htmx import render

# What the list can be sorted by, in the order of its select.
ORDERS = {
    "client_id": lazy_gettext("Client ID, A to Z"),
    "-client_id": lazy_gettext("Client ID, Z to A"),
    "name": lazy_gettext("Client name, A to Z"),
    "-name": lazy_gettext("Client name, Z to A"),
    "-updated_at": lazy_gettext("Updated, newest first"),
    "updated_at": lazy_gettext("Updated, oldest first"),
    "-created_at": lazy_gettext("Created, newest first"),
    "created_at": lazy_gettext("Created, oldest first"),
}


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
    return render(
        "list.html",
        "_results.html",
        page=page,
        query=query,
        catalogue=catalogue,
        orders=ORDERS,
        changed=_changed(),
    )


def menu(key: str) -> Response:
    """Show what can be done with one client: a menu for htmx, a page of links without script."""
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
    return render("menu.html", "_menu.html", client=client)


def _changed() -> str:
    """Return the key of the row that was just changed, which the list then marks."""
    return request.args.get("changed", "")
