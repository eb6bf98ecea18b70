"""The trail as a file: what it holds, how it is sent, and how often (L7, D5)."""

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
import time_machine
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, select
from werkzeug.test import TestResponse

from tests.support.audit_events import add_events
from tests.support.clients import delete, edit, values_of
from tests.support.factories import OTHER_ACCOUNT, make_client
from tests.support.host import HARBOUR, Host, make_host
from webapp.core.audit.export import CSV_HEADINGS
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session

NOW = datetime(2026, 7, 1, 11, tzinfo=UTC)
HOSTILE_ID = '=HYPERLINK("x")'


@pytest.fixture(autouse=True)
def clock() -> Iterator[time_machine.Traveller]:
    """Stand at noon in London, in summer."""
    with time_machine.travel(NOW, tick=False) as traveller:
        yield traveller


def rows(answer: TestResponse) -> list[list[str]]:
    """Return the file's rows as a spreadsheet reads them, without the headings and without this very export."""
    assert answer.status_code == 200
    headings, *found = csv.reader(StringIO(answer.get_data(as_text=True), newline=""), strict=True)
    assert headings == list(CSV_HEADINGS)
    return [row for row in found if row[3] != "exported"]


def exports(engine: Engine, account_id: str = "northwind") -> list[AuditEvent]:
    """Return the exports that stand in the trail."""
    with read_session(engine) as session:
        of_account = (AuditEvent.account_id == account_id, AuditEvent.action == "exported")
        return list(session.scalars(select(AuditEvent).where(*of_account).order_by(AuditEvent.at, AuditEvent.id)))


def test_l7_the_file(host: Host) -> None:
    """L7: an attachment with a fixed ASCII name; formulas, quotes and line breaks; times in UTC; no other account."""
    client = make_client(host.engine, client_id=HOSTILE_ID, name='Say "hi", Zoë', description="one\ntwo")
    edit(host.engine, client, values=values_of(client, name="@SUM(1)", token_duration="10"))
    make_client(host.engine, account_id=OTHER_ACCOUNT, client_id="harbour-foreign")
    answer = host.get("/activity.csv")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="identity-clients-activity.csv"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    edited, created = rows(answer)
    assert edited == [
        "2026-07-01T11:00:00Z",
        "admin@northwind.example",
        "admin@northwind.example",
        "edited",
        f"'{HOSTILE_ID}",
        '{"name": "Say \\"hi\\", Zoë", "token_duration_minutes": 60}',
        '{"name": "@SUM(1)", "token_duration_minutes": 10}',
        "192.0.2.1",
        "0123456789abcdef",
    ]
    assert '"description": "one\\ntwo"' in created[6]
    assert "harbour-foreign" not in answer.text
    assert answer.text.endswith("\r\n")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), min_size=1))
@example([HOSTILE_ID, "+1", "-1", "@x", "\tx", "\rx", 'say "hi"', "two\r\nlines", "a,b", "'", "", "\n"])
def test_l7_every_label_comes_back(sqlite_url: str, labels: list[str]) -> None:
    """L7: whatever a person is called, but for the sign that stands before a formula."""
    engine = make_engine(sqlite_url)
    host = make_host(engine, exports_per_actor_and_hour=1000)
    before = len(rows(host.get("/activity.csv")))
    add_events(engine, *({"at": NOW + timedelta(seconds=n), "actor_label": label} for n, label in enumerate(labels)))
    found = [row[1] for row in rows(host.get("/activity.csv"))]
    assert len(found) == before + len(labels)
    for cell in found:
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    written = sorted(f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label for label in labels)
    assert set(written) <= set(found)
    engine.dispose()


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["edited", "created", "created"]),
        ("?action=edited", ["edited"]),
        ("?client=acme", ["edited", "created"]),
        ("?client=acme&until=2026-06-30", []),
        ("?person=nobody", []),
        ("?since=yesterday&action=nothing&after=xxx", ["edited", "created", "created"]),
    ],
)
def test_the_file_has_the_filters_of_the_page_and_the_event_names_them(
    host: Host, query: str, found: list[str]
) -> None:
    """L7, I4: a bad value is none."""
    client = make_client(host.engine, client_id="acme-claims", created_at=NOW)
    make_client(host.engine, client_id="other-path")
    edit(host.engine, client, values=values_of(client, name="New"))
    assert sorted(row[3] for row in rows(host.get(f"/activity.csv{query}"))) == sorted(found)
    [told] = exports(host.engine)
    expected = dict(pair.split("=") for pair in query.removeprefix("?").split("&") if pair)
    valid = {} if "xxx" in query else expected
    assert told.changes == {"filters": [None, valid]}
    assert (told.actor_id, told.client_key) == ("user-1", None)


def test_the_file_of_one_client_also_of_a_deleted_one(host: Host) -> None:
    """A3: by its key; another account's and an absent one are 404, and no export."""
    client = make_client(host.engine, client_id="acme-claims")
    make_client(host.engine, client_id="acme-claims-2")
    delete(host.engine, client)
    assert [row[3] for row in rows(host.get(f"/activity.csv?key={client.id}"))] == ["deleted", "created"]
    assert [row[3] for row in rows(host.get(f"/activity.csv?key={client.id}&action=created"))] == ["created"]
    assert [told.client_key for told in exports(host.engine)] == [client.id, client.id]
    host.actor = HARBOUR
    for key in (str(client.id), "01a212f7-44cb-7140-9b72-8bbba6544ca2", "nonsense"):
        assert host.get(f"/activity.csv?key={key}").status_code == 404
    assert exports(host.engine, "harbour") == []


def test_l7_at_most_10000_rows(host: Host) -> None:
    """L7: the newest, and they are sent as they are read, never all at once."""
    add_events(host.engine, *({"at": NOW - timedelta(seconds=number)} for number in range(10_005)))
    answer = host.get("/activity.csv", buffered=False)
    assert answer.is_streamed
    parts = [bytes(part) for part in answer.iter_encoded()]
    assert len(parts) == 10_001
    newest = list(csv.reader([part.decode() for part in parts[1:3]]))
    assert [row[3] for row in newest] == ["exported", "edited"]


def test_d5_exports_have_a_quota(host: Host) -> None:
    """D5, L7: each is an event; beyond 10 in an hour 429, for this person only."""
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


def test_w8_reading_the_trail_writes_nothing_and_exporting_one_event(host: Host) -> None:
    """W8: GET and HEAD write refusals and exports, nothing else."""
    client = make_client(host.engine, client_id="acme-claims")
    writes: list[str] = []
    statements = ("INSERT", "UPDATE", "DELETE")

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith(statements):
            writes.append(statement.split("(")[0].strip())

    event.listen(host.engine, "before_cursor_execute", note)
    for path in ("", "?attention=any", "/activity", f"/{client.id}/activity", f"/{client.id}", f"/{client.id}/menu"):
        assert host.get(path).status_code == host.client.head(f"/administration/identity-clients{path}").status_code
    assert writes == []
    host.get("/activity.csv")
    assert writes == ["INSERT INTO identity_client_events"]
    with read_session(host.engine) as session:
        assert session.get_one(IdentityClient, client.id).version == 1
