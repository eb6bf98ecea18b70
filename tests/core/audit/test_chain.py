"""The hash chain of audit events: every event in it, also under concurrency, and each kind of tampering found (L8)."""

import hashlib
import json
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, text

from tests.support.chains import places, record, tamper, verify
from tests.support.concurrency import run_concurrently
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_author, make_client
from webapp.core.audit import chain, stream
from webapp.core.audit.actions import Action
from webapp.core.audit.chain import PLATFORM
from webapp.core.audit.events import record_event, record_platform_event
from webapp.core.database import migrations
from webapp.core.database.models import AuditEvent, new_id, utc_now
from webapp.core.database.unit_of_work import unit_of_work


def test_each_account_and_the_platform_have_a_chain(engine: Engine) -> None:
    """Several events of one transaction, of several accounts, in the order of their IDs (L8)."""
    record(engine)
    with unit_of_work(engine) as session:
        for account_id in (OTHER_ACCOUNT, ACCOUNT, OTHER_ACCOUNT):
            record_event(session, make_author(account_id), Action.EXPORTED, None, {"of": [None, "clients"]})
        record_platform_event(session, "cron", Action.KEY_ROTATED, {"signing_key": [None, "k"]})
    for account_id, count in ((ACCOUNT, 2), (OTHER_ACCOUNT, 2), (PLATFORM, 1)):
        rows = places(engine, account_id)
        assert [row.position for row in rows] == [*range(1, count + 1)]
        assert [row.previous_hash for row in rows] == ["", *(row.hash for row in rows[:-1])]
        assert verify(engine, account_id)[0] == []
        assert verify(engine, account_id)[1].events == count


