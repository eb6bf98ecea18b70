"""Signed checkpoints: one a day, delivered outside, and what they prove about the database (L9)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
import time_machine
from joserfc.jwk import ECKey
from sqlalchemy import Engine, insert, select

from tests.support.chains import compare, forge, places, record, tamper, verify
from tests.support.concurrency import run_concurrently
from tests.support.endpoint import ISSUER, Endpoint
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT
from tests.support.notifications import make_target
from webapp.core.audit import stream
from webapp.core.audit.actions import Action
from webapp.core.audit.chain import PLATFORM
from webapp.core.checkpoints.signing import CheckpointSigner, InvalidCheckpoint, read_checkpoint
from webapp.core.database.models import AuditChain, AuditEvent, Notification, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.notifications.checkpoints import sign_checkpoints
from webapp.core.notifications.kinds import CHECKPOINT
from webapp.core.retention import purge
from webapp.core.tokens.signing import generate_unstored_key
from webapp.core.tokens.signing_keys import SigningKeys

EXAMPLE = Path(__file__).parents[3] / "examples" / "verify_audit_stream.py"
FOLLOWS = "northwind: the event at position {} does not follow the one before\n"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stop the clock at noon."""
    with time_machine.travel(NOON, tick=False) as traveller:
        yield traveller


def make_keys(engine: Engine) -> SigningKeys:
    return SigningKeys(engine, [b"k" * 32])


def sign(engine: Engine) -> int:
    """Sign what is due; return how many."""
    return sign_checkpoints(engine, make_keys(engine), ISSUER, utc_now())


def signed(engine: Engine, account_id: str = ACCOUNT) -> list[str]:
    """Return the checkpoints of an account in their order."""
    events = select(AuditEvent).where(AuditEvent.action == Action.CHECKPOINT_SIGNED).order_by(AuditEvent.id)
    with read_session(engine) as session:
        changes = [event.changes for event in session.scalars(events)]
    return [each["checkpoint"][1] for each in changes if (each["account"][1] or PLATFORM) == account_id]


def write_stream(engine: Engine, directory: Path) -> list[str]:
    """Return all lines of the stream."""
    path = directory / "events.jsonl"
    with path.open("a", encoding="utf-8") as file:
        stream.stream(engine, file, directory / "position")
    return path.read_text("utf-8").splitlines()


def test_an_outsider_verifies_a_checkpoint_by_the_key_set(each_endpoint: Endpoint) -> None:
    """With another library; it names the chain's end, and is no access token (L9, T5)."""
    engine, services = each_endpoint.engine, each_endpoint.services
    record(engine, 3)
    assert sign_checkpoints(engine, services.keys, ISSUER, utc_now()) == 2
    [text] = signed(engine)
    keys = each_endpoint.client.get("/.well-known/jwks.json").get_json()
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(text)["kid"]]
    found = jwt.decode(text, key, algorithms=["ES256"], issuer=ISSUER)
    assert found == {
        "iss": ISSUER,
        "iat": int(NOON.timestamp()),
        "account_id": ACCOUNT,
        "position": 3,
        "hash": places(engine)[-1].hash,
        "keys": [each["kid"] for each in keys["keys"]],
    }
    header = jwt.get_unverified_header(text)
    assert (header["typ"], header["kid"]) == ("audit-checkpoint+jwt", ECKey.import_key(header["jwk"]).thumbprint())
    assert set(header["jwk"]) == {"kty", "crv", "x", "y"}
    assert services.keys.for_header(text.split(".")[0]) is None


def test_one_a_day_and_chain(engine: Engine, clock: time_machine.Traveller) -> None:
    """The first after midnight UTC; none for an account without new events; of two processes one signs it (L9)."""
    record(engine, 2)
    record(engine, 1, OTHER_ACCOUNT)
    assert sum(run_concurrently([lambda: sign(engine)] * 3)) == 3
    record(engine)
    clock.move_to(NOON + timedelta(hours=11, minutes=59))
    assert sign(engine) == 0
    clock.move_to(NOON + timedelta(hours=12))
    assert sign(engine) == 2
    assert [read_checkpoint(text).position for text in signed(engine)] == [2, 3]
    assert [read_checkpoint(text).position for text in signed(engine, OTHER_ACCOUNT)] == [1]
    assert len(signed(engine, PLATFORM)) == 2
    for account_id in (ACCOUNT, OTHER_ACCOUNT, PLATFORM):
        assert verify(engine, account_id)[0] == []


