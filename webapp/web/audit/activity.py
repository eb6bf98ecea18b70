"""Show the audit log of the account and of one client."""

import uuid
from collections.abc import Iterable

from flask import Response, request
from sqlalchemy.orm import Session

from ...core.audit import export
from ...core.audit.pages import list_actors, list_events
from ...core.audit.query import AuditQuery
from ...core.client_changes import get_client_or_deleted
from ...core.database.models import AuditEvent, IdentityClient
from ...core.database.unit_of_work import read_session
from ...host import services
from ...http_request import parse_key
from ..http.access import actor
from ..http.htmx import htmx, render
from ..i18n.times import Times
from .event_labels import ACTION_LABELS, KIND_OF_CHANGE_LABELS
from .event_texts import EventText, describe_event

LATEST = 10
"""The number of events on the page of a client."""


def activity() -> Response:
    """Show a page of the account's audit log."""
    return _show(None)


def client_activity(key: str) -> Response:
    """Show a page of the audit log of a client, deleted or not."""
    return _show(parse_key(key))


def latest(session: Session, client: IdentityClient) -> list[EventText]:
    """Return the latest events of a client, for its page."""
    page = list_events(session, account_id=actor().account_id, query=AuditQuery(), zone=_times().zone, key=client.id)
    return _describe(page.events[:LATEST])


def _show(key: uuid.UUID | None) -> Response:
    account_id, query = actor().account_id, AuditQuery.from_arguments(request.args)
    with read_session(services().engine) as session:
        client = _client(session, key) if key else None
        page = list_events(session, account_id=account_id, query=query, zone=_times().zone, key=key)
        people = [] if htmx().partial else list_actors(session, account_id)
    return render(
        "audit/activity.html",
        "audit/_events.html",
        client=client,
        query=query,
        page=page,
        events=_describe(page.events),
        people=people,
        kinds=KIND_OF_CHANGE_LABELS,
        actions={name: label for name, label in ACTION_LABELS.items() if name not in KIND_OF_CHANGE_LABELS},
        rows_max=export.EXPORT_MAX,
    )


def _client(session: Session, key: uuid.UUID) -> IdentityClient:
    return get_client_or_deleted(session, account_id=actor().account_id, key=key)


def _describe(events: Iterable[AuditEvent]) -> list[EventText]:
    return [describe_event(event, times=_times(), catalogue=services().catalogue) for event in events]


def _times() -> Times:
    return Times(services().settings.time_zone)
