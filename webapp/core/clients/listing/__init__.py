"""The list of clients: search, filters, order, and pages by keyset pagination.

* `query`: what the URL carries
* `filters`: each filter as a condition, and as an index that finds its clients
* `plans`: the statements of one of these indexes, with the conditions of the other filters
* `source`: choose the plan that a page is read by, and count the clients
* `order`: sort, and compare with a position
* `pages`: read a page, or all pages of an export
* `choices`: the tags and owners that the filters offer
"""

from .choices import list_owners, list_tags
from .order import DEFAULT_SORT, SORTS
from .pages import PAGE_SIZE, ListPage, export_clients, list_clients, oldest_secrets
from .query import MOVES_MONEY, SEARCH_MAX, STATUSES, ListQuery

__all__ = [
    "DEFAULT_SORT",
    "MOVES_MONEY",
    "PAGE_SIZE",
    "SEARCH_MAX",
    "SORTS",
    "STATUSES",
    "ListPage",
    "ListQuery",
    "export_clients",
    "list_clients",
    "list_owners",
    "list_tags",
    "oldest_secrets",
]
