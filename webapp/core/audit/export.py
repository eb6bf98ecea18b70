"""Read the audit events of an export."""

import uuid
from collections.abc import Iterator
from datetime import tzinfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..database.models import AuditEvent
from .filters import matching_events
from .query import AuditQuery

EXPORT_MAX = 10_000
EXPORT_AT_ONCE = 500


def export_events(
    session: Session, *, account_id: str, query: AuditQuery, zone: tzinfo, key: uuid.UUID | None = None
) -> Iterator[AuditEvent]:
    """Yield the account's audit events, newest first, 10,000 at most (L7). They are read 500 at a time.

    Call `events.record_export` before. The session must stay open until the last event.

    :param key: only the events of this client.
    """
    yield from session.scalars(
        select(AuditEvent)
        .where(*matching_events(session, account_id, query, zone, key))
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(EXPORT_MAX)
        .execution_options(yield_per=EXPORT_AT_ONCE)
    )
