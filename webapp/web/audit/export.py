"""Download the audit log as a CSV file, with one column for each field before and after an event (L7)."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from markupsafe import Markup
from sqlalchemy import Engine

from ...core.audit.events import record_export
from ...core.audit.export import export_events
from ...core.audit.query import AuditQuery
from ...core.client_changes import get_client_or_deleted
from ...core.clients.roles import RoleCatalogue
from ...core.database.models import AuditEvent, utc_now
from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor
from ..http.csv_files import csv_file
from ..http.transactions import event_transaction
from ..i18n.times import Times
from .event_changes import LABELS, format_field
from .event_labels import ACTION_LABELS
from .event_texts import describe_event


def activity_csv() -> Response:
    """Download the audit log of the account, or of the client with this `key` (L7)."""
    query, key = AuditQuery.from_arguments(request.args), request.args.get("key")
    with event_transaction() as session:
        client = get_client_or_deleted(session, account_id=actor().account_id, key=parse_key(key)) if key else None
        record_export(
            session,
            author=author_of(actor()),
            filters=query.filters(),
            rate_limits=services().rate_limits,
            client=client,
        )
    times = Times(services().settings.time_zone)
    filters = query.filters()
    return csv_file(
        _rows(services().engine, actor().account_id, query, times, services().catalogue, client.id if client else None),
        "identity-clients-activity",
        actor().account_name or actor().account_id,
        client.client_id if client else "",
        f"from {filters['since']}" if "since" in filters else "",
        f"to {filters['until']}" if "until" in filters else "",
        f"{utc_now().astimezone(times.zone):%Y-%m-%d}",
    )


def _rows(
    engine: Engine, account_id: str, query: AuditQuery, times: Times, catalogue: RoleCatalogue, key: uuid.UUID | None
) -> Iterator[list[str]]:
    yield _headings(times)
    # The server reads the rows after the view has returned.
    with read_session(engine) as session:
        for event in export_events(session, account_id=account_id, query=query, zone=times.zone, key=key):
            yield _row(event, times, catalogue)


def _headings(times: Times) -> list[str]:
    # Translators: the column of all values that have no column of their own.
    labels = [str(label) for label in LABELS.values()] + [gettext("Other")]
    return [
        gettext("Time (UTC)"),
        # Translators: zone is the name of a time zone, such as Europe/London.
        gettext("Time (%(zone)s)", zone=times.zone_name),
        gettext("Person"),
        gettext("Person ID"),
        gettext("Action"),
        gettext("Event"),
        gettext("Reason"),
        gettext("Client ID"),
        *(
            heading
            for label in labels
            for heading in (
                # Translators: field is the name of a form field, such as "Client name".
                gettext("%(field)s before", field=label),
                gettext("%(field)s after", field=label),
            )
        ),
        gettext("Address"),
        gettext("Request ID"),
    ]


def _row(event: AuditEvent, times: Times, catalogue: RoleCatalogue) -> list[str]:
    text = describe_event(event, times=times, catalogue=catalogue)
    changes: dict[str, Any] = event.changes if isinstance(event.changes, dict) else {"": event.changes}
    fields = {name: pair for name, pair in changes.items() if isinstance(pair, list) and len(pair) == 2}
    cells = [
        format_field(name, fields[name][side], times=times, catalogue=catalogue) if name in fields else ""
        for name in LABELS
        for side in (0, 1)
    ]
    return [
        f"{event.at:%Y-%m-%d %H:%M:%S}",
        f"{event.at.astimezone(times.zone):%Y-%m-%d %H:%M:%S}",
        event.actor_label,
        event.actor_id,
        str(ACTION_LABELS.get(event.action, event.action)),
        (Markup(str(text.sentence)) % text.variables).striptags(),  # noqa: S704 - one of our messages
        text.note,
        event.client_id or "",
        *cells,
        *_other(changes, fields),
        event.address or "",
        event.request_id or "",
    ]


def _other(changes: dict[str, Any], fields: dict[str, Any]) -> tuple[str, str]:
    """Return what the other columns do not contain, before and after, as JSON."""
    before: dict[str, Any] = {}
    after: dict[str, Any] = {}
    for name, value in changes.items():
        if name in LABELS and name in fields:
            continue
        if name in fields:
            before[name], after[name] = value
        else:
            after[name] = value
    return _to_json(before), _to_json(after)


def _to_json(values: dict[str, Any]) -> str:
    present = {name: value for name, value in values.items() if value is not None}
    return json.dumps(present, ensure_ascii=False) if present else ""
