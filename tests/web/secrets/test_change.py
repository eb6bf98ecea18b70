"""Change secret, with the end of the old one; and the action for a leaked secret."""

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import time_machine
from sqlalchemy import Engine, func, select, update

from tests.support.factories import HASHER, SECRET, make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.keys import add_key
from tests.support.markup import read
from tests.support.screens import VALUES, actions, secrets_of, set_columns, states, stored
from webapp.core.database.models import ClientSecret, IdentityClient, SecretState, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.secrets.generation import Secret, is_generated
from webapp.core.secrets.hashing import StoredHash

NOW = datetime(2026, 11, 23, 10, 45, tzinfo=UTC)
NEW = "the-next-secret-of-acme-claims"


@pytest.fixture
def now() -> Iterator[None]:
    """Stop the clock."""
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.fixture
def client(host: Host) -> IdentityClient:
    return make_client(host.engine, client_id="acme-claims-prod", name="Acme claims", token_duration=30)


def verifies(host: Host, client: IdentityClient, label: str, secret: str) -> bool:
    row = secrets_of(host, client)[label]
    return HASHER.verify(Secret(secret), StoredHash(row.secret_hash, row.pepper_version))


def change(host: Host, client: IdentityClient, *, htmx: bool = False, **fields: Any) -> Any:
    """Submit the form as it is shown now, with these fields."""
    form = read(host.get(f"/{client.id}/secret")).form(**({"client_secret": NEW} | fields))
    return host.post(f"/{client.id}/secret", form, htmx=htmx, token=False)


# The form


def test_the_form_proposes_a_secret_and_says_when_the_old_one_ends(
    host: Host, client: IdentityClient, now: None
) -> None:
    """Now, 1 hour, 24 hours (the default) or 7 days, each with its time and zone (S8)."""
    page = read(host.get(f"/{client.id}/secret"))
    assert is_generated(Secret(page.value("client_secret")))
    assert page.value("overlap") == "24h"
    choices = [attributes["value"] for tag, attributes in page.tags if attributes.get("name") == "overlap"]
    assert choices == ["now", "1h", "24h", "7d"]
    for words in (
        "Today at 11:45 GMT",
        "Tuesday 24 November at 10:45 GMT",
        "Monday 30 November at 10:45 GMT",
        "Old secret A was never used.",
    ):
        assert words in page.text


def test_the_dialog_gets_its_secret_from_generate(host: Host, client: IdentityClient) -> None:
    """Only Generate's response holds the proposed value and is never compressed; the dialog may be (S6)."""
    dialog = host.client.get(f"{PREFIX}/{client.id}/secret", headers=HTMX | {"Accept-Encoding": "gzip"})
    assert dialog.headers["Content-Encoding"] == "gzip"
    dialog = host.get(f"/{client.id}/secret", htmx=True)
    assert read(dialog).value("client_secret") == ""
    data = read(dialog).form(generate="secret")
    answer = host.client.post(
        f"{PREFIX}/{client.id}/secret/form", data=data, headers=HTMX | {"Accept-Encoding": "gzip"}
    )
    assert (answer.status_code, answer.headers["Pragma"]) == (200, "no-cache")
    assert "Content-Encoding" not in answer.headers
    assert is_generated(Secret(read(answer).value("client_secret")))
    assert len(secrets_of(host, client)) == 1


@pytest.mark.parametrize(
    ("ago", "words"),
    [
        (timedelta(minutes=3), "Old secret A was last used 3 minutes ago from 203.0.113.7."),
        (timedelta(seconds=5), "Old secret A was last used just now from 203.0.113.7."),
        (timedelta(days=20), "Old secret A was last used on 3 November 2026, 10:45 GMT from 203.0.113.7."),
        (timedelta(days=40), "Old secret A was last used on 14 October 2026, 11:45 BST from 203.0.113.7."),
    ],
)
def test_it_says_when_and_from_where_the_old_secret_was_used(
    host: Host, client: IdentityClient, now: None, ago: timedelta, words: str
) -> None:
    """With a warning if it is still in use."""
    set_columns(host, client, "A", last_used_at=NOW - ago, last_used_address="203.0.113.7")
    page = read(host.get(f"/{client.id}/secret"))
    assert words in page.text
    assert ("Something still relies on it" in page.text) is (ago < timedelta(days=30))


