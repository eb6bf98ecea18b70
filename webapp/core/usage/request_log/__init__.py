"""The request log: search the token requests that are stored one by one, of an account or of one client (L2, A3).

* `query`: what the URL carries
* `positions`: the order of the requests; cursors, and the key of one request in a URL
* `search`: choose the ranges of the indexes that a query reads, and read them
* `statements`: the SELECT of a page, built once for all queries of one form
* `pages`: a page of requests
* `export`: all pages of an export
* `lookup`: one request, and the clients and secrets that the log names
"""

from .export import EXPORT_MAX, export_requests
from .lookup import clients_of, find_client, get_request, labels_of
from .pages import PAGE_SIZE, RequestPage, list_requests
from .positions import key_of
from .query import REASONS, REFUSED, RequestQuery

__all__ = [
    "EXPORT_MAX",
    "PAGE_SIZE",
    "REASONS",
    "REFUSED",
    "RequestPage",
    "RequestQuery",
    "clients_of",
    "export_requests",
    "find_client",
    "get_request",
    "key_of",
    "labels_of",
    "list_requests",
]
