"""The one way in which the screens write, and what they refuse: that stands in the trail (L2)."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from sqlalchemy.orm import Session

from ..core.audit import Refusal, record_refusal
from ..core.database import unit_of_work
from ..core.errors import StaleVersion, Throttled
from ..host import author_of, current_actor, services


@contextmanager
def writing() -> Iterator[Session]:
    """Give a session for one change, as `unit_of_work` does; that somebody came too late or too often is recorded.

    :raises Busy: the database is locked or out of reach (D8).
    """
    try:
        with unit_of_work(services().engine) as session:
            yield session
    except StaleVersion:
        note_refusal(Refusal.STALE_VERSION)
        raise
    except Throttled:
        note_refusal(Refusal.THROTTLED)
        raise


def note_refusal(refusal: Refusal) -> None:
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
            throttles=services().throttles,
        )


def _client_key() -> uuid.UUID | None:
    try:
        return uuid.UUID((request.view_args or {})["key"])
    except (KeyError, ValueError):
        return None
