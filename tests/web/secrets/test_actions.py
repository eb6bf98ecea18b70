"""The table of a client's secrets, and the actions on one of them."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from sqlalchemy import select

from tests.support.factories import make_author, make_client, make_secrets
from tests.support.host import NORTHWIND, Host, make_host
from tests.support.markup import read
from tests.support.screens import actions, secrets_of, set_columns, states, stored
from webapp.core.client_changes import get_client
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.secrets.service import Overlap

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)
ALL_ACTIONS = ("end", "pause", "resume", "end-date")


@pytest.fixture(autouse=True)
def now() -> Iterator[time_machine.Traveller]:
    """Stop the clock, which a test may shift."""
    with time_machine.travel(NOW, tick=False) as clock:
        yield clock


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with two live secrets: A, which ends within a day, and B."""
    client = make_client(host.engine, client_id="acme-claims-prod", created_at=NOW - timedelta(days=300))
    return rotate(host, client)


def rotate(host: Host, client: IdentityClient, overlap: Overlap = Overlap.DAY) -> IdentityClient:
    with unit_of_work(host.engine) as session:
        current = get_client(session, account_id=client.account_id, key=client.id)
        make_secrets().change(
            session,
            author=make_author(label="Hannah Okafor"),
            key=client.id,
            version=current.version,
            secret=f"secret number {current.version} of acme",
            overlap=overlap,
            end_older=True,
        )
    return stored(host, client)


def path(host: Host, client: IdentityClient, label: str, action: str) -> str:
    return f"/{client.id}/secrets/{secrets_of(host, client)[label].id}/{action}"


def confirm(host: Host, client: IdentityClient, label: str, action: str, *, htmx: bool = False, **fields: Any) -> Any:
    """Submit the confirmation as it is shown now, with these fields."""
    where = path(host, client, label, action)
    return host.post(where, read(host.get(where)).form(**fields), htmx=htmx, token=False)


def is_done(answer: Any, words: str, *, htmx: bool) -> bool:
    """Return whether a POST reported success: in a toast, or on the page that it redirects to."""
    if htmx:
        return bool(answer.headers.get("HX-Trigger") == "ic-changed" and words in answer.text)
    return bool(answer.status_code == 303 and words in answer.location)


def table(host: Host, client: IdentityClient) -> str:
    """Return the text of the section about secrets."""
    page = read(host.get(f"/{client.id}")).text
    return page[page.index("At most two at once") : page.index("Times are London time.")]


# The table


def test_the_table_shows_each_secret(host: Host, client: IdentityClient) -> None:
    """Label, state, creation, last use with its address, and end."""
    set_columns(host, client, "A", last_used_at=NOW - timedelta(minutes=3), last_used_address="203.0.113.7")
    set_columns(host, client, "A", created_at=NOW - timedelta(days=300))
    rows = table(host, client)
    for words in ("Secret A", "Ending", "27 Jan, 10:45", "admin@northwind.example", "3 min ago", "203.0.113.7"):
        assert words in rows
    for words in ("24 Nov, 10:45", "in 24 hours", "Secret B", "Current", "Just now", "Hannah Okafor", "Never"):
        assert words in rows
    assert "No end date" in rows


def test_states_change_with_time(host: Host, client: IdentityClient, now: time_machine.Traveller) -> None:
    """Current, ending, paused and ended, evaluated when the page is rendered (S8)."""
    confirm(host, client, "A", "pause")
    assert "Paused" in table(host, client)
    now.shift(timedelta(hours=24))
    assert "Paused" not in table(host, client)
    assert "Ended" in table(host, client)


def test_only_the_latest_ended_secrets_are_shown(host: Host, client: IdentityClient) -> None:
    for _ in range(5):
        rotate(host, client)
    page = table(host, client)
    assert [label for label in "ABCDEFG" if f"Secret {label}" in page] == ["C", "D", "E", "F", "G"]
    assert "2 secrets that ended before are not shown." in page


