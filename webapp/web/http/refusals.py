"""Record in the audit log what the screens refuse (L2)."""

import uuid

from flask import request

from ...core.audit.actions import RefusalReason
from ...core.audit.events import record_refusal
from ...core.database.unit_of_work import unit_of_work
from ...host import author_of, current_actor, services


def record_refused_attempt(reason: RefusalReason) -> None:
    """Record that the signed-in person was refused this request, within the rate limit of such events (L2)."""
    actor = current_actor()
    if actor is None:
        return
    with unit_of_work(services().engine) as session:
        record_refusal(
            session,
            author=author_of(actor),
            refusal=reason,
            attempt=(request.endpoint or "").rpartition(".")[2],
            key=_client_key(),
            rate_limits=services().rate_limits,
        )


def _client_key() -> uuid.UUID | None:
    try:
        return uuid.UUID((request.view_args or {})["key"])
    except (KeyError, ValueError):
        return None
