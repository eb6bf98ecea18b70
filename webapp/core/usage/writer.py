"""Write token requests to the database: counts, the latest requests of each client, and the last uses (L2).

Every process locks the rows in the same order, so that they cannot deadlock.
"""

import uuid
from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from ..database.models import IdentityClient
from ..database.outcomes import Outcome
from .bulk import in_batches
from .counts import RequestCount, RequestCountKey, write_counts
from .last_uses import RecentWrites, write_last_uses
from .refusal_days import update_refusal_days
from .stored_requests import LatestRequests, RecordedRequest, select_latest, store_requests


def write_requests(
    connection: Connection,
    counts: Mapping[RequestCountKey, RequestCount],
    requests: Iterable[RecordedRequest],
    recent_writes: RecentWrites = frozenset(),
) -> RecentWrites:
    """Add to the counts, store the latest requests, and update the last use of clients, secrets and addresses.

    :param requests: the latest of the counted requests, oldest first; at least one.
    :param recent_writes: the value that the last committed call of this process returned.
    """
    write_counts(connection, counts)
    latest = select_latest(requests)
    accounts = _find_accounts(connection, latest, counts)
    store_requests(connection, latest, accounts)
    update_refusal_days(connection, counts, accounts)
    return write_last_uses(connection, counts, recent_writes)


def _find_accounts(
    connection: Connection, latest: LatestRequests, counts: Iterable[RequestCountKey]
) -> Mapping[uuid.UUID, str]:
    """Return the accounts of the clients by their keys.

    They are read from the database for clients whose request has no account ID, and for those that only have refusals
    among the counts.
    """
    accounts = {key: account_id for (key, _), requests in latest.items() if (account_id := requests[0].account_id)}
    wanted = [key for key, _ in latest if key not in accounts]
    wanted += [key.client_key for key in counts if key.outcome != Outcome.ISSUED and key.client_key not in accounts]
    for keys in in_batches(dict.fromkeys(wanted)):
        rows = connection.execute(
            select(IdentityClient.id, IdentityClient.account_id).where(IdentityClient.id.in_(keys))
        )
        accounts.update((row.id, row.account_id) for row in rows)
    return accounts
