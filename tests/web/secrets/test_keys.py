"""The table of a client's keys, the actions on one, and Add key (S11)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from tests.support.factories import make_client, make_requests
from tests.support.host import NORTHWIND, Host
from tests.support.keys import add_key, change_key, private_key, private_pem, public_pem
from tests.support.markup import read
from tests.support.screens import stored
from webapp.core.database.models import AuditEvent, Base, IdentityClient
from webapp.core.database.unit_of_work import read_session

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _clock() -> Iterator[None]:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with a secret and no key."""
    return make_client(host.engine, client_id="acme-claims-prod")


def post(host: Host, client: IdentityClient, key: str, *, htmx: bool = False, **fields: Any) -> Any:
    """Submit Add key as it is shown now."""
    path = f"/{client.id}/keys"
    return host.post(path, read(host.get(path)).form(public_key=key, **fields), htmx=htmx, token=False)


def section(host: Host, client: IdentityClient) -> str:
    """Return the text of the section about keys."""
    page = read(host.get(f"/{client.id}")).text
    return page[page.index("A caller signs with its private key") :].partition("Token requests")[0]


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_add_key_shows_it_in_the_table(host: Host, client: IdentityClient, htmx: bool) -> None:
    """With thumbprint and algorithm, without JavaScript too; the secret stays (S11)."""
    assert "No keys yet" in section(host, client)
    answer = post(host, client, public_pem(private_key()), htmx=htmx)
    if htmx:
        assert answer.headers["HX-Trigger"] == "ic-changed"
        assert "Key added." in answer.text
    else:
        assert (answer.status_code, answer.location.endswith("?done=key-added")) == (303, True)
    [key] = stored(host, client).keys
    shown = section(host, client)
    for words in ("Key 1", key.thumbprint, "ES256", "Current", "Just now", "Never", "No end date", "End now"):
        assert words in shown
    assert "Secret A" in read(host.get(f"/{client.id}")).text


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_a_private_key_is_neither_stored_nor_shown_again(
    host: Host, client: IdentityClient, htmx: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The answer says what to do with it (S11, L4)."""
    caplog.set_level("DEBUG")
    pem = private_pem(private_key())
    answer = post(host, client, pem, htmx=htmx)
    assert answer.status_code == 422
    assert "treat it as leaked" in answer.text
    with host.engine.connect() as connection:
        tables = [table for table in Base.metadata.sorted_tables if table.name != "identity_client_search_texts"]
        dump = "\n".join(str(row) for table in tables for row in connection.execute(select(table)))
    for line in pem.splitlines()[1:-1]:
        for place in (answer.text, dump, caplog.text, str(answer.headers)):
            assert line not in place


@pytest.mark.parametrize("version", ["7", ""])
def test_a_private_key_is_not_shown_after_other_refusals(host: Host, client: IdentityClient, version: str) -> None:
    """Stale, or with an expired session (S11)."""
    pem = private_pem(private_key())
    every: tuple[dict[str, Any], ...] = ({"version": version}, {"csrf_token": "forged"})
    for fields in every:
        answer = post(host, client, pem, **fields)
        assert answer.status_code in (409, 422)
        assert pem.splitlines()[1] not in answer.text


def test_a_wrong_key_stays_in_the_field(host: Host, client: IdentityClient) -> None:
    answer = post(host, client, "my key")
    assert answer.status_code == 422
    assert "This is no public key as JWK or PEM." in answer.text
    assert "my key</textarea>" in answer.text


def test_a_sixth_key_is_refused_with_what_to_do(host: Host, client: IdentityClient) -> None:
    for number in range(5):
        add_key(host.engine, client, private_key(number=60 + number))
    answer = post(host, client, public_pem(private_key()))
    assert answer.status_code == 422
    assert "End key 1 or another one first." in answer.text


def test_a_stale_version_adds_nothing(host: Host, client: IdentityClient) -> None:
    """The form keeps the key, and names who changed the client (I7)."""
    answer = post(host, client, public_pem(private_key()), version="9")
    assert answer.status_code == 409
    assert stored(host, client).keys == []
    assert "BEGIN PUBLIC KEY" in answer.text


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize(
    ("action", "state", "done"),
    [("pause", "Paused", "key-paused"), ("end", "Ended", "key-ended"), ("end-date", "Ending", "key-end-date-set")],
)
def test_the_actions_on_a_key(
    host: Host, client: IdentityClient, action: str, state: str, done: str, htmx: bool
) -> None:
    """Each after a confirmation that names the key."""
    key = add_key(host.engine, client)
    path = f"/{client.id}/keys/{key.id}/{action}"
    question = read(host.get(path))
    assert "key 1 of acme-claims-prod" in question.text
    fields = {"ends_at": "2026-12-01T10:00"} if action == "end-date" else {}
    answer = host.post(path, question.form(**fields), htmx=htmx, token=False)
    assert answer.status_code == (200 if htmx else 303), answer.text
    assert htmx or answer.location.endswith(f"?done={done}")
    assert state in section(host, client)
    if action == "pause":
        resume = f"/{client.id}/keys/{key.id}/resume"
        host.post(resume, read(host.get(resume)).form(), token=False)
        assert "Current" in section(host, client)


def test_a_secret_is_no_key_and_a_key_no_secret(host: Host, client: IdentityClient) -> None:
    key = add_key(host.engine, client)
    [secret] = stored(host, client).secrets
    assert host.get(f"/{client.id}/keys/{secret.id}/end").status_code == 404
    assert host.get(f"/{client.id}/secrets/{key.id}/end").status_code == 404


def test_the_last_live_key_is_locked_and_says_why(host: Host, client: IdentityClient) -> None:
    """With the secret ended, the key is all that works (S7)."""
    key = add_key(host.engine, client)
    [secret] = stored(host, client).secrets
    path = f"/{client.id}/secrets/{secret.id}/end"
    assert host.post(path, read(host.get(path)).form(), token=False).status_code == 303
    page = read(host.get(f"/{client.id}"))
    assert "Key 1 is the only one that works" in page.text
    assert page.texts["ic-end-1"]
    refused = host.get(f"/{client.id}/keys/{key.id}/end")
    assert "Key 1 is the only secret or key of acme-claims-prod that works" in read(refused).text


def test_attention_names_keys(host: Host, client: IdentityClient) -> None:
    """On the page and in the list."""
    add_key(host.engine, client, ends_at=NOW + timedelta(days=3), created_at=NOW - timedelta(days=400))
    page = read(host.get(f"/{client.id}")).text
    assert "Key 1 ends on" in page
    assert "it was never used; secret a works on" in page.lower()
    assert "Key 1 is 400 days old." in page
    assert "Key 1 ends in 3 days" in read(host.get("")).text


@pytest.mark.parametrize(("days", "shown"), [(1, True), (30, True), (31, False)])
def test_old_style_assertions_are_noted(host: Host, client: IdentityClient, days: int, shown: bool) -> None:
    """For 30 days after the last one (S11)."""
    add_key(host.engine, client, long_assertion_at=NOW - timedelta(days=days))
    assert ("Key 1 signs assertions in an old style" in section(host, client)) == shown


def test_requests_name_the_key(host: Host, client: IdentityClient) -> None:
    """In the column where others have the letter of a secret (L2)."""
    add_key(host.engine, client)
    make_requests(host.engine, client, at=NOW, secret_label="1")
    assert "Key 1" in read(host.get(f"/{client.id}/requests")).text


def test_adding_a_key_needs_a_recent_sign_in(host: Host, client: IdentityClient) -> None:
    """Otherwise nothing changes (W5)."""
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=31))
    assert post(host, client, public_pem(private_key())).status_code == 401
    assert stored(host, client).keys == []


def test_the_event_stands_in_the_activity(host: Host, client: IdentityClient) -> None:
    post(host, client, public_pem(private_key()))
    change_key(host.engine, client, paused_at=NOW)
    assert "added a key" in read(host.get(f"/{client.id}/activity")).text
    with read_session(host.engine) as session:
        events = session.scalars(select(AuditEvent.action)).all()
    assert "client key added" in events