def test_the_last_live_secret_is_locked_and_says_why(host: Host) -> None:
    """It can be neither ended nor paused; the controls stay reachable by keyboard (S7)."""
    client = make_client(host.engine)
    page = read(host.get(f"/{client.id}"))
    links = {found["id"]: found for tag, found in page.tags if tag == "a" and "id" in found}
    for name in ("ic-pause-A", "ic-end-A"):
        assert links[name]["aria-disabled"] == "true"
        assert "the only one that works" in page.texts[links[name]["aria-describedby"]]
    assert "aria-disabled" not in links["ic-end-date-A"]


def test_a_viewer_sees_the_table_without_actions(host: Host, client: IdentityClient) -> None:
    """Viewers change nothing (A2)."""
    viewing = make_host(host.engine, viewer_roles=("Auditor",))
    viewing.actor = replace(NORTHWIND, roles=frozenset({"Auditor"}))
    page = read(viewing.get(f"/{client.id}"))
    assert "Secret A" in page.text
    for words in ("End now", "Pause", "Set end date", "Change secret", "More actions", "the only one"):
        assert words not in page.text


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (timedelta(seconds=1), "in 1 minute"),
        (timedelta(minutes=59), "in 59 minutes"),
        (timedelta(minutes=59, seconds=1), "in 1 hour"),
        (timedelta(hours=24), "in 24 hours"),
        (timedelta(hours=47, seconds=1), "in 2 days"),
        (timedelta(days=4), "in 4 days"),
        (timedelta(days=6, hours=1), "in 7 days"),
    ],
)
def test_the_remaining_time_of_a_secret(host: Host, client: IdentityClient, left: timedelta, words: str) -> None:
    set_columns(host, client, "A", ends_at=NOW + left)
    assert words in table(host, client)


# The notice of an end


@pytest.mark.parametrize(
    ("used", "words"),
    [
        (
            {"last_used_at": NOW - timedelta(minutes=3), "last_used_address": "203.0.113.7"},
            "It was last used 3 minutes ago from 203.0.113.7: move that caller to secret B.",
        ),
        ({"last_used_at": NOW - timedelta(minutes=1)}, "It was last used 1 minute ago: move that caller to secret B."),
        ({}, "It was never used; secret B works on."),
    ],
)
def test_a_secret_that_ends_soon_gets_a_notice(
    host: Host, client: IdentityClient, used: dict[str, Any], words: str
) -> None:
    if used:
        set_columns(host, client, "A", **used)
    page = read(host.get(f"/{client.id}")).text
    assert "Secret A ends on Tuesday 24 November at 10:45 GMT." in page
    assert words in page


@pytest.mark.parametrize(("days", "is_warned"), [(30, True), (31, False)])
def test_the_end_of_the_last_secret_is_announced_30_days_before(host: Host, days: int, is_warned: bool) -> None:
    client = make_client(host.engine)
    set_columns(host, client, "A", ends_at=NOW + timedelta(days=days))
    page = read(host.get(f"/{client.id}")).text
    assert ("From then on the client gets no tokens" in page) is is_warned


# End, pause, resume


def test_end(host: Host, client: IdentityClient, htmx: bool) -> None:
    question = read(host.get(path(host, client, "A", "end"), htmx=htmx)).text
    assert "End secret A of acme-claims-prod?" in question
    assert "It was never used." in question
    assert "Continue anyway" not in question
    assert states(host, client) == {"A": "ending", "B": "current"}
    answer = confirm(host, client, "A", "end", htmx=htmx)
    assert is_done(answer, "Rotation finished: only secret B works now." if htmx else "done=rotated", htmx=htmx)
    assert states(host, client) == {"A": "ended", "B": "current"}
    assert "Rotation finished: only secret B works now." in host.get(f"/{client.id}?done=rotated").text
    assert actions(host, client) == ["created", "secret changed", "secret ended"]


def test_the_end_of_the_newer_secret_is_no_rotation(host: Host, client: IdentityClient, htmx: bool) -> None:
    set_columns(host, client, "A", ends_at=None)
    answer = confirm(host, client, "B", "end", htmx=htmx)
    assert is_done(answer, "Secret ended. Requests" if htmx else "done=secret-ended", htmx=htmx)
    set_columns(host, client, "A", paused_at=NOW)
    assert "Rotation" not in host.get(f"/{client.id}?done=rotated").text


