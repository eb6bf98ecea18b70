"""The trail: of the account and of one client, a page at a time, and as a file."""

import uuid
from collections.abc import Iterable, Iterator

from flask import Response, request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ...core.audit import export, queries
from ...core.audit.events import record_export
from ...core.audit.queries import AuditQuery
from ...core.database.models import AuditEvent, IdentityClient
from ...core.database.unit_of_work import read_session
from ...host import author_of, services
from ..http.access import actor
from ..http.htmx import htmx, render
from ..http.loading import parse_key
from ..http.transactions import event_transaction
from ..i18n.times import Times
from .event_texts import ACTION_WORDS, EventText, describe_event

FILE_NAME = "identity-clients-activity.csv"
LATEST = 10
"""How many events the page of a client shows."""


def activity() -> Response:
    """Show what was done in the account, a page of it."""
    return _show(None)


def client_activity(key: str) -> Response:
    """Show what was done to one client, also where it is deleted."""
    return _show(parse_key(key))


def activity_csv() -> Response:
    """Answer with the trail of the account, or of the client that `key` names, as a file (L7)."""
    query, key = AuditQuery.from_arguments(request.args), request.args.get("key")
    with event_transaction() as session:
        client = _client(session, parse_key(key)) if key else None
        record_export(
            session,
            author=author_of(actor()),
            filters=query.filters(),
            rate_limits=services().rate_limits,
            client=client,
        )
    lines = _lines(services().engine, actor().account_id, query, _times(), client.id if client else None)
    response = Response(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
    return response


def latest(session: Session, client: IdentityClient) -> list[EventText]:
    """Return the latest events of a client of the actor's account, for its page."""
    page = queries.list_events(
        session, account_id=actor().account_id, query=AuditQuery(), zone=_times().zone, key=client.id
    )
    return _told(page.events[:LATEST])


def _show(key: uuid.UUID | None) -> Response:
    account_id, query = actor().account_id, AuditQuery.from_arguments(request.args)
    with read_session(services().engine) as session:
        client = _client(session, key) if key else None
        page = queries.list_events(session, account_id=account_id, query=query, zone=_times().zone, key=key)
        people = [] if htmx().partial else queries.list_actors(session, account_id)
    return render(
        "activity.html",
        "_activity.html",
        client=client,
        query=query,
        page=page,
        told_events=_told(page.events),
        people=people,
        action_words=ACTION_WORDS,
        rows_max=export.EXPORT_MAX,
    )


def _client(session: Session, key: uuid.UUID) -> IdentityClient:
    return queries.get_client_or_deleted(session, account_id=actor().account_id, key=key)


def _told(events: Iterable[AuditEvent]) -> list[EventText]:
    return [describe_event(event, times=_times(), catalogue=services().catalogue) for event in events]


def _times() -> Times:
    return Times(services().settings.time_zone)


def _lines(engine: Engine, account_id: str, query: AuditQuery, times: Times, key: uuid.UUID | None) -> Iterator[str]:
    # The server asks for them when the view has long returned.
    with read_session(engine) as session:
        yield from export.export_lines(session, account_id=account_id, query=query, zone=times.zone, key=key)