def test_the_stream_has_all_that_recomputes_the_chain(engine: Engine, tmp_path: Path) -> None:
    """`raw_data` is JSON by RFC 8785; its SHA-256 is `raw_data_hash` and the next event's `previous` (L8)."""
    make_client(engine, client_id="acme-claims")
    record(engine, 3)
    path = tmp_path / "events.jsonl"
    with path.open("a", encoding="utf-8") as file:
        stream.stream(engine, file, tmp_path / "position")
    previous, lines = "", [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(lines) == 4
    for position, line in enumerate(lines, 1):
        raw = json.loads(line["raw_data"])
        assert line["raw_data"] == json.dumps(raw, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        assert (raw["position"], raw["previous"], line["metadata"]["sequence"]) == (position, previous, position)
        previous = hashlib.sha256(line["raw_data"].encode()).hexdigest()
        assert line["raw_data_hash"] == {"algorithm_id": 3, "algorithm": "SHA-256", "value": previous}
        assert (raw["id"], raw["changes"]) == (line["metadata"]["uid"], line["unmapped"]["changes"])
        assert (raw["account_id"], raw["actor_id"]) == (ACCOUNT, line["actor"]["user"]["uid"])


def test_the_canonical_text() -> None:
    """The form is stored in hashes, and never changes. Half a surrogate pair, from JSON of SQLite, is escaped (L8)."""
    event = AuditEvent(
        id=uuid.UUID(int=10),
        at=utc_now().replace(2026, 3, 1, 12, 0, 0, 5),
        account_id="acc",
        actor_id="a",
        actor_label="Ä\u2028\x7f",
        action="edited",
        client_key=uuid.UUID(int=11),
        client_id="c",
        changes={"z": [None, True], "a": ["\ud800\n\x01", 1]},
    )
    written = chain.canonical_text(event, 2, "00")
    assert written == (
        r'{"account_id":"acc","action":"edited","actor_id":"a","actor_label":"Ä' + "\u2028\x7f"
        r'","address":null,"at":"2026-03-01T12:00:00.000005Z","changes":{"a":["\ud800\n\u0001",1],"z":[null,true]},'
        r'"client_id":"c","client_key":"00000000-0000-0000-0000-00000000000b",'
        r'"id":"00000000-0000-0000-0000-00000000000a","position":2,"previous":"00","request_id":null,"version":1}'
    )
    assert chain.hash_of(written) == hashlib.sha256(written.encode()).hexdigest()


def test_concurrent_writers_make_one_chain(engine: Engine) -> None:
    """Of the same account, of two accounts and the platform in one transaction; none waits for ever (L8)."""

    def write(number: int) -> None:
        for _ in range(5):
            with unit_of_work(engine) as session:
                first, second = (ACCOUNT, OTHER_ACCOUNT) if number % 2 else (OTHER_ACCOUNT, ACCOUNT)
                record_event(session, make_author(first), Action.EDITED, None, {})
                if number % 3 == 0:
                    record_platform_event(session, "cron", Action.PURGED, {})
                record_event(session, make_author(second), Action.EDITED, None, {})

    run_concurrently([lambda number=number: write(number) for number in range(6)])  # type: ignore[misc]
    for account_id, count in ((ACCOUNT, 30), (OTHER_ACCOUNT, 30), (PLATFORM, 10)):
        assert [row.position for row in places(engine, account_id)] == [*range(1, count + 1)]
        findings, verified = verify(engine, account_id)
        assert (findings, verified.events, verified.waiting) == ([], count, 0)


def test_a_change_that_is_rolled_back_leaves_nothing(engine: Engine) -> None:
    record(engine)
    with suppress(ZeroDivisionError), unit_of_work(engine) as session:
        record_event(session, make_author(), Action.EDITED, None, {})
        session.flush()
        raise ZeroDivisionError
    record(engine)
    assert [row.position for row in places(engine)] == [1, 2]
    assert verify(engine)[0] == []


def insert_like_a_former_release(engine: Engine, count: int = 1) -> None:
    """Insert events by code that knows no chain."""
    rows = [
        {"id": new_id(), "at": utc_now(), "account_id": ACCOUNT, "actor_id": "a", "actor_label": "a"}
        | {"action": "edited", "changes": {"number": [None, number]}}
        for number in range(count)
    ]
    with engine.begin() as connection:
        connection.execute(insert(AuditEvent), rows)


def test_the_next_change_chains_the_events_of_a_former_release(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both releases run at once during an upgrade; the stream writes no event before it has a hash (L8)."""
    monkeypatch.setattr(chain, "EVENTS_AT_ONCE", 2)
    record(engine)
    insert_like_a_former_release(engine, 3)
    findings, verified = verify(engine)
    assert (findings, verified.events, verified.waiting) == ([], 1, 3)
    record(engine)
    assert (verify(engine)[1].events, verify(engine)[1].waiting) == (3, 2)
    with (tmp_path / "events.jsonl").open("a", encoding="utf-8") as file:
        assert stream.stream(engine, file, tmp_path / "position") == 5
    assert (tmp_path / "events.jsonl").read_text("utf-8").count('"raw_data_hash"') == 5
    findings, verified = verify(engine)
    assert (findings, verified.events, verified.waiting) == ([], 5, 0)


def test_events_from_before_the_chain_lie_outside(engine: Engine) -> None:
    """The upgrade reads no event, and says nothing about those that exist (L8)."""
    migrations.downgrade(engine, "0016")
    insert_like_a_former_release(engine, 3)
    migrations.upgrade(engine)
    findings, verified = verify(engine)
    assert (findings, verified.events, verified.before) == ([], 0, 3)
    record(engine, 2)
    findings, verified = verify(engine)
    assert (findings, verified.events, verified.before) == ([], 2, 3)


EVENTS, HASHES, CHAINS = "identity_client_events", "identity_client_event_hashes", "identity_client_event_chains"


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([f"UPDATE {EVENTS} SET actor_id = 'x' WHERE id = :third"], ["event {third} at position 3 was changed"]),
        ([f"UPDATE {EVENTS} SET changes = '{{}}' WHERE id = :third"], ["event {third} at position 3 was changed"]),
        ([f"UPDATE {EVENTS} SET account_id = 'harbour' WHERE id = :third"], ["{third} at position 3 was changed"]),
        ([f"DELETE FROM {EVENTS} WHERE id = :third"], ["event {third} at position 3 is missing"]),
        (
            [f"DELETE FROM {table} WHERE {key} = :third" for table, key in ((EVENTS, "id"), (HASHES, "event_id"))],
            ["the events at positions 3 to 3 are missing"],
        ),
        (
            [
                f"UPDATE {HASHES} SET position = 100 WHERE event_id = :third",
                f"UPDATE {HASHES} SET position = 3 WHERE event_id = :fourth",
                f"UPDATE {HASHES} SET position = 4 WHERE event_id = :third",
            ],
            [
                "event {fourth} at position 3 does not follow",
                "event {fourth} at position 3 was changed or moved",
                "event {third} at position 4 does not follow",
                "event {third} at position 4 was changed or moved",
                "event {last} at position 5 does not follow",
            ],
        ),
        (
            [f"DELETE FROM {table} WHERE {key} = :last" for table, key in ((EVENTS, "id"), (HASHES, "event_id"))],
            ["the events at positions 5 to 5 are missing"],
        ),
        ([f"UPDATE {CHAINS} SET hash = 'x'"], ["the end of the chain at position 5 was changed"]),
        (
            [
                f"INSERT INTO {EVENTS} (id, at, account_id, actor_id, actor_label, action, changes)"
                f" SELECT :forged, :later, account_id, actor_id, actor_label, action, changes FROM {EVENTS}"
                " WHERE id = :third"
            ],
            ["event {forged} is not in the chain"],
        ),
    ],
)
def test_tampering_is_found(engine: Engine, statements: list[str], expected: list[str]) -> None:
    """A changed, missing, moved or added event is named (L8)."""
    record(engine, 5)
    _, _, third, fourth, last = (row.event_id for row in places(engine))
    forged: Any = uuid.UUID(int=(1 << 127) + 1)
    later: Any = utc_now().replace(year=utc_now().year + 1)
    if engine.dialect.name == "sqlite":
        forged, later = forged.hex, later.strftime("%Y-%m-%d %H:%M:%S.%f")
    assert verify(engine)[0] == []
    tamper(engine, *statements, third=third, fourth=fourth, last=last, forged=forged, later=later)
    ids = {name: str(uuid.UUID(str(key))) for name, key in (("third", third), ("fourth", fourth), ("last", last))}
    ids["forged"] = str(uuid.UUID(str(forged)))
    findings = verify(engine)[0]
    assert len(findings) == len(expected)
    for finding, wanted in zip(findings, expected, strict=True):
        assert finding.startswith("account northwind: ")
        assert wanted.format(**ids) in finding


def test_an_event_that_waits_and_is_removed(engine: Engine) -> None:
    record(engine)
    insert_like_a_former_release(engine)
    with engine.connect() as connection:
        key = connection.execute(text(f"SELECT event_id FROM {HASHES} WHERE position IS NULL")).scalar_one()
    tamper(engine, f"DELETE FROM {EVENTS} WHERE id = :id", id=key)
    [finding] = verify(engine)[0]
    assert f"event {uuid.UUID(str(key))}, which was not chained yet, is missing" in finding
