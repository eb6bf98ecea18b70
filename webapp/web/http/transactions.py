"""The database transactions of the screens."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from ...core.account_settings import renew_keys_only_roles
from ...core.accounts import set_account
from ...core.audit.actions import RefusalReason
from ...core.client_changes import StaleVersion
from ...core.database.unit_of_work import unit_of_work
from ...core.errors import RateLimited
from ...host import services
from .access import actor
from .refusals import record_refused_attempt


@contextmanager
def transaction() -> Iterator[Session]:
    """Give a session for one change to a client, and commit at the end.

    It stores the feature and API roles of the account as well, since the token endpoint has no actor (A4, A7), and
    which roles move money, where the account forbids secrets to their clients.

    :raises Unavailable: the database is locked or out of reach (D8).
    """
    with event_transaction() as session:
        set_account(
            session,
            actor().account_id,
            feature_enabled=actor().feature_enabled,
            grantable_roles=actor().grantable_roles,
        )
        renew_keys_only_roles(session, actor().account_id, services().catalogue.money_roles)
        yield session


@contextmanager
def event_transaction() -> Iterator[Session]:
    """Give a session that writes audit events only, and commit at the end.

    A stale version or a rate limit that is raised inside is recorded as a refused attempt (L2).

    :raises Unavailable: the database is locked or out of reach (D8).
    """
    try:
        with unit_of_work(services().engine) as session:
            yield session
    except StaleVersion:
        record_refused_attempt(RefusalReason.STALE_VERSION)
        raise
    except RateLimited:
        record_refused_attempt(RefusalReason.THROTTLED)
        raise