def test_pause_and_resume(host: Host, client: IdentityClient, htmx: bool) -> None:
    """Resuming keeps the end date (S8)."""
    assert "Its end date stays: Tuesday 24 November" in read(host.get(path(host, client, "A", "pause"))).text
    answer = confirm(host, client, "A", "pause", htmx=htmx)
    assert is_done(answer, "Secret paused." if htmx else "done=secret-paused", htmx=htmx)
    assert states(host, client)["A"] == "paused"
    answer = confirm(host, client, "A", "resume", htmx=htmx)
    assert is_done(answer, "Secret resumed." if htmx else "done=secret-resumed", htmx=htmx)
    assert states(host, client)["A"] == "ending"
    assert secrets_of(host, client)["A"].ends_at == NOW + timedelta(days=1)


@pytest.mark.parametrize("action", ["end", "pause"])
def test_the_last_live_secret_gets_409(host: Host, client: IdentityClient, htmx: bool, action: str) -> None:
    """Whether the other secret ended or is paused; the response says why and links to Change secret (S7)."""
    confirm(host, client, "A", "pause")
    where = path(host, client, "B", action)
    question = host.get(where, htmx=htmx)
    assert question.status_code == 200
    assert "is the only secret or key of acme-claims-prod that works" in read(question).text
    answer = host.post(where, {"version": stored(host, client).version, "confirmed": "used"}, htmx=htmx)
    assert answer.status_code == 409
    assert "Change the secret" in read(answer).text
    assert states(host, client) == {"A": "paused", "B": "current"}
    assert confirm(host, client, "A", "end").status_code == 303, "a paused secret may be ended"


def test_an_ended_secret_stays_ended(host: Host, client: IdentityClient, htmx: bool) -> None:
    """It cannot be paused, resumed or given another end date; ending it again changes nothing (S8)."""
    confirm(host, client, "A", "end")
    for action in ALL_ACTIONS:
        where = path(host, client, "A", action)
        assert "Secret A of acme-claims-prod has ended" in read(host.get(where, htmx=htmx)).text
        answer = host.post(where, {"version": stored(host, client).version}, htmx=htmx)
        assert answer.status_code == ((200 if htmx else 303) if action == "end" else 409), action
    assert states(host, client)["A"] == "ended"


# Warnings that have to be confirmed


def test_ending_a_secret_in_use_needs_a_confirmation(host: Host, client: IdentityClient, htmx: bool) -> None:
    """With the address that used it within the last hour."""
    set_columns(host, client, "A", last_used_at=NOW - timedelta(minutes=59), last_used_address="203.0.113.7")
    page = read(host.get(path(host, client, "A", "end"), htmx=htmx))
    assert "Secret A was used 59 minutes ago from 203.0.113.7. That caller will be refused." in page.text
    assert "confirmed" not in page.form()
    answer = confirm(host, client, "A", "end", htmx=htmx)
    assert answer.status_code == 422
    assert "from 203.0.113.7. That caller will be refused." in read(answer).text
    assert states(host, client)["A"] == "ending"
    answer = confirm(host, client, "A", "end", htmx=htmx, confirmed=page.inputs["confirmed"]["value"])
    assert is_done(answer, "Rotation finished: only secret B" if htmx else "done=rotated", htmx=htmx)
    assert states(host, client)["A"] == "ended"


def test_after_an_hour_no_confirmation_is_needed(host: Host, client: IdentityClient) -> None:
    set_columns(host, client, "A", last_used_at=NOW - timedelta(minutes=60), last_used_address="203.0.113.7")
    assert confirm(host, client, "A", "end").status_code == 303


