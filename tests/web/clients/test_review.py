"""The screens of the access review: the page, Keep, the printable page and the CSV file."""

import csv
from datetime import timedelta
from io import StringIO

import pytest

from tests.support.factories import make_client
from tests.support.host import Host
from tests.support.markup import read
from tests.support.screens import stored
from webapp.core.database.models import IdentityClient, utc_now


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(
        host.engine,
        client_id="acme-claims",
        owner="Ana Silva",
        roles=["MerchantUser", "CreatePayment"],
        created_at=utc_now() - timedelta(days=200),
    )


def test_the_page_shows_what_is_reviewed(host: Host, client: IdentityClient) -> None:
    """Roles that move money first; overdue ones are named; other accounts are not shown (A3)."""
    make_client(host.engine, client_id="acme-new")
    make_client(host.engine, account_id="harbour", client_id="foreign-1")
    for path in ("/review", "/review/print"):
        text = " ".join(read(host.get(path)).text.split())
        assert text.index("acme-claims") < text.index("acme-new")
        assert "Create single payments Moves money API access" in text
        assert "Secret A: 0 days old" in text
        assert "Any address" in text
        assert "Ana Silva" in text
        assert "foreign-1" not in text
    assert "1 client overdue for review" in host.get().text
    assert "1 client overdue for review" in host.get("?part=attention", htmx=True).text
    assert "Overdue: 1." in host.get("/review").text
    assert "Keep<" in host.get("/review").text
    assert "Keep<" not in host.get("/review/print").text


def test_keep_records_the_review(host: Host, htmx: bool, client: IdentityClient) -> None:
    """The confirmation names each secret; without acknowledgement nothing is saved, and the notes are kept."""
    page = read(host.get(f"/{client.id}/review", htmx=htmx))
    assert "Secret A is 0 days old. It was never used." in " ".join(page.text.split())
    refused = host.post(f"/{client.id}/review", page.form(found="Still used."), htmx=htmx, token=False)
    assert refused.status_code == 422
    assert "Tick the box to acknowledge the review." in refused.text
    again = read(refused)
    assert again.value("found") == "Still used."
    answer = host.post(f"/{client.id}/review", again.form(acknowledged="y"), htmx=htmx, token=False)
    assert answer.status_code == (200 if htmx else 303)
    assert stored(host, client).review_found == "Still used."
    assert "Overdue:" not in host.get("/review").text
    activity = " ".join(read(host.get(f"/{client.id}/activity")).text.split())
    assert "reviewed the access of the client" in activity
    assert "A: current" in activity


def test_a_stale_review_is_shown_again(host: Host, client: IdentityClient) -> None:
    """Nothing is recorded (I7)."""
    page = read(host.get(f"/{client.id}/review"))
    host.post(f"/{client.id}/disable", {"version": client.version})
    answer = host.post(f"/{client.id}/review", page.form(found="Fine.", acknowledged="y"), token=False)
    assert answer.status_code == 409
    assert stored(host, client).reviewed_at is None


def test_the_review_is_exported(host: Host, client: IdentityClient) -> None:
    """As a CSV file of the own account (L7)."""
    answer = host.get("/review.csv")
    headings, row = csv.reader(StringIO(answer.text.removeprefix("\ufeff"), newline=""))
    values = dict(zip(headings, row, strict=True))
    assert values["Client ID"] == "acme-claims"
    assert values["Roles that move money"] == "Create single payments"
    assert values["Secrets and keys, age in days"] == "Secret A: 0"
    assert values["Overdue"] == "Yes"
    assert "exported the access review" in host.get("/activity").text