def test_it_says_until_when_issued_tokens_stay_valid(host: Host, client: IdentityClient, now: None) -> None:
    assert "no token of it is still valid" in host.get(f"/{client.id}/secret").text
    with unit_of_work(host.engine) as session:
        of_client = update(IdentityClient).where(IdentityClient.id == client.id)
        session.execute(of_client.values(last_token_at=NOW, updated_at=NOW - timedelta(days=1)))
    assert "until 11:15 GMT at the latest" in host.get(f"/{client.id}/secret").text


# The end of the old secret


@pytest.mark.parametrize(
    ("overlap", "after", "message"),
    [
        ("now", timedelta(0), "Requests with secret A are refused from now."),
        ("1h", timedelta(hours=1), "Secret A works until Monday 23 November at 11:45 GMT."),
        ("24h", timedelta(days=1), "Secret A works until Tuesday 24 November at 10:45 GMT."),
        ("7d", timedelta(days=7), "Secret A works until Monday 30 November at 10:45 GMT."),
    ],
)
def test_each_choice_for_the_old_secret(
    host: Host, client: IdentityClient, now: None, htmx: bool, overlap: str, after: timedelta, message: str
) -> None:
    """The handover shows the new secret once, and when the old one ends (S8, S6)."""
    answer = change(host, client, htmx=htmx, overlap=overlap)
    page = read(answer)
    assert (answer.status_code, page.texts["ic-handover-secret"]) == (200, NEW)
    assert message in page.text
    assert answer.headers["Pragma"] == "no-cache"
    assert ("<html" in answer.text) is not htmx
    assert secrets_of(host, client)["A"].ends_at == NOW + after
    assert secrets_of(host, client)["B"].ends_at is None
    assert verifies(host, client, "B", NEW)
    assert actions(host, client) == ["created", "secret changed"]


def test_the_new_secret_may_get_an_end_date(sqlite_engine: Engine, now: None) -> None:
    """In the time zone of the screens, within the days of the setting; also at creation (S8)."""
    host = make_host(sqlite_engine, secret_max_days=90)
    client = make_client(host.engine, client_id="acme-claims-prod", account_id="northwind")
    for path in ("/new", f"/{client.id}/secret"):
        assert "Empty: it ends after 90 days." in host.get(path).text
    for typed, message in (
        ("2027-03-01T10:45", "must end on 2027-02-21 at the latest"),
        ("2026-11-23T10:45", "This moment is past."),
        ("soon", "Enter a date and a time"),
    ):
        for refused in (
            change(host, client, ends_at=typed),
            host.post("/new", VALUES | {"client_id": "another-client", "ends_at": typed}),
        ):
            assert refused.status_code == 422
            assert message in refused.text
            assert f'value="{typed}"' in refused.text
    assert change(host, client, ends_at="2027-01-31T18:00").status_code == 200
    assert secrets_of(host, client)["B"].ends_at == datetime(2027, 1, 31, 18, tzinfo=UTC)
    assert host.post("/new", VALUES | {"client_id": "another-client", "ends_at": ""}).status_code == 200
    with read_session(host.engine) as session:
        made = session.scalars(select(IdentityClient).where(IdentityClient.client_id == "another-client")).one()
    assert secrets_of(host, made)["A"].ends_at == NOW + timedelta(days=90)


def test_the_end_date_of_an_existing_secret_has_the_limit_from_its_creation(sqlite_engine: Engine, now: None) -> None:
    """A key has no limit (S8)."""
    host = make_host(sqlite_engine, secret_max_days=90)
    client = make_client(host.engine, account_id="northwind", created_at=NOW - timedelta(days=30))
    add_key(host.engine, client)
    [secret], [key] = secrets_of(host, client).values(), stored(host, client).keys
    latest = (secret.created_at + timedelta(days=90)).astimezone(ZoneInfo("Europe/London"))
    page = host.get(f"/{client.id}/secrets/{secret.id}/end-date").text
    assert f'max="{latest:%Y-%m-%dT%H:%M}"' in page
    assert re.search(rf"Until \w+,? {latest.day} {latest:%B}.* at the latest\.", page), page
    assert "Empty: no end date." in host.get(f"/{client.id}/keys/{key.id}/end-date").text


def test_an_unknown_choice_changes_nothing(host: Host, client: IdentityClient, htmx: bool) -> None:
    answer = change(host, client, htmx=htmx, overlap="100d")
    assert answer.status_code == 422
    assert "Choose when the old secret ends." in read(answer).texts["f-overlap-m"]
    assert NEW not in answer.text
    assert states(host, client) == {"A": "current"}


