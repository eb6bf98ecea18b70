"""Every form of the screens requires the session's own CSRF token and accepts each field once."""

import itertools
import time
from typing import Any

import pytest
import time_machine
from flask import session
from flask_wtf import CSRFProtect
from flask_wtf.csrf import generate_csrf
from itsdangerous import URLSafeTimedSerializer
from sqlalchemy import func, select
from werkzeug.datastructures import MultiDict

from tests.support.factories import make_client
from tests.support.host import HTMX, PREFIX, Host, make_host
from tests.support.markup import read
from tests.support.screens import SECRET, VALUES
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.web.clients.forms import EditForm, NewForm, presets
from webapp.web.http.forms import VersionForm

PATHS = ("/new", "/new/form", "/{key}/edit", "/{key}/edit/form")


def database_state(host: Host) -> tuple[Any, ...]:
    """Return all clients, and the number of secrets and of events other than refusals."""
    with read_session(host.engine) as session:
        clients = session.execute(select(IdentityClient.__table__)).all()
        return (
            clients,
            session.scalar(select(func.count()).select_from(ClientSecret)),
            session.scalar(select(func.count()).select_from(AuditEvent).where(AuditEvent.action != "refused")),
        )


@pytest.fixture
def key(host: Host) -> str:
    return str(make_client(host.engine, client_id="first-client").id)