def test_a_checkpoint_is_sent_to_those_who_want_it(engine: Engine) -> None:
    """It is a kind of its own, of the account only (L9)."""
    make_target(engine, "soc@northwind.example", [CHECKPOINT])
    make_target(engine, "ops@northwind.example", ["client.created"])
    make_target(engine, "soc@harbour.example", [CHECKPOINT], account_id=OTHER_ACCOUNT)
    assert sign(engine) == 3
    with read_session(engine) as session:
        messages = {message.recipient: message.facts for message in session.scalars(select(Notification))}
    assert set(messages) == {"soc@northwind.example", "soc@harbour.example"}
    assert [messages["soc@northwind.example"]["checkpoint"]] == signed(engine)
    assert messages["soc@northwind.example"]["position"] == 2


def test_what_a_checkpoint_proves(engine: Engine, tmp_path: Path) -> None:
    """Hashes that were computed again agree with each other, but with nothing that was kept outside (L9)."""
    record(engine, 4)
    sign(engine)
    [text] = signed(engine)
    payload = json.dumps({"type": CHECKPOINT, "data": {"account_id": ACCOUNT, "checkpoint": text}})
    lines = write_stream(engine, tmp_path)
    for kept in ([text], [payload], lines, ["", f"  {text}\n"]):
        assert compare(engine, kept) == []
    forge(engine, 2, "somebody else")
    third, fourth = (str(row.event_id) for row in places(engine)[1:3])
    assert verify(engine)[0] == []
    [own] = verify(engine, PLATFORM)[0]
    assert "at position 4 is not the one of the checkpoint of 2026-03-01 12:00 UTC (event " in own
    [finding] = compare(engine, [text])
    assert finding.endswith("at position 4 is not the one of the checkpoint of 2026-03-01 12:00 UTC (line 1).")
    assert finding.replace("-", "").startswith("account northwind: event ")
    assert len(compare(engine, [payload])) == 1
    findings = [finding.replace("-", "") for finding in compare(engine, lines)]
    assert any(f"event {third.replace('-', '')} at position 2 is not the one" in finding for finding in findings)
    assert any(f"event {fourth.replace('-', '')} at position 3 is not the one" in finding for finding in findings)
    assert not any("at position 1 " in finding for finding in findings)


def test_a_chain_that_was_cut_off_or_dropped(engine: Engine) -> None:
    """Without its latest events a chain is whole in itself (L9)."""
    record(engine, 4)
    sign(engine)
    [text], rows = signed(engine), places(engine)
    tamper(
        engine,
        "DELETE FROM identity_client_events WHERE id = :last",
        "DELETE FROM identity_client_event_hashes WHERE event_id = :last",
        "UPDATE identity_client_event_chains SET position = 3, hash = :hash WHERE account_id = 'northwind'",
        last=rows[3].event_id,
        hash=rows[2].hash,
    )
    assert verify(engine)[0] == []
    [finding] = compare(engine, [text])
    assert "account northwind: the chain ends at position 3, before position 4 of the checkpoint" in finding
    tamper(engine, "DELETE FROM identity_client_event_chains WHERE account_id = 'northwind'")
    assert "the chain ends at position 0" in compare(engine, [text])[0]