def test_issued_tokens_are_revoked_if_requested(host: Host, client: IdentityClient) -> None:
    """By the check box of the form (T13)."""
    change(host, client)
    assert stored(host, client).token_generation == 0
    change(host, client, end_older="A", client_secret="another-secret-of-acme", revoke="on")
    assert stored(host, client).token_generation == 1
    assert actions(host, client) == ["created", "secret changed", "secret changed", "tokens revoked"]


def test_a_secret_that_had_an_end_date_gets_the_chosen_one(host: Host, client: IdentityClient, now: None) -> None:
    set_columns(host, client, "A", ends_at=NOW + timedelta(days=3))
    page = read(host.get(f"/{client.id}/secret"))
    assert "It has an end date, Thursday 26 November at 10:45 GMT. Your choice replaces it." in page.text
    change(host, client, overlap="1h")
    assert secrets_of(host, client)["A"].ends_at == NOW + timedelta(hours=1)


def test_without_a_live_secret_there_is_no_choice_of_overlap(host: Host, client: IdentityClient) -> None:
    set_columns(host, client, "A", ends_at=utc_now() - timedelta(days=1))
    page = read(host.get(f"/{client.id}/secret"))
    assert "No secret of this client works." in page.text
    assert "overlap" not in page.inputs
    answer = change(host, client)
    assert "Secret A" not in read(answer).text
    assert states(host, client) == {"A": "ended", "B": "current"}


# Two secrets (S7)


def test_the_older_of_two_secrets_has_to_end_first(host: Host, client: IdentityClient, htmx: bool) -> None:
    """The same form asks for it, names the secret and its last use, and does not preselect it (S7)."""
    change(host, client, overlap="7d")
    used_at = utc_now() - timedelta(minutes=3, seconds=1)
    set_columns(host, client, "A", last_used_at=used_at, last_used_address="203.0.113.7")
    page = read(host.get(f"/{client.id}/secret"))
    assert "This client already has two secrets. End A to add another." in page.described("end_older")
    assert "It was last used 3 minutes ago from 203.0.113.7." in page.described("end_older")
    assert "When should old secret B end?" in page.text
    assert "end_older" not in page.form()
    for wrong in ({}, {"end_older": "B"}, {"end_older": "on"}):
        answer = change(host, client, htmx=htmx, client_secret="another-secret-of-acme", **wrong)
        assert answer.status_code == 422
        assert "Agree to end secret A now." in read(answer).described("end_older")
        assert states(host, client) == {"A": "ending", "B": "current"}
    answer = change(host, client, htmx=htmx, client_secret="another-secret-of-acme", end_older="A", overlap="1h")
    assert read(answer).texts["ic-handover-secret"] == "another-secret-of-acme"
    assert states(host, client) == {"A": "ended", "B": "ending", "C": "current"}


def test_repeating_the_post_shows_no_secret_again(host: Host, client: IdentityClient, htmx: bool) -> None:
    """409; the response says that the first one succeeded, and nothing changes (S7, S6, I7)."""
    form = read(host.get(f"/{client.id}/secret")).form(client_secret=NEW)
    assert host.post(f"/{client.id}/secret", form, htmx=htmx, token=False).status_code == 200
    answer = host.post(f"/{client.id}/secret", form, htmx=htmx, token=False)
    assert answer.status_code == 409
    assert NEW not in answer.text
    page = read(answer)
    assert "Priya Nair changed the secret" in page.text
    assert "Secret B was in that answer, and cannot be shown again." in page.text
    assert states(host, client) == {"A": "ending", "B": "current"}
    assert actions(host, client) == ["created", "secret changed", "refused"]
    # The returned form has the newest version, and asks to end what is now the older secret.
    again = page.form(client_secret="another-secret-of-acme", end_older="A")
    assert host.post(f"/{client.id}/secret", again, htmx=htmx, token=False).status_code == 200


@pytest.mark.parametrize("version", ["", "0", "nonsense"])
def test_a_form_without_its_version_is_stale(host: Host, client: IdentityClient, htmx: bool, version: str) -> None:
    """A missing or impossible version never matches (I7)."""
    assert change(host, client, htmx=htmx, version=version).status_code == 409
    assert states(host, client) == {"A": "current"}