@pytest.mark.parametrize("path", [*PATHS, "/check?field=name"])
@pytest.mark.parametrize("token", [None, "", "forged", "foreign"])
@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_a_post_without_the_sessions_token_changes_nothing(
    host: Host, key: str, path: str, token: str | None, htmx: bool
) -> None:
    """Missing, empty, forged, or of another session (W8)."""
    if token == "foreign":
        token = make_host(host.engine).csrf_token()
        host.csrf_token()
    before = database_state(host)
    data = {**VALUES, "version": "1", "enabled": "y"} | ({} if token is None else {"csrf_token": token})
    answer = host.post(path.format(key=key), data, htmx=htmx, token=False)
    assert answer.status_code == 422
    assert database_state(host) == before


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_a_stale_token_gets_the_same_form_with_a_new_one(host: Host, key: str, path: str, htmx: bool) -> None:
    """The typed values are kept, but for the secret; the second press saves (W10, W12, S6)."""
    path = path.format(key=key)
    stale = host.csrf_token()
    host.client.delete_cookie("session")
    data: dict[str, Any] = {**VALUES, "version": "1", "enabled": "y", "csrf_token": stale}
    answer = host.post(path, data, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 422
    assert ("<html" in answer.text) is not htmx
    assert "again" in page.texts["ic-form-message"]
    assert SECRET not in answer.text
    for name in ("client_id", "name", "description", "token_duration"):
        assert page.value(name) == VALUES[name]
    assert [value for name, value in page.values if name == "roles"] == VALUES["roles"]
    form = page.form(client_secret=SECRET)
    again = host.post(path, form, htmx=htmx, token=False)
    if path.endswith("/edit"):  # the change adds a role that moves money, which has to be confirmed
        confirmed = read(again).value("confirmed")
        again = host.post(path, {**form, "confirmed": confirmed}, htmx=htmx, token=False)
    assert again.status_code == 200


def test_a_token_lives_as_long_as_its_session(host: Host) -> None:
    """Flask-WTF's own limit is an hour, and a host may have set another (W10)."""
    host.app.config["WTF_CSRF_TIME_LIMIT"] = 1
    with time_machine.travel(time.time(), tick=False) as clock:
        token = host.csrf_token()
        clock.shift(7 * 3600)
        assert host.post("/new", {**VALUES, "csrf_token": token}, token=False).status_code == 200


def test_a_token_of_a_host_whose_clock_is_ahead(host: Host) -> None:
    """Valid in its own session only (W8, W10)."""
    with host.app.test_request_context():
        session["csrf_token"] = "own"
        another = URLSafeTimedSerializer(str(host.app.secret_key), salt="wtf-csrf-token")
        with time_machine.travel(time.time() + 60, tick=False):
            own_token, other_token = generate_csrf(), another.dumps("another")
    with host.client.session_transaction() as stored:
        stored["csrf_token"] = "own"
    assert host.post("/new", {**VALUES, "csrf_token": other_token}, token=False).status_code == 422
    assert host.post("/new", {**VALUES, "csrf_token": own_token}, token=False).status_code == 200


def test_forms_check_tokens_where_the_host_has_disabled_csrf(host: Host, key: str) -> None:
    """Our forms do not depend on the host's setting (E1, W8)."""
    host.app.config["WTF_CSRF_ENABLED"] = False
    before = database_state(host)
    for path in PATHS:
        assert host.post(path.format(key=key), VALUES, token=False).status_code == 422
    assert database_state(host) == before


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_a_refusal_by_the_hosts_csrf_layer_shows_the_form_again(host: Host, htmx: bool) -> None:
    """The typed values are kept and nothing changes (W10)."""
    csrf_host = make_host(host.engine)
    CSRFProtect(csrf_host.app)
    before = database_state(csrf_host)
    answer = csrf_host.post("/new", VALUES, htmx=htmx, token=False)
    page = read(answer)
    assert answer.status_code == 422
    assert page.value("name") == "Acme claims"
    assert SECRET not in answer.text
    assert database_state(csrf_host) == before
    again = csrf_host.post("/new", page.form(client_secret=SECRET), htmx=htmx, token=False)
    assert again.status_code == 200


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_a_token_that_only_the_host_refuses_changes_nothing(host: Host, htmx: bool) -> None:
    """A token older than the host's limit is valid for our forms; the form is shown again (W10)."""
    csrf_host = make_host(host.engine)
    csrf_host.app.config["WTF_CSRF_TIME_LIMIT"] = 1
    CSRFProtect(csrf_host.app)
    before = database_state(csrf_host)
    with time_machine.travel(time.time(), tick=False) as clock:
        token = csrf_host.csrf_token()
        clock.shift(60)
        answer = csrf_host.post("/new", {**VALUES, "csrf_token": token}, htmx=htmx, token=False)
        page = read(answer)
        assert answer.status_code == 422
        assert page.value("name") == "Acme claims"
        assert database_state(csrf_host) == before
        again = csrf_host.post("/new", page.form(client_secret=SECRET), htmx=htmx, token=False)
        assert again.status_code == 200


def test_a_host_may_have_renamed_the_token(host: Host) -> None:
    """`WTF_CSRF_FIELD_NAME` of the host applies (W10, E1)."""
    host.app.config["WTF_CSRF_FIELD_NAME"] = "host_token"
    page = read(host.get("/new"))
    assert page.value("host_token")
    assert host.post("/new", page.form(**VALUES), token=False).status_code == 200


@pytest.mark.parametrize("path", [*PATHS, "/check?field=name"])
def test_json_is_refused(host: Host, key: str, path: str) -> None:
    """Flask-WTF would read it as a form (I5)."""
    token = host.csrf_token()
    before = database_state(host)
    for body in ({**VALUES, "csrf_token": token}, {**VALUES, "csrf_token": token, "name": ["a", "b"], "version": 1}):
        assert host.client.post(PREFIX + path.format(key=key), json=body).status_code == 415
    assert database_state(host) == before


SINGLE = {
    "/new": ("client_id", "client_secret", "name", "description", "token_duration", "creation_key", "csrf_token"),
    "/{key}/edit": (
        "client_id",
        "client_secret",
        "name",
        "description",
        "token_duration",
        "enabled",
        "version",
        "base",
    ),
}


@pytest.mark.parametrize(
    ("path", "name"), [pair for path, names in SINGLE.items() for pair in itertools.product([path], names)]
)
def test_a_second_value_of_a_single_valued_field_is_refused(host: Host, key: str, path: str, name: str) -> None:
    """Equal values included (I5)."""
    token = host.csrf_token()
    before = database_state(host)
    data = MultiDict(
        {**VALUES, "version": "1", "enabled": "y", "creation_key": "k" * 22, "base": "", "csrf_token": token}
    )
    data.add(name, data[name])
    answer = host.client.post(PREFIX + path.format(key=key), data=data, headers=HTMX)
    assert answer.status_code == 422
    assert "sent twice" in read(answer).text
    assert database_state(host) == before


@pytest.mark.parametrize(
    ("posted", "version"),
    [
        ("1", 1),
        ("17", 17),
        ("", None),
        ("-1", None),
        ("1.0", None),
        ("one", None),
        ("１", None),
        ("9" * 30, None),
        ("0x1", None),
    ],
)
def test_a_version_that_is_no_number_is_none(host: Host, posted: str, version: int | None) -> None:
    """It then counts as stale (I7)."""
    with host.app.test_request_context(PREFIX + "/new", method="POST", data={"version": posted}):
        assert VersionForm().version.data == version


def test_a_missing_version_is_none_whatever_the_form_was_made_with(host: Host) -> None:
    """The current version, which a view puts into the form, never replaces the missing one (I7)."""
    with host.app.test_request_context(PREFIX + "/new", method="POST", data={"name": "x"}):
        assert VersionForm(version=7).version.data is None


def test_files_and_query_strings_fill_no_field(host: Host) -> None:
    """Only the posted form is read (I5, A5, W10)."""
    with host.app.test_request_context(PREFIX + "/new?name=query", method="POST", data={"client_id": "x"}):
        assert NewForm().name.data == ""
    with host.app.test_request_context(PREFIX + "/new?name=query"):
        assert EditForm().name.data == ""


def test_a_preset_is_offered_only_where_the_account_holds_all_of_its_roles(host: Host) -> None:
    """Otherwise it would select less than its name says (A4)."""
    with host.app.test_request_context():
        assert set(presets(None)) == {"read", "pay", "none"}
        assert set(presets({"MerchantUser", "CreatePayment"})) == {"pay", "none"}
        assert set(presets({"MerchantUser"})) == {"none"}


def test_two_applications_do_not_share_forms(host: Host) -> None:
    """Each application has its own settings (E6)."""
    strict = make_host(host.engine, refuse_weak_secrets=True)
    assert strict.post("/new", {**VALUES, "client_secret": "aaaaaa"}).status_code == 422
    assert "Choose another" in strict.post("/new", {**VALUES, "client_secret": "aaaaaa"}).text
    assert "You may use it" in host.post("/new", {**VALUES, "client_secret": "aaaaaa"}).text
