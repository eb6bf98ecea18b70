"""The audit log as a CSV file: its columns, how it is sent, and its quota (L7, D5)."""

import csv
from codecs import BOM_UTF8
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
import time_machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select
from werkzeug.test import TestResponse

from tests.support.audit_events import add_events
from tests.support.catalogues import make_catalogue, use_flask_babel
from tests.support.clients import delete, edit, values_of
from tests.support.factories import OTHER_ACCOUNT, make_client
from tests.support.host import HARBOUR, Host, make_host
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session

NOW = datetime(2026, 7, 1, 11, tzinfo=UTC)
HOSTILE_ID = '=HYPERLINK("x")'


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Set the clock to noon in London, in summer."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def rows(answer: TestResponse) -> list[dict[str, str]]:
    """Return the file's rows by their headings, without the event of this export."""
    assert answer.status_code == 200
    text = answer.get_data().decode("utf-8-sig")
    found = csv.DictReader(StringIO(text, newline=""), strict=True, restkey="too many", restval="too few")
    return [row for row in found if row["Action"] != "Exported"]


def filled(row: dict[str, str]) -> dict[str, str]:
    """Return the cells of a row that are not empty."""
    return {heading: cell for heading, cell in row.items() if cell}


def exports(engine: Engine, account_id: str = "northwind") -> list[AuditEvent]:
    """Return the export events in the audit log."""
    with read_session(engine) as session:
        of_account = (AuditEvent.account_id == account_id, AuditEvent.action == "exported")
        return list(session.scalars(select(AuditEvent).where(*of_account).order_by(AuditEvent.at, AuditEvent.id)))


def test_the_file(host: Host) -> None:
    """One column per field before and after, as the screens show them; both times; no other account (L7)."""
    client = make_client(
        host.engine, client_id=HOSTILE_ID, name='Say "hi", Zoë', description="one\ntwo", roles=["MerchantUser"]
    )
    edit(
        host.engine,
        client,
        values=values_of(
            client, name="@SUM(1)", token_duration="10", roles=frozenset({"MerchantUser", "CreatePayment"})
        ),
    )
    make_client(host.engine, account_id=OTHER_ACCOUNT, client_id="harbour-foreign")
    answer = host.get("/activity.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.data.startswith(BOM_UTF8)
    edited, created = rows(answer)
    assert filled(edited) == {
        "Time (UTC)": "2026-07-01 11:00:00",
        "Time (Europe/London)": "2026-07-01 12:00:00",
        "Person": "admin@northwind.example",
        "Person ID": "admin@northwind.example",
        "Action": "Edited",
        "Event": "admin@northwind.example edited the client",
        "Client ID": f"'{HOSTILE_ID}",
        "Client name before": 'Say "hi", Zoë',
        "Client name after": "'@SUM(1)",
        "Token duration before": "60 minutes",
        "Token duration after": "10 minutes",
        "Roles before": "API access (MerchantUser)",
        "Roles after": "Create single payments (CreatePayment); API access (MerchantUser)",
        "Address": "192.0.2.1",
        "Request ID": "0123456789abcdef",
    }
    assert created["Description after"] == "one\ntwo"
    assert created["Description before"] == ""
    assert created["Status after"] == "Enabled"
    assert created["Client secret after"] == "A: current"
    assert "harbour-foreign" not in answer.text
    assert answer.text.endswith("\r\n")


def test_events_without_client_fields(host: Host) -> None:
    """Refusals, exports and unknown events have a sentence, a reason or JSON in the last columns."""
    add_events(
        host.engine,
        {"at": NOW, "action": "refused", "changes": {"refusal": [None, "not allowed"], "attempt": [None, "edit"]}},
        {"at": NOW, "action": "merged", "changes": {"colour": ["red", "blue"], "enabled": "?"}},
    )
    found = {row["Action"]: row for row in rows(host.get("/activity.csv"))}
    refused, unknown = found["Refused"], found["merged"]
    assert refused["Event"].endswith("tried to edit the client and was refused")
    assert refused["Reason"] == "None of their roles allows it."
    assert unknown["Other before"] == '{"colour": "red"}'
    assert unknown["Other after"] == '{"colour": "blue", "enabled": "?"}'


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("", "identity-clients-activity_Northwind-Insurance_2026-07-01"),
        ("?since=2026-06-01", "identity-clients-activity_Northwind-Insurance_from-2026-06-01_2026-07-01"),
        (
            "?since=2026-06-01&until=2026-06-30",
            "identity-clients-activity_Northwind-Insurance_from-2026-06-01_to-2026-06-30_2026-07-01",
        ),
        ("?key={key}", "identity-clients-activity_Northwind-Insurance_acme-claims_2026-07-01"),
    ],
)
def test_the_file_name_contains_account_range_and_date(host: Host, path: str, name: str) -> None:
    client = make_client(host.engine, client_id="acme-claims")
    answer = host.get(f"/activity.csv{path.format(key=client.id)}")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}.csv"'


def test_the_whole_file_is_in_the_language_of_the_request(sqlite_engine: Engine, tmp_path: Path) -> None:
    """Rows are made while the response is sent, after the view has returned."""
    host = make_host(sqlite_engine)
    make_catalogue(tmp_path, "en_GB", lambda message, _: f"«{message}»")
    use_flask_babel(host.app, tmp_path, lambda: "en_GB")
    make_client(host.engine, client_id="acme-claims")
    text = host.get("/activity.csv").get_data().decode("utf-8-sig")
    headings, *found = csv.reader(StringIO(text, newline=""))
    assert "«Action»" in headings
    assert [row[4] for row in found] == ["«Exported»", "«Created»"]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), min_size=1))