@pytest.mark.parametrize("action", ["end", "pause"])
def test_the_end_date_of_the_remaining_secret_is_warned_about(
    host: Host, client: IdentityClient, htmx: bool, action: str
) -> None:
    """Ending or pausing B leaves A, which ends tomorrow; another end date needs another confirmation (S8)."""
    page = read(host.get(path(host, client, "B", action), htmx=htmx))
    words = "From Tuesday 24 November at 10:45 GMT on the client gets no tokens: secret A is then the last that worked."
    assert words in page.text
    for confirmed in ("", "y", "used"):
        answer = confirm(host, client, "B", action, htmx=htmx, confirmed=confirmed)
        assert answer.status_code == 422
        assert words in read(answer).text
    read_mark = page.inputs["confirmed"]["value"]
    set_columns(host, client, "A", ends_at=NOW + timedelta(hours=2))
    assert confirm(host, client, "B", action, htmx=htmx, confirmed=read_mark).status_code == 422
    assert states(host, client) == {"A": "ending", "B": "current"}
    set_columns(host, client, "A", ends_at=NOW + timedelta(days=1))
    assert confirm(host, client, "B", action, htmx=htmx, confirmed=read_mark).status_code in (200, 303)
    assert states(host, client)["B"] in ("ended", "paused")


# The end date


def test_set_and_clear_an_end_date(host: Host, client: IdentityClient, htmx: bool) -> None:
    """Typed in the time zone of the screens (S8)."""
    page = read(host.get(path(host, client, "A", "end-date"), htmx=htmx))
    field = page.inputs["ends_at"]
    assert (field["type"], field["value"]) == ("datetime-local", "2026-11-24T10:45")
    assert (field["min"], field["max"]) == ("2026-11-23T10:46", "2027-11-23T10:45")
    assert "In London time, within 365 days." in page.described("ends_at")
    answer = confirm(host, client, "A", "end-date", htmx=htmx, ends_at="2027-07-01T18:30")
    assert is_done(answer, "End date set." if htmx else "done=secret-end-date-set", htmx=htmx)
    assert secrets_of(host, client)["A"].ends_at == datetime(2027, 7, 1, 17, 30, tzinfo=UTC)
    for fields in ({"ends_at": ""}, {"clear": "y"}):
        set_columns(host, client, "A", ends_at=NOW + timedelta(days=1))
        answer = confirm(host, client, "A", "end-date", htmx=htmx, **fields)
        assert is_done(answer, "End date removed." if htmx else "done=secret-end-date-cleared", htmx=htmx)
        assert secrets_of(host, client)["A"].ends_at is None


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("tomorrow", "Enter a date and a time"),
        ("2026-11-24", "This is midnight"),
        ("2026-11-24T10:45+01:00", "Enter a date and a time"),
        ("2026-13-24T10:45", "Enter a date and a time"),
        ("9999-12-31T23:59", "Choose a moment within 365 days"),
        ("0001-01-01T00:00", "This moment is past."),
        ("2026-11-23T10:45", "This moment is past."),
        ("2027-11-23T10:46", "Choose a moment within 365 days"),
        ("2027-03-28T01:30", "Clocks go forward past this time."),
        ("x" * 10_000, "Enter a date and a time"),
        ("\x00", "Enter a date and a time"),
    ],
)
def test_invalid_end_dates(host: Host, client: IdentityClient, htmx: bool, typed: str, words: str) -> None:
    """It must be in the future, within 365 days, and exist in the time zone (S8)."""
    if words == "This is midnight":
        assert confirm(host, client, "A", "end-date", htmx=htmx, ends_at=typed).status_code in (200, 303)
        assert secrets_of(host, client)["A"].ends_at == datetime(2026, 11, 24, tzinfo=UTC)
        return
    answer = confirm(host, client, "A", "end-date", htmx=htmx, ends_at=typed)
    assert answer.status_code == 422
    assert words in read(answer).described("ends_at")
    assert secrets_of(host, client)["A"].ends_at == NOW + timedelta(days=1)


def test_an_ambiguous_time_is_the_first_of_the_two(host: Host, client: IdentityClient) -> None:
    """When clocks go back on 31 October 2027, 01:30 is first 01:30 BST."""
    confirm(host, client, "A", "end-date", ends_at="2027-10-31T01:30")
    assert secrets_of(host, client)["A"].ends_at == datetime(2027, 10, 31, 0, 30, tzinfo=UTC)


