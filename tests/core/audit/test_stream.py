"""Streaming of audit events: every event at least once, in OCSF's form, also after a crash and late commits."""

import json
import time
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.support.endpoint import Endpoint
from tests.support.factories import SECRET, make_author, make_client
from webapp.core.audit import stream
from webapp.core.audit.actions import Action
from webapp.core.audit.events import record_event, record_platform_event
from webapp.core.audit.ocsf import ocsf_event
from webapp.core.audit.stream import StreamPosition
from webapp.core.database.models import AuditEvent, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work


def record(engine: Engine, count: int, *, action: Action = Action.EDITED) -> list[str]:
    """Record events of an account; return their IDs."""
    author = make_author(address="192.0.2.7", request_id="0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b")
    with unit_of_work(engine) as session:
        before = set(session.scalars(select(AuditEvent.id)))
        for number in range(count):
            record_event(session, author, action, None, {"name": ["", f"ü{number}\n"]})
        session.flush()
        return [str(key) for key in session.scalars(select(AuditEvent.id)) if key not in before]


def run(engine: Engine, directory: Path) -> list[dict[str, Any]]:
    """Stream to a file; return all of its lines."""
    path = directory / "events.jsonl"
    with path.open("a", encoding="utf-8") as file:
        stream.stream(engine, file, directory / "position")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def ids(lines: list[dict[str, Any]]) -> list[str]:
    """Return the IDs of the events in these lines."""
    return [line["metadata"]["uid"] for line in lines]


def test_each_event_once_over_several_runs(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "EVENTS_AT_ONCE", 3)
    earlier = ids(run(engine, tmp_path))
    first = record(engine, 7)
    assert sorted(ids(run(engine, tmp_path))) == sorted(earlier + first)
    assert sorted(ids(run(engine, tmp_path))) == sorted(earlier + first)
    second = record(engine, 2)
    assert sorted(ids(run(engine, tmp_path))) == sorted(earlier + first + second)


def test_a_crash_repeats_events_and_leaves_none_out(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "EVENTS_AT_ONCE", 2)
    written = record(engine, 5)
    save, saved = StreamPosition.save, list[Path]()

    def crash(position: StreamPosition, path: Path) -> None:
        if saved:
            raise KeyboardInterrupt
        save(position, path)
        saved.append(path)

    with monkeypatch.context() as patch:
        patch.setattr(StreamPosition, "save", crash)
        with pytest.raises(KeyboardInterrupt):
            run(engine, tmp_path)
    counts = Counter(ids(run(engine, tmp_path)))
    assert set(written) <= set(counts)
    assert set(counts.values()) == {1, 2}


def test_a_line_that_was_cut_off_spoils_no_other(sqlite_engine: Engine, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"class_uid": 30', "utf-8")
    written = record(sqlite_engine, 2)
    with path.open("a", encoding="utf-8") as file:
        stream.stream(sqlite_engine, file, tmp_path / "position")
    first, *lines = path.read_text("utf-8").splitlines()
    assert first == '{"class_uid": 30'
    assert set(written) <= set(ids([json.loads(line) for line in lines]))


@pytest.mark.parametrize(("minutes", "found"), [(14, True), (16, False)])
def test_late_commits(engine: Engine, tmp_path: Path, minutes: int, found: bool) -> None:
    """An event with an earlier ID appears after later ones were streamed."""
    record(engine, 1)
    run(engine, tmp_path)
    late = uuid.UUID(int=(round(time.time() * 1000) - minutes * 60_000 << 80) + 1)
    with unit_of_work(engine) as session:
        session.add(
            AuditEvent(
                id=late, at=utc_now(), actor_id="a", actor_label="a", action="edited", changes={}, account_id="acc"
            )
        )
    assert (str(late) in ids(run(engine, tmp_path))) == found
    assert len(ids(run(engine, tmp_path))) == len(set(ids(run(engine, tmp_path))))


def test_two_runs_at_once(sqlite_engine: Engine, tmp_path: Path) -> None:
    with stream._locked(tmp_path / "position"), pytest.raises(BlockingIOError):
        run(sqlite_engine, tmp_path)


def test_the_form(sqlite_engine: Engine, tmp_path: Path) -> None:
    """Required attributes of the class, and no secret."""
    key = make_client(sqlite_engine).id
    author = make_author(address="192.0.2.7", request_id="0b0b")
    with unit_of_work(sqlite_engine) as session:
        client = session.get_one(IdentityClient, key)
        record_event(session, author, Action.DISABLED, client, {"enabled": [True, False]})
        record_platform_event(session, "cron", Action.KEY_ROTATED, {"kid": [None, "k"]})
    *_, disabled, rotated = run(sqlite_engine, tmp_path)
    assert disabled["class_uid"] == 3004
    assert disabled["category_uid"] == 3
    assert (disabled["activity_id"], disabled["type_uid"]) == (3, 300403)
    assert disabled["entity"] == {"type": "identity client", "uid": str(key), "name": client.client_id}
    assert disabled["actor"]["user"]["uid"] == author.actor_id
    assert disabled["src_endpoint"] == {"ip": "192.0.2.7"}
    assert disabled["metadata"]["tenant_uid"] == author.account_id
    assert disabled["metadata"]["correlation_uid"] == "0b0b"
    assert disabled["unmapped"] == {"changes": {"enabled": [True, False]}}
    assert abs(disabled["time"] / 1000 - time.time()) < 60
    assert rotated["entity"]["type"] == "platform"
    assert "tenant_uid" not in rotated["metadata"]
    assert SECRET not in (tmp_path / "events.jsonl").read_text("utf-8")


@pytest.mark.parametrize("action", Action)
def test_every_action_has_an_activity(sqlite_engine: Engine, action: Action) -> None:
    record(sqlite_engine, 1, action=action)
    with read_session(sqlite_engine) as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == action)).first()
        assert event
        form = ocsf_event(event, None)
    assert form["type_uid"] == 300400 + form["activity_id"]
    assert form["activity_id"] in (1, 2, 3, 4, 99)
    assert (form["status_id"] == 2) == (action is Action.REFUSED)


def test_the_command(endpoint: Endpoint, tmp_path: Path) -> None:
    """It appends to a file; counts go to standard error."""
    written = record(endpoint.engine, 2)
    run_command = endpoint.app.test_cli_runner().invoke
    line = ["identity-clients", "stream-audit", "--position"]
    done = run_command(args=[*line, str(tmp_path / "one"), str(tmp_path / "events.jsonl")])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "events.jsonl").read_text("utf-8").splitlines()
    assert set(written) <= set(ids([json.loads(each) for each in lines]))
    with stream._locked(tmp_path / "one"):
        busy = run_command(args=[*line, str(tmp_path / "one"), str(tmp_path / "events.jsonl")])
    assert (busy.exit_code, "Another process" in busy.output) == (1, True)
