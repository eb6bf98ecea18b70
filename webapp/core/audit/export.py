"""Export audit events as CSV (RFC 4180)."""

import csv
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from io import StringIO
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..database.models import AuditEvent
from .queries import AuditQuery, matching_events

EXPORT_MAX = 10_000
EXPORT_AT_ONCE = 500
CSV_HEADINGS = (
    "Time (UTC)",
    "Person",
    "Person ID",
    "Action",
    "Client ID",
    "Before",
    "After",
    "Address",
    "Request ID",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\0")


def export_lines(
    session: Session, *, account_id: str, query: AuditQuery, zone: ZoneInfo, key: uuid.UUID | None = None
) -> Iterator[str]:
    """Yield the lines of a CSV file of the account's events, or of those of its client `key`, newest first (L7).

    At most `EXPORT_MAX` events are exported. Call `record_export` before, and keep the session open until the end.
    """
    yield csv_line(CSV_HEADINGS)
    columns = (
        AuditEvent.at,
        AuditEvent.actor_label,
        AuditEvent.actor_id,
        AuditEvent.action,
        AuditEvent.client_id,
        AuditEvent.changes,
    )
    for at, label, actor_id, action, client_id, changes, address, request_id in session.execute(
        select(*columns, AuditEvent.address, AuditEvent.request_id)
        .where(*matching_events(account_id, query, zone, key))
        .order_by(AuditEvent.at.desc(), AuditEvent.id.desc())
        .limit(EXPORT_MAX)
        .execution_options(yield_per=EXPORT_AT_ONCE)
    ):
        before, after = (_json({field: pair[side] for field, pair in changes.items()}) for side in (0, 1))
        cells = (label, actor_id, action, client_id, before, after, address, request_id)
        yield csv_line((f"{at:%Y-%m-%dT%H:%M:%SZ}", *(cell or "" for cell in cells)))


def csv_line(cells: Iterable[str]) -> str:
    """Return one line of CSV (RFC 4180) with CRLF; a cell that a spreadsheet would evaluate begins with `'` (L7)."""
    line = StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(
        f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in cells
    )
    return line.getvalue()


def _json(values: Mapping[str, Any]) -> str:
    present = {field: value for field, value in values.items() if value is not None}
    return json.dumps(present, ensure_ascii=False) if present else ""