def test_of_two_concurrent_posts_one_succeeds(engine: Engine) -> None:
    """On both engines: one success, one 409, and only the success shows a secret (S7)."""
    host = make_host(engine)
    client = make_client(engine, client_id="acme-claims-prod")
    forms = [
        read(host.get(f"/{client.id}/secret")).form(client_secret=secret) for secret in ("secret-one-1", "secret-two-2")
    ]
    cookie = host.client.get_cookie("session")
    assert cookie
    barrier = Barrier(2)

    def post(form: dict[str, Any]) -> Any:
        browser = host.app.test_client()
        browser.set_cookie("session", cookie.value)
        barrier.wait()
        return browser.post(f"{PREFIX}/{client.id}/secret", data=form)

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(post, [form | {"secret_warning": _warning(host, form)} for form in forms]))
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    shown = [secret for secret in ("secret-one-1", "secret-two-2") for answer in answers if secret in answer.text]
    assert len(shown) == 1
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(ClientSecret)) == 2
    assert verifies(host, client, "B", shown[0])


def _warning(host: Host, form: dict[str, Any]) -> str:
    answer = host.post("/check?field=client_secret", {"client_secret": form["client_secret"]})
    return read(answer).value("secret_warning")


# Chosen secrets: their rules and warnings (S4)


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        ("short", "This secret has 5 characters."),
        ("", "Enter a secret"),
        ("x" * 101, "This secret has 101 characters."),
        ("sécret-of-acme-claims", "Use only letters A to Z"),
        (SECRET, "This is secret A, which is to be replaced."),
    ],
)
def test_an_invalid_secret_is_refused(host: Host, client: IdentityClient, htmx: bool, secret: str, rule: str) -> None:
    answer = change(host, client, htmx=htmx, client_secret=secret)
    assert answer.status_code == 422
    assert rule in read(answer).described("client_secret")
    assert not secret or f'value="{secret}"' not in answer.text
    assert states(host, client) == {"A": "current"}
    if not htmx:
        assert "<title>Error: Change secret of acme-claims-prod" in answer.text
        assert is_generated(Secret(read(answer).value("client_secret")))


@pytest.mark.parametrize(
    ("secret", "rule"),
    [
        ("aaaaaaaaaaaaaaaaaaaa", "It repeats one character."),
        ("ACME-claims-prod", "It equals the client ID or the name."),
        ("acme CLAIMS", "It equals the client ID or the name."),
        ("a-long+secret-with-a-plus", "+ and %"),
        ("a-long-secret-and-a-space ", "It starts or ends with a space."),
    ],
)
def test_a_weak_secret_is_warned_about_before_it_is_set(
    host: Host, client: IdentityClient, htmx: bool, secret: str, rule: str
) -> None:
    """When the field loses focus, and at the first submission; the second saves it (S4)."""
    left = host.post(f"/check?field=client_secret&client={client.id}", {"client_secret": secret}, htmx=True)
    assert rule in left.text
    answer = change(host, client, htmx=htmx, client_secret=secret)
    page = read(answer)
    assert answer.status_code == 422
    assert rule in page.described("client_secret")
    assert "press Change secret again" in page.texts["ic-form-message"]
    assert states(host, client) == {"A": "current"}
    again = host.post(f"/{client.id}/secret", page.form(client_secret=secret), htmx=htmx, token=False)
    assert read(again).texts["ic-handover-secret"] == secret


def test_a_setting_refuses_weak_secrets(host: Host, client: IdentityClient) -> None:
    """Instead of a warning (S4)."""
    strict = make_host(host.engine, refuse_weak_secrets=True)
    answer = change(strict, client, client_secret="acme-claims-prod")
    assert answer.status_code == 422
    assert "Choose another" in read(answer).described("client_secret")


# Who, and when


@pytest.mark.parametrize("path", ["secret", "leaked"])
@pytest.mark.parametrize("minutes", [30, 30 + 1 / 60])
def test_a_new_secret_needs_a_recent_sign_in(
    host: Host, client: IdentityClient, htmx: bool, path: str, minutes: float
) -> None:
    """30 minutes are accepted; one second later nothing changes and the choices are kept (W5)."""
    form = read(host.get(f"/{client.id}/{path}")).form()
    signed_in_at = utc_now() - timedelta(minutes=minutes) + timedelta(seconds=0.9 if minutes == 30 else 0)
    host.actor = replace(NORTHWIND, signed_in_at=signed_in_at)
    if path == "secret":
        form |= {"client_secret": NEW, "overlap": "7d"}
    answer = host.post(f"/{client.id}/{path}", form, htmx=htmx, token=False)
    assert answer.status_code == (200 if minutes == 30 else 401)
    assert len(secrets_of(host, client)) == (2 if minutes == 30 else 1)
    if minutes > 30:
        assert "ign in in a new tab" in answer.text
        assert NEW not in answer.text
        assert ("<form" in answer.text) is not htmx
        assert htmx or path == "leaked" or read(answer).value("overlap") == "7d"