def test_checkpoints_that_prove_nothing(engine: Engine) -> None:
    """A changed one, one by a key that is not ours, and other text (L9)."""
    record(engine, 2)
    sign(engine)
    [text] = signed(engine)
    head, payload, signature = text.split(".")
    stranger = generate_unstored_key()
    keys: Any = type("Keys", (), {"signing_key": lambda *_: stranger, "published": lambda *_: []})()
    forged = CheckpointSigner(keys, ISSUER, NOON).sign(ACCOUNT, 2, places(engine)[-1].hash)
    assert read_checkpoint(forged).position == 2
    assert compare(engine, [forged]) == [
        f"line 1: the checkpoint is signed by {stranger.kid}, which is no key of ours."
    ]
    for wrong in (
        f"{head}.{payload[:-4]}AAAA.{signature}",
        f"{forged.split('.')[0]}.{payload}.{signature}",
        "x",
        "{",
        "{}",
    ):
        with pytest.raises(InvalidCheckpoint):
            read_checkpoint(wrong)
        assert compare(engine, [text, wrong]) == ["line 2: this is no checkpoint, or its signature is wrong."]


def test_keys_that_no_longer_sign(engine: Engine, clock: time_machine.Traveller) -> None:
    """A checkpoint lists the keys that wait, and so vouches for the next; a key that was deleted stays known (L9)."""
    record(engine)
    sign(engine)
    ring = make_keys(engine)
    for days in (89, 91, 178, 181, 182):
        clock.move_to(NOON + days * DAY)
        ring.signing_key(utc_now())
        record(engine)
        sign(engine)
    texts = signed(engine)
    by = [read_checkpoint(text).kid for text in texts]
    assert len(set(by)) == 3
    listed = [jwt.decode(text, options={"verify_signature": False})["keys"] for text in texts]
    for kid, before in zip(by[1:], listed[:-1], strict=True):
        assert kid in before
    assert by[0] not in {row.kid for row, _ in ring.states(utc_now())}
    assert compare(engine, texts) == []
    ring.withdraw(by[-1], utc_now(), "operator")
    assert compare(engine, texts) == []


def run_purge(engine: Engine) -> int:
    """Purge with the shortest retention; return how many events were deleted."""
    signer = CheckpointSigner(make_keys(engine), ISSUER, utc_now())
    days = {"event_days": 400, "token_request_days": 90, "request_log_days": 30}
    return purge(engine, actor="cron", signer=signer, now=utc_now(), **days).events


def add_old_events(engine: Engine, *ages: int) -> None:
    """Add events of these ages in days."""
    row = {"account_id": ACCOUNT, "actor_id": "42", "actor_label": "Hannah", "action": "edited", "changes": {}}
    with unit_of_work(engine) as session:
        for age in ages:
            session.execute(insert(AuditEvent).values(at=utc_now() - age * DAY, **row))


