"""The list of clients as a CSV file."""

import csv
from io import StringIO

from sqlalchemy import select

from tests.support.factories import make_client
from tests.support.host import Host
from webapp.core.database.models import AuditEvent
from webapp.core.database.unit_of_work import read_session


def test_the_filtered_list_is_exported(host: Host) -> None:
    """RFC 4180 with a byte order mark and prefixed formulas, the own account only, and an event (L7)."""
    make_client(
        host.engine,
        client_id="acme-claims",
        name='=HYPERLINK("x")',
        description="Two\nlines",
        owner="Ana Silva",
        tags=["live", "eu"],
        roles={"MerchantUser", "CreatePayment"},
    )
    make_client(host.engine, client_id="acme-other", tags=["test"])
    make_client(host.engine, account_id="harbour", client_id="foreign-1", tags=["live"])
    answer = host.get("/clients.csv?tag=live&sort=-client_id")
    assert answer.status_code == 200
    assert answer.mimetype == "text/csv"
    assert answer.text.startswith("\ufeff")
    headings, *rows = csv.reader(StringIO(answer.text.removeprefix("\ufeff"), newline=""))
    assert len(rows) == 1
    row = dict(zip(headings, rows[0], strict=True))
    assert row["Client ID"] == "acme-claims"
    assert row["Client name"] == '\'=HYPERLINK("x")'
    assert row["Description"] == "Two\nlines"
    assert (row["Owner"], row["Tags"], row["Status"]) == ("Ana Silva", "eu; live", "Enabled")
    assert row["Roles that move money"] == "Create single payments"
    assert row["Last token (UTC)"] == ""
    assert row["Oldest secret created (UTC)"] == row["Created (UTC)"]
    with read_session(host.engine) as session:
        event = session.scalars(select(AuditEvent).where(AuditEvent.action == "exported")).one()
    assert event.changes == {
        "filters": [None, {"tag": "live", "sort": "-client_id"}],
        "of": [None, "clients"],
    }
    assert "exported the list of clients" in host.get("/activity").text


def test_every_client_is_exported_once(host: Host) -> None:
    """Over several pages of the list, sent while they are read (L7)."""
    for number in range(120):
        make_client(host.engine, client_id=f"client-{number:03}")
    answer = host.get("/clients.csv", buffered=False)
    assert answer.is_streamed
    rows = list(csv.reader(answer.text.removeprefix("\ufeff").splitlines()))
    assert [row[0] for row in rows[1:]] == [f"client-{number:03}" for number in range(120)]


def test_exports_share_a_quota(host: Host) -> None:
    """Ten an hour, of the list and of the activity together (D5)."""
    for number in range(10):
        assert host.get("/clients.csv" if number % 2 else "/activity.csv").status_code == 200
    assert host.get("/clients.csv").status_code == 429
