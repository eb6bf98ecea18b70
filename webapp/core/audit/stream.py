"""Stream audit events as JSON lines of OCSF, each at least once."""

import fcntl
import json
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Self, TextIO

from sqlalchemy import Engine, or_, select

from ..database.models import AuditEvent, AuditEventHash
from ..database.unit_of_work import read_session
from .chain import chain_all_waiting
from .ocsf import ocsf_event

EVENTS_AT_ONCE = 500
OVERLAP = timedelta(minutes=15)
"""How far back each run looks for events that were committed late, or by a host whose clock is behind."""
_ChainedEvent = tuple[AuditEvent, AuditEventHash | None]
"""An event with its entry in the chain; None for an event from before there was one."""


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
            file.writelines(f"{json.dumps(ocsf_event(event, entry))}\n" for event, entry in found)
            file.flush()
            if _is_regular(file):
                os.fsync(file.fileno())
            position = position.after(events)
            position.save(position_file)
            written += len(events)
    return written


def _new_events(engine: Engine, position: StreamPosition) -> Iterator[list[_ChainedEvent]]:
    """Yield the events in the order of their IDs, which sort by time, without those that the position includes.

    Those that wait to be chained are left to a later run.
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
            events: list[_ChainedEvent] = [(event, entry) for event, entry in session.execute(following)]
            session.expunge_all()
        if not events:
            return
        last = events[-1][0].id
        if new := [(event, entry) for event, entry in events if str(event.id) not in position.recent]:
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