@pytest.mark.parametrize("path", ["secret", "leaked"])
def test_without_csrf_token_nothing_changes(host: Host, client: IdentityClient, htmx: bool, path: str) -> None:
    """The same form is returned with a new token (W8, W10)."""
    data = {"version": client.version, "client_secret": NEW, "overlap": "1h"}
    answer = host.post(f"/{client.id}/{path}", data, htmx=htmx, token=False)
    assert answer.status_code == 422
    assert "Your session was renewed" in answer.text
    assert NEW not in answer.text
    assert states(host, client) == {"A": "current"}
    if path == "secret":
        assert read(answer).value("overlap") == "1h"


def test_the_form_writes_a_secret_and_nothing_else(host: Host, client: IdentityClient) -> None:
    """Other posted fields are ignored (A5)."""
    other = make_client(host.engine, client_id="another-client")
    forged: dict[str, Any] = {
        "id": str(other.id),
        "key": str(other.id),
        "account_id": "harbour",
        "client_id": "renamed-client",
        "name": "Renamed",
        "token_duration": "60",
        "roles": "CreatePayment",
        "enabled": "",
        "last_used_at": "2030-01-01T00:00",
        "secret_hash": "forged",
        "label": "Z",
        "created_by": "Mallory",
    }
    assert change(host, client, **forged).status_code == 200
    after = stored(host, client)
    for column in ("account_id", "client_id", "name", "token_duration_minutes", "roles", "enabled", "created_by"):
        assert getattr(after, column) == getattr(client, column)
    new = secrets_of(host, client)["B"]
    assert (new.ends_at, new.last_used_at, new.created_by) == (None, None, "Priya Nair")
    assert len(secrets_of(host, other)) == 1


# A secret that leaked


def test_leaked_says_what_follows(host: Host, client: IdentityClient, now: None, htmx: bool) -> None:
    set_columns(host, client, "A", last_used_at=NOW - timedelta(minutes=3), last_used_address="203.0.113.7")
    with unit_of_work(host.engine) as session:
        of_client = update(IdentityClient).where(IdentityClient.id == client.id)
        session.execute(of_client.values(last_token_at=NOW, updated_at=NOW - timedelta(days=1)))
    page = read(host.get(f"/{client.id}/leaked", htmx=htmx))
    for words in (
        "Replace the leaked secret of acme-claims-prod?",
        "It was last used 3 minutes ago from 203.0.113.7.",
        "others accept them until 11:15 GMT.",
        "The next screen shows the new secret, once.",
    ):
        assert words in page.text
    assert states(host, client) == {"A": "current"}


def test_leaked_ends_every_secret_revokes_tokens_and_shows_a_new_secret(
    host: Host, client: IdentityClient, htmx: bool
) -> None:
    """In one step (S6, T13)."""
    change(host, client, overlap="7d")
    form = read(host.get(f"/{client.id}/leaked")).form()
    answer = host.post(f"/{client.id}/leaked", form, htmx=htmx, token=False)
    secret = read(answer).texts["ic-handover-secret"]
    assert is_generated(Secret(secret))
    assert "tokens issued until now are revoked" in read(answer).text
    assert answer.headers["Pragma"] == "no-cache"
    assert states(host, client) == {"A": "ended", "B": "ended", "C": "current"}
    assert verifies(host, client, "C", secret)
    assert stored(host, client).token_generation == 1
    done = read(answer).inputs["done"]["value"]
    message = "Leaked secret replaced: the former ones have ended, and secret C works."
    assert message in host.get(f"/{client.id}?done={done}").text
    again = host.post(f"/{client.id}/leaked", form, htmx=htmx, token=False)
    assert again.status_code == 409
    assert "Priya Nair changed this client" in again.text
    assert not re.search(r"vcs_", again.text)
    assert states(host, client)["C"] == SecretState.CURRENT