@example([HOSTILE_ID, "+1", "-1", "@x", "\tx", "\rx", 'say "hi"', "two\r\nlines", "a,b", "'", "", "\n"])
def test_every_actor_label_is_exported_unchanged(sqlite_url: str, labels: list[str]) -> None:
    """Any label can be read back, apart from the prefix before a formula (L7)."""
    engine = make_engine(sqlite_url)
    host = make_host(engine, exports_per_actor_and_hour=1000)
    before = len(rows(host.get("/activity.csv")))
    add_events(engine, *({"at": NOW + timedelta(seconds=n), "actor_label": label} for n, label in enumerate(labels)))
    found = [row["Person"] for row in rows(host.get("/activity.csv"))]
    assert len(found) == before + len(labels)
    for cell in found:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    written = sorted(f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label for label in labels)
    assert set(written) <= set(found)
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["Edited", "Created", "Created"]),
        ("?action=edited", ["Edited"]),
        ("?client=acme", ["Edited", "Created"]),
        ("?client=acme&until=2026-06-30", []),
        ("?person=nobody", []),
        ("?since=yesterday&action=nothing&after=xxx", ["Edited", "Created", "Created"]),
    ],
)
def test_the_filters_of_the_page_apply_and_are_recorded(host: Host, query: str, found: list[str]) -> None:
    """A bad value is ignored (L7, I4)."""
    client = make_client(host.engine, client_id="acme-claims", created_at=NOW)
    make_client(host.engine, client_id="other-path")
    edit(host.engine, client, values=values_of(client, name="New"))
    assert sorted(row["Action"] for row in rows(host.get(f"/activity.csv{query}"))) == sorted(found)
    [export] = exports(host.engine)
    expected = dict(pair.split("=") for pair in query.removeprefix("?").split("&") if pair)
    valid = {} if "xxx" in query else expected
    assert export.changes == {"filters": [None, valid]}
    assert (export.actor_id, export.client_key) == ("user-1", None)


def test_the_file_of_one_client_or_a_deleted_one(host: Host) -> None:
    """Selected by the client's key; a foreign or absent key gets 404 and is not recorded as an export (A3)."""
    client = make_client(host.engine, client_id="acme-claims")
    make_client(host.engine, client_id="acme-claims-2")
    delete(host.engine, client)
    assert [row["Action"] for row in rows(host.get(f"/activity.csv?key={client.id}"))] == ["Deleted", "Created"]
    created = rows(host.get(f"/activity.csv?key={client.id}&action=created"))
    assert [row["Action"] for row in created] == ["Created"]
    assert [export.client_key for export in exports(host.engine)] == [client.id, client.id]
    host.actor = HARBOUR
    for key in (str(client.id), "01a212f7-44cb-7140-9b72-8bbba6544ca2", "nonsense"):
        assert host.get(f"/activity.csv?key={key}").status_code == 404
    assert exports(host.engine, "harbour") == []


def test_at_most_10000_rows(host: Host) -> None:
    """The newest rows, sent while they are read, never all at once (L7)."""
    add_events(host.engine, *({"at": NOW - timedelta(seconds=number)} for number in range(10_005)))
    answer = host.get("/activity.csv", buffered=False)
    assert answer.is_streamed
    parts = [bytes(part) for part in answer.iter_encoded()]
    assert len(parts) == 10_002
    newest = list(csv.reader([part.decode() for part in parts[2:4]]))
    assert [row[4] for row in newest] == ["Exported", "Edited"]


def test_exports_have_a_quota(host: Host) -> None:
    """Each export is an event; beyond 10 in an hour the same person gets 429, others do not (D5, L7)."""
    make_client(host.engine, client_id="acme-claims")
    for _ in range(10):
        assert host.get("/activity.csv").status_code == 200
    refused = host.get("/activity.csv")
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["Retry-After"]) <= 3600
    assert "acme-claims" not in refused.text
    assert len(exports(host.engine)) == 10
    host.actor = HARBOUR
    assert host.get("/activity.csv").status_code == 200


def test_reading_the_audit_log_writes_nothing_and_exporting_writes_one_event(host: Host) -> None:
    """GET and HEAD write refusals and exports, nothing else (W8)."""
    client = make_client(host.engine, client_id="acme-claims")
    writes: list[str] = []
    statements = ("INSERT", "UPDATE", "DELETE")

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(statements):
            writes.append(statement.split("(")[0].split(" SET ")[0].strip())

    event.listen(host.engine, "before_cursor_execute", record)
    for path in ("", "?attention=any", "/activity", f"/{client.id}/activity", f"/{client.id}", f"/{client.id}/menu"):
        assert host.get(path).status_code == host.client.head(f"/administration/identity-clients{path}").status_code
    assert writes == []
    host.get("/activity.csv")
    chained = ["UPDATE identity_client_event_hashes", "UPDATE identity_client_event_chains"]
    assert writes == ["INSERT INTO identity_client_events", *chained]
    with read_session(host.engine) as session:
        assert session.get_one(IdentityClient, client.id).version == 1