def test_a_purge_leaves_a_signed_checkpoint(
    engine: Engine, clock: time_machine.Traveller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The chain goes on from it; what was kept of purged events is skipped; its key may be long gone (L1, L9)."""
    monkeypatch.setattr("webapp.core.retention.ROWS_AT_ONCE", 2)
    add_old_events(engine, 500, 450, 401, 10, 401, 5)
    record(engine)
    sign(engine)
    [text] = signed(engine)
    rows = places(engine)
    assert run_purge(engine) == 3
    assert [row.position for row in places(engine)] == [4, 5, 6, 7]  # the older one at 5 is deleted after 4
    findings, verified = verify(engine)
    assert (findings, verified.events) == ([], 4)
    with read_session(engine) as session:
        stored = session.get_one(AuditChain, ACCOUNT)
    purged = read_checkpoint(stored.purge_checkpoint or "")
    assert (purged.position, purged.hash) == (3, rows[2].hash)
    assert compare(engine, [text, stored.purge_checkpoint or ""]) == []
    for statement, finding in (
        ("purge_checkpoint = NULL", "the checkpoint of the purge is missing or was changed"),
        (f"purge_checkpoint = '{text}'", "the checkpoint of the purge is not that of position 3"),
        ("purged_position = 2", "the checkpoint of the purge is not that of position 2"),
        ("purged_position = 0", "the events at positions 1 to 3 are missing"),
    ):
        where = f"WHERE account_id = '{ACCOUNT}'"
        tamper(engine, f"UPDATE identity_client_event_chains SET {statement} {where}")
        assert finding in verify(engine)[0][0]
        tamper(
            engine,
            f"UPDATE identity_client_event_chains SET purge_checkpoint = :text, purged_position = 3 {where}",
            text=stored.purge_checkpoint,
        )
    tamper(engine, "DELETE FROM identity_client_events WHERE id = :id", id=rows[3].event_id)
    assert "at position 4 is missing" in verify(engine)[0][0]


def test_the_checkpoint_of_a_purge_is_signed_again_by_a_newer_key(
    engine: Engine, clock: time_machine.Traveller
) -> None:
    """Before the audit log forgets the key (L9)."""
    add_old_events(engine, 500, 1)
    run_purge(engine)
    for days in (89, 91):
        clock.move_to(NOON + days * DAY)
        make_keys(engine).signing_key(utc_now())
    run_purge(engine)
    with read_session(engine) as session:
        text = session.get_one(AuditChain, ACCOUNT).purge_checkpoint or ""
    assert read_checkpoint(text).at == NOON + 91 * DAY
    assert verify(engine)[0] == []


def test_an_outsider_verifies_the_stream(endpoint: Endpoint, tmp_path: Path, clock: time_machine.Traveller) -> None:
    """The example of the guide, over three keys; it names what was changed (L8, L9)."""
    engine, keys = endpoint.engine, endpoint.services.keys
    record(engine, 3)
    keys.signing_key(utc_now())
    (tmp_path / "jwks.json").write_text(endpoint.client.get("/.well-known/jwks.json").text, "utf-8")
    for days in (0, 89, 91, 178, 181):
        clock.move_to(NOON + days * DAY)
        keys.signing_key(utc_now())
        record(engine, 1, OTHER_ACCOUNT)
        sign_checkpoints(engine, keys, ISSUER, utc_now())
    lines = write_stream(engine, tmp_path)

    def run(lines: list[str]) -> tuple[int, str]:
        (tmp_path / "kept.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")
        command = [sys.executable, *map(str, (EXAMPLE, tmp_path / "kept.jsonl", tmp_path / "jwks.json"))]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return result.returncode, result.stdout

    assert run(lines) == (0, f"{len(lines)} events are whole.\n")
    code, output = run([*lines[:1], lines[1].replace("ü", "u").replace("\\u00fc", "u"), *lines[2:]])
    assert (code, output) == (1, "line 2: the event was changed\n" + FOLLOWS.format(3))
    assert run([*lines[:1], *lines[2:]]) == (1, "northwind: no event at position 2\n")
    signing = [line for line in lines if '"checkpoint signed"' in line]
    code, output = run([line for line in lines if line not in signing[:6]])
    assert (code, "the key" in output) == (1, True)


def test_the_commands(endpoint: Endpoint, tmp_path: Path) -> None:
    """`audit verify` names the event, and exits with 1; `audit checkpoint` signs (L8, L9)."""
    engine, run = endpoint.engine, endpoint.app.test_cli_runner().invoke

    def verified(*arguments: str, **options: Any) -> tuple[int, str]:
        result = run(args=["identity-clients", "audit", "verify", *arguments], **options)
        return result.exit_code, result.output

    record(engine, 3)
    record(engine, 1, OTHER_ACCOUNT)
    assert run(args=["identity-clients", "audit", "checkpoint"]).output == "Checkpoints signed: 3.\n"
    [text] = signed(engine)
    path = tmp_path / "checkpoint"
    path.write_text(text, "utf-8")
    code, output = verified("--checkpoint", str(path))
    assert (code, output.splitlines()[-1]) == (0, "Compared: 1, of which purged: 0.")
    code, output = verified("--account", OTHER_ACCOUNT, "--checkpoint", "-", input=f"{text}\n")
    assert (code, "There was nothing to compare with." in output) == (1, True)
    assert verified("--account", "nobody") == (1, "Error: There is no chain of an account nobody.\n")
    key = places(engine)[1].event_id
    tamper(engine, "UPDATE identity_client_events SET actor_label = 'x' WHERE id = :id", id=key)
    code, output = verified()
    assert code == 1
    assert "at position 2 was changed or moved." in output
    assert "1 findings" in output
    assert verified("--account", OTHER_ACCOUNT)[0] == 0
    assert output.startswith("account northwind: event ")
