"""Find the clients of an account that need attention, by indexes whose cost does not grow with the account.

A reason depends on the time: what the database keeps are moments (`AttentionPeriod`, the columns of the client), which
are compared with the present. Only the share of refused token requests is noted by day (`RefusalDay`).

All statements have parameters in place of values, which `values_of` returns, so that they can be built once: building
them takes several times as long as running them.

* `terms`: the parameters and their values
* `conditions`: when a client, or a row that is kept for a reason, needs attention
* `selects`: the clients that need attention
* `counts`: how many there are
"""

from .conditions import has_reason, needs_attention
from .counts import Summary, count_rows, summary
from .selects import ORDERED, REPEATING, clients_of, keys_of, ordered_clients_of
from .terms import values_of

__all__ = [
    "ORDERED",
    "REPEATING",
    "Summary",
    "clients_of",
    "count_rows",
    "has_reason",
    "keys_of",
    "needs_attention",
    "ordered_clients_of",
    "summary",
    "values_of",
]
