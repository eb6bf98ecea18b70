"""The one way in which the screens write, and what they refuse: that stands in the trail (L2)."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from sqlalchemy.orm import Session

from ...core.audit.actions import RefusalReason
from ...core.audit.events import record_refusal
from ...core.client_changes import StaleVersion
from ...core.database.unit_of_work import unit_of_work
from ...core.errors import RateLimited
from ...host import author_of, current_actor, services


@contextmanager
def transaction() -> Iterator[Session]:
    """Give a session for one change, as `unit_of_work` does; that somebody came too late or too often is recorded.

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


def record_refused_attempt(refusal: RefusalReason) -> None:
    """Record that the person at work is refused what they ask for, within the quota of such records (L2)."""
    actor = current_actor()
    if actor is None:
        return
    with unit_of_work(services().engine) as session:
        record_refusal(
            session,
            author=author_of(actor),
            refusal=refusal,
            attempt=(request.endpoint or "").rpartition(".")[2],
            key=_client_key(),
            rate_limits=services().rate_limits,
        )


def _client_key() -> uuid.UUID | None:
    try:
        return uuid.UUID((request.view_args or {})["key"])
    except (KeyError, ValueError):
        return None