def test_the_last_live_secret_gets_an_end_only_after_a_warning(host: Host, htmx: bool) -> None:
    """The confirmation is valid for the shown end date only (S8)."""
    client = make_client(host.engine, client_id="acme-claims-prod")
    answer = confirm(host, client, "A", "end-date", htmx=htmx, ends_at="2026-12-01T09:00")
    page = read(answer)
    assert answer.status_code == 422
    assert "From Tuesday 1 December at 09:00 GMT on the client gets no tokens" in page.text
    assert page.value("ends_at") == "2026-12-01T09:00"
    mark = page.inputs["confirmed"]["value"]
    assert (
        confirm(host, client, "A", "end-date", htmx=htmx, ends_at="2026-11-30T09:00", confirmed=mark).status_code == 422
    )
    assert secrets_of(host, client)["A"].ends_at is None
    answer = confirm(host, client, "A", "end-date", htmx=htmx, ends_at="2026-12-01T09:00", confirmed=mark)
    assert is_done(answer, "End date set." if htmx else "done=secret-end-date-set", htmx=htmx)
    assert secrets_of(host, client)["A"].ends_at == datetime(2026, 12, 1, 9, tzinfo=UTC)


# Who, and when


@pytest.mark.parametrize("action", ALL_ACTIONS)
def test_each_action_needs_a_recent_sign_in(host: Host, client: IdentityClient, htmx: bool, action: str) -> None:
    """Within 30 minutes (W5)."""
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=30, seconds=1))
    answer = confirm(host, client, "A", action, htmx=htmx, ends_at="2026-12-01T09:00")
    assert answer.status_code == 401
    assert "ign in in a new tab" in answer.text
    assert stored(host, client).version == client.version
    host.actor = replace(NORTHWIND, signed_in_at=NOW - timedelta(minutes=30))
    assert confirm(host, client, "A", action, htmx=htmx, ends_at="2026-12-01T09:00").status_code in (200, 303)


@pytest.mark.parametrize("action", ALL_ACTIONS)
def test_no_token_or_a_stale_version_changes_nothing(
    host: Host, client: IdentityClient, htmx: bool, action: str
) -> None:
    """The CSRF token and the version are required (W8, I7)."""
    if action == "resume":
        confirm(host, client, "A", "pause")
    before, where = states(host, client), path(host, client, "A", action)
    data = {"ends_at": "2026-12-01T09:00"}
    answer = host.post(where, {**data, "version": stored(host, client).version}, htmx=htmx, token=False)
    assert (answer.status_code, "Your session was renewed" in answer.text) == (422, True)
    for version in ("", "0", "nonsense"):
        answer = host.post(where, {**data, "version": version}, htmx=htmx)
        assert answer.status_code == 409
        assert "changed this client" in answer.text
    assert states(host, client) == before
    assert secrets_of(host, client)["A"].ends_at == NOW + timedelta(days=1)


@pytest.mark.parametrize("action", ALL_ACTIONS)
def test_a_secret_of_another_client_is_not_found(host: Host, client: IdentityClient, action: str) -> None:
    """Of the same account or another, or a malformed key (A3)."""
    neighbour = make_client(host.engine, client_id="another-client")
    foreign = make_client(host.engine, account_id="harbour", client_id="harbour-client")
    seen = set()
    for secret_id in (neighbour.secrets[0].id, foreign.secrets[0].id, uuid.uuid4(), "nonsense", ""):
        for method in ("GET", "POST"):
            where = f"/{client.id}/secrets/{secret_id}/{action}"
            answer = host.post(where, {"version": client.version}) if method == "POST" else host.get(where)
            if secret_id:
                seen.add((answer.status_code, answer.text))
            else:
                assert answer.status_code == 404
    assert [status for status, _ in seen] == [404]
    assert states(host, neighbour) == {"A": "current"}


def test_events_name_the_secret_and_never_its_value(host: Host, client: IdentityClient) -> None:
    """They hold its label and states (L1, S6)."""
    confirm(host, client, "A", "end-date", ends_at="2026-12-01T09:00")
    with read_session(host.engine) as session:
        event = session.scalars(
            select(AuditEvent).where(AuditEvent.client_key == client.id).order_by(AuditEvent.id.desc())
        ).first()
    assert event
    assert event.action == "end date set"
    assert event.changes["ends_at"] == [{"A": "2026-11-24T10:45:00+00:00"}, {"A": "2026-12-01T09:00:00+00:00"}]
    assert event.actor_label == "Priya Nair"
