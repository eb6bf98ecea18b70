"""Stream audit events as JSON lines, in the form of the class Entity Management (3004) of OCSF, each at least once."""

import fcntl
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TextIO

from sqlalchemy import Engine, or_, select

from ..database.models import AuditEvent, AuditEventHash
from ..database.unit_of_work import read_session
from .actions import Action
from .chain import canonical_text, chain_all_waiting

SCHEMA_VERSION = "1.6.0"
CLASS, CATEGORY = 3004, 3
EVENTS_AT_ONCE = 500
OVERLAP = timedelta(minutes=15)
"""How far back each run looks for events that were committed late, or by a host whose clock is behind."""
_CREATE, _READ, _UPDATE, _DELETE, _OTHER = (1, "Create"), (2, "Read"), (3, "Update"), (4, "Delete"), (99, "Other")
_ACTIVITIES = {
    Action.CREATED: _CREATE,
    Action.CLIENT_KEY_ADDED: _CREATE,
    Action.NOTIFICATION_TARGET_ADDED: _CREATE,
    Action.KEY_CREATED: _CREATE,
    Action.RESOURCE_SERVER_ADDED: _CREATE,
    Action.EXPORTED: _READ,
    Action.REVIEWED: _READ,
    Action.DELETED: _DELETE,
    Action.NOTIFICATION_TARGET_REMOVED: _DELETE,
    Action.RESOURCE_SERVER_REMOVED: _DELETE,
    Action.PURGED: _DELETE,
    Action.CHECKPOINT_SIGNED: _OTHER,
    Action.REFUSED: _OTHER,
}
"""The activity of each action that is not an update."""

_Placed = tuple[AuditEvent, AuditEventHash | None]


