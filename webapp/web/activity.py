"""The trail: of the account and of one client, a page at a time, and as a file."""

import uuid
from collections.abc import Iterable, Iterator

from flask import Response, request
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ..core import audit, trail
from ..core.database import reading
from ..core.models import Event, IdentityClient
from ..core.trail import TrailQuery
from ..host import author_of, services
from .event_words import ACTION_WORDS, ToldEvent, tell
from .guard import actor
from .htmx import htmx, render
from .loading import parse_key
from .presenters import Times
from .writing import writing

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
    query, key = TrailQuery.from_arguments(request.args), request.args.get("key")
    with writing() as session:
        client = _client(session, parse_key(key)) if key else None
        audit.record_export(
            session, author=author_of(actor()), filters=query.filters(), throttles=services().throttles, client=client
        )
    lines = _lines(services().engine, actor().account_id, query, _times(), client.id if client else None)
    response = Response(lines, content_type="text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{FILE_NAME}"'
    return response


def latest(session: Session, client: IdentityClient) -> list[ToldEvent]:
    """Return the latest events of a client of the actor's account, for its page."""
    page = trail.events(session, account_id=actor().account_id, query=TrailQuery(), zone=_times().zone, key=client.id)
    return _told(page.events[:LATEST])


def _show(key: uuid.UUID | None) -> Response:
    account_id, query = actor().account_id, TrailQuery.from_arguments(request.args)
    with reading(services().engine) as session:
        client = _client(session, key) if key else None
        page = trail.events(session, account_id=account_id, query=query, zone=_times().zone, key=key)
        people = [] if htmx().partial else trail.people(session, account_id)
    return render(
        "audit/activity.html",
        "audit/_events.html",
        client=client,
        query=query,
        page=page,
        events=_told(page.events),
        people=people,
        actions=ACTION_WORDS,
        rows_max=trail.EXPORT_MAX,
    )


def _client(session: Session, key: uuid.UUID) -> IdentityClient:
    return trail.get_client_of_trail(session, account_id=actor().account_id, key=key)


def _told(events: Iterable[Event]) -> list[ToldEvent]:
    return [tell(event, times=_times(), catalogue=services().catalogue) for event in events]


def _times() -> Times:
    return Times(services().settings.time_zone)


def _lines(engine: Engine, account_id: str, query: TrailQuery, times: Times, key: uuid.UUID | None) -> Iterator[str]:
    # The server asks for them when the view has long returned.
    with reading(engine) as session:
        yield from trail.export_lines(session, account_id=account_id, query=query, zone=times.zone, key=key)