@dataclass(slots=True)
class StreamPosition:
    """How far a stream has come: the time of its latest event, and the IDs of those within `OVERLAP` before."""

    milliseconds: int = 0
    recent: frozenset[str] = frozenset()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Return the position in a file, the beginning if there is none."""
        if not path.exists():
            return cls()
        stored = json.loads(path.read_text("utf-8"))
        return cls(stored["milliseconds"], frozenset(stored["recent"]))

    def save(self, path: Path) -> None:
        """Replace the file, so that it is whole at any moment."""
        new = path.with_name(f"{path.name}.new")
        with new.open("w", encoding="utf-8") as file:
            json.dump({"milliseconds": self.milliseconds, "recent": sorted(self.recent)}, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def after(self, events: list[AuditEvent]) -> "StreamPosition":
        """Return the position after these events."""
        latest = max(self.milliseconds, *(_milliseconds(event.id) for event in events))
        ids = self.recent | {str(event.id) for event in events}
        first = latest - _OVERLAP_MILLISECONDS
        return StreamPosition(latest, frozenset(each for each in ids if _milliseconds(uuid.UUID(each)) >= first))


_OVERLAP_MILLISECONDS = OVERLAP // timedelta(milliseconds=1)


def stream(engine: Engine, file: TextIO, position_file: Path) -> int:
    """Write each event that the position does not include, and return how many there were.

    The position is saved after the lines are on the disk, so that a crash repeats events, and leaves none out.

    :raises BlockingIOError: another process streams with this position.
    :raises Unavailable: the database is locked or unreachable; what was written stays.
    """
    written = 0
    with _locked(position_file):
        position = StreamPosition.load(position_file)
        _end_line(file)
        chain_all_waiting(engine)
        for found in _new_events(engine, position):
            events = [event for event, _ in found]
            file.writelines(f"{json.dumps(ocsf_event(event, place))}\n" for event, place in found)
            file.flush()
            if _is_regular(file):
                os.fsync(file.fileno())
            position = position.after(events)
            position.save(position_file)
            written += len(events)
    return written


def ocsf_event(event: AuditEvent, place: AuditEventHash | None) -> dict[str, Any]:
    """Return an event in OCSF's form. `unmapped` holds what OCSF has no attribute for.

    `raw_data` is the text of which `raw_data_hash` is the hash; it holds the position, also in `metadata.sequence`, and
    the hash before (L8).

    :param place: in the chain; None for an event from before there was one.
    """
    activity, activity_name = _ACTIVITIES.get(Action(event.action), _UPDATE)
    entity = {"type": "platform", "uid": "identity-clients"}
    if event.client_key is not None:
        entity = {"type": "identity client", "uid": str(event.client_key), "name": event.client_id or ""}
    elif event.account_id is not None:
        entity = {"type": "account", "uid": event.account_id}
    elif event.action == Action.CHECKPOINT_SIGNED and event.changes["account"][1]:
        entity = {"type": "account", "uid": event.changes["account"][1]}
    refused = event.action == Action.REFUSED
    found: dict[str, Any] = {
        "class_uid": CLASS,
        "class_name": "Entity Management",
        "category_uid": CATEGORY,
        "category_name": "Identity & Access Management",
        "activity_id": activity,
        "activity_name": activity_name,
        "type_uid": CLASS * 100 + activity,
        "type_name": f"Entity Management: {activity_name}",
        "severity_id": 2 if refused else 1,
        "status_id": 2 if refused else 1,
        "time": _epoch_milliseconds(event.at),
        "metadata": {
            "uid": str(event.id),
            "version": SCHEMA_VERSION,
            "event_code": event.action,
            "product": {"name": "Identity Clients"},
        },
        "actor": {"user": {"uid": event.actor_id, "name": event.actor_label}},
        "entity": entity,
        "unmapped": {"changes": event.changes},
    }
    if event.account_id is not None:
        found["metadata"]["tenant_uid"] = event.account_id
    if event.request_id is not None:
        found["metadata"]["correlation_uid"] = event.request_id
    if event.address is not None:
        found["src_endpoint"] = {"ip": event.address}
    if place is not None and place.position is not None and place.previous_hash is not None:
        found["metadata"]["sequence"] = place.position
        found["raw_data"] = canonical_text(event, place.position, place.previous_hash)
        found["raw_data_hash"] = {"algorithm_id": 3, "algorithm": "SHA-256", "value": place.hash}
    return found


def _new_events(engine: Engine, position: StreamPosition) -> Iterator[list[_Placed]]:
    """Yield the events in the order of their IDs, which sort by time, without those that the position includes.

    Each comes with its place in the chain. Those that wait to be chained are left to a later run.
    """
    last = _first_id(max(0, position.milliseconds - _OVERLAP_MILLISECONDS))
    while True:
        with read_session(engine) as session:
            following = (
                select(AuditEvent, AuditEventHash)
                .outerjoin(AuditEventHash, AuditEventHash.event_id == AuditEvent.id)
                .where(AuditEvent.id > last, or_(AuditEventHash.event_id.is_(None), AuditEventHash.hash.is_not(None)))
                .order_by(AuditEvent.id)
                .limit(EVENTS_AT_ONCE)
            )
            events: list[_Placed] = [(event, place) for event, place in session.execute(following)]
            session.expunge_all()
        if not events:
            return
        last = events[-1][0].id
        if new := [(event, place) for event, place in events if str(event.id) not in position.recent]:
            yield new


def _is_regular(file: TextIO) -> bool:
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def _end_line(file: TextIO) -> None:
    """End a line that a crash has cut off, so that the next one can be read."""
    is_open_by_name = file.fileno() > 2
    if is_open_by_name and _is_regular(file) and (size := os.fstat(file.fileno()).st_size):
        with open(file.name, "rb") as written:
            written.seek(size - 1)
            if written.read(1) != b"\n":
                file.write("\n")


@contextmanager
def _locked(position_file: Path) -> Iterator[None]:
    with position_file.with_name(f"{position_file.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield


def _milliseconds(key: uuid.UUID) -> int:
    """Return the time in a UUIDv7 (RFC 9562 section 5.7)."""
    return key.int >> 80


def _first_id(milliseconds: int) -> uuid.UUID:
    """Return the lowest UUID of a time."""
    return uuid.UUID(int=milliseconds << 80)


def _epoch_milliseconds(at: datetime) -> int:
    return round(at.timestamp() * 1000)
