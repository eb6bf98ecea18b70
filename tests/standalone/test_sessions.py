"""Sessions of signed-in people (W1-W5)."""

from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from pathlib import Path

import pytest
import time_machine
from flask import Flask, session
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.support.factories import make_client
from tests.support.mas import EMAIL, PASSWORD, Mas, csrf_token, is_signed_in, sign_in, sign_out
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.unit_of_work import read_session
from webapp.host import BACKGROUND_HEADER, current_actor
from webapp.standalone import create_app, users
from webapp.standalone.models import MasAccount

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def test_the_cookie_in_production(mas: Mas, client: FlaskClient) -> None:
    """`__Host-`, Secure, HttpOnly, SameSite=Lax, Path=/, without Domain and expiry (W1)."""
    mas.add_user()
    cookie = SimpleCookie(sign_in(client).headers["Set-Cookie"])["__Host-identity-clients"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, True, "Lax", "/")
    assert (cookie["domain"], cookie["max-age"], cookie["expires"]) == ("", "", "")


def test_the_cookie_in_development(sqlite_url: str, tmp_path: Path) -> None:
    """Over plain http a browser drops `__Host-` and Secure, so the development mode omits them (W1)."""
    app = create_app(
        {
            "IDENTITY_CLIENTS_DEVELOPMENT": "true",
            "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url,
            "INSTANCE_PATH": str(tmp_path / "instance"),
        }
    )
    cookie = SimpleCookie(app.test_client().get("/login").headers["Set-Cookie"])["identity-clients-5000"]
    assert (cookie["secure"], cookie["httponly"], cookie["samesite"], cookie["path"]) == ("", True, "Lax", "/")


def test_a_setting_names_the_cookie(sqlite_url: str) -> None:
    """The protecting attributes stay (W1)."""
    names = {"SESSION_COOKIE_NAME": "__Host-portal", "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url}
    app = create_app(PRODUCTION_SETTINGS | names)
    page = app.test_client().get("/login", base_url="https://localhost")
    cookie = SimpleCookie(page.headers["Set-Cookie"])["__Host-portal"]
    assert (cookie["secure"], cookie["httponly"], cookie["path"], cookie["domain"]) == (True, True, "/", "")


def test_two_instances_on_one_host_keep_their_sessions(sqlite_url: str, tmp_path: Path) -> None:
    """A browser sends the cookies of 127.0.0.1 to every port."""
    browsers = []
    for port in ("5000", "5001"):
        development = {
            "IDENTITY_CLIENTS_DEVELOPMENT": "true",
            "IDENTITY_CLIENTS_DATABASE_URL": sqlite_url,
            "INSTANCE_PATH": str(tmp_path / port),
            "PORT": port,
        }
        browsers.append(create_app(development).test_client())
    first, second = browsers
    Mas(first.application).add_user()
    sign_in(first)
    for cookie in SimpleCookie(second.get("/login").headers["Set-Cookie"]).values():
        first.set_cookie(cookie.key, cookie.value)
    assert first.get("/administration/identity-clients").status_code == 200


def test_the_session_holds_no_key_of_the_user(mas: Mas, client: FlaskClient) -> None:
    """It has a random token that the server resolves to the user (W2)."""
    mas.add_user()
    sign_in(client)
    with read_session(mas.engine) as database:
        user = users.find_user(database, EMAIL)
    assert user
    with client.session_transaction() as kept:
        assert kept["_user_id"] == user.session_token
        assert user.id not in str(dict(kept))
        assert len(user.session_token) >= 43


@pytest.mark.parametrize("ending", ["sign out", "password", "disable user", "disable account"])
def test_a_copied_cookie_becomes_invalid(mas: Mas, client: FlaskClient, ending: str) -> None:
    """After sign-out, a new password, or disabling (W2)."""
    mas.add_user()
    sign_in(client)
    cookie = client.get_cookie("__Host-identity-clients")
    assert cookie
    match ending:
        case "sign out":
            sign_out(client)
        case "password":
            mas.run("user", "password", EMAIL, typed=f"{PASSWORD} 2\n{PASSWORD} 2\n")
        case "disable user":
            mas.run("user", "disable", EMAIL)
            mas.run("user", "enable", EMAIL)
        case "disable account":
            mas.run("account", "disable", "Company")
            mas.run("account", "enable", "Company")
    copy = mas.app.test_client()
    copy.set_cookie("__Host-identity-clients", cookie.value)
    assert not is_signed_in(copy)


@pytest.mark.parametrize(
    ("pauses", "signed_in"),
    [
        ([timedelta(minutes=14, seconds=59)], True),
        ([timedelta(minutes=15)], False),
        ([timedelta(minutes=14)] * 34, True),  # 7 h 56 min
        ([timedelta(minutes=14)] * 34 + [timedelta(minutes=3, seconds=59)], True),
        ([timedelta(minutes=14)] * 34 + [timedelta(minutes=4)], False),  # 8 h
    ],
)
def test_idle_and_absolute_limit(mas: Mas, client: FlaskClient, pauses: list[timedelta], signed_in: bool) -> None:
    """Signed out after 15 minutes without a request, and after 8 hours in any case (W3)."""
    mas.add_user()
    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        for pause in pauses[:-1]:
            clock.shift(pause)
            assert is_signed_in(client)
        clock.shift(pauses[-1])
        assert is_signed_in(client) == signed_in


@pytest.mark.parametrize(
    ("step", "signed_in"),
    [
        (timedelta(minutes=-5), True),  # hosts may differ by so much
        (timedelta(minutes=-5, seconds=-1), False),
        (timedelta(hours=-1), False),
        (timedelta(hours=1), False),
    ],
)
def test_a_step_of_the_clock(mas: Mas, client: FlaskClient, step: timedelta, signed_in: bool) -> None:
    """No session outlives its limits after a step; beyond the skew people sign in again, at once (W3)."""
    mas.add_user()
    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        clock.shift(step)
        assert is_signed_in(client) is signed_in
        assert sign_in(client).status_code == 303
        clock.shift(timedelta(minutes=14, seconds=59))
        assert is_signed_in(client)
        clock.shift(timedelta(minutes=15))
        assert not is_signed_in(client)


def test_a_background_refresh_is_no_activity(mas: Mas, client: FlaskClient) -> None:
    """A section that refreshes itself every minute does not keep a session alive (W3)."""
    mas.add_user()
    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        answers = []
        for _ in range(16):
            clock.shift(timedelta(minutes=1))
            answers.append(client.get("/", headers={BACKGROUND_HEADER: "true"}).status_code)
        assert answers == [200] * 14 + [303] * 2


def test_an_open_section_does_not_keep_its_reader_signed_in(mas: Mas, client: FlaskClient) -> None:
    """It ends with a notice, without leaving a page with unsaved input (W3, W11)."""
    mas.add_user()
    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        with read_session(mas.engine) as database:
            account_id = database.scalars(select(MasAccount.id)).one()
        key = make_client(mas.engine, account_id=account_id).id
        path = f"/administration/identity-clients/{key}/requests"
        headers = {"HX-Request": "true", "HX-Request-Type": "partial", BACKGROUND_HEADER: "true"}
        answers = []
        for _ in range(32):
            clock.shift(timedelta(seconds=30))
            answers.append(client.get(path, headers=headers))
    assert [answer.status_code for answer in answers] == [200] * 29 + [401] * 3
    assert all("Set-Cookie" not in answer.headers for answer in answers[:29])
    assert "HX-Redirect" not in answers[29].headers
    assert "You were signed out" in answers[29].text
    assert "/login?next=" in answers[29].text
    del headers[BACKGROUND_HEADER]
    assert "HX-Redirect" in client.get(path, headers=headers).headers


def test_an_older_cookie_does_not_outlive_the_limit(mas: Mas, client: FlaskClient) -> None:
    """The server compares the cookie's own time, so keeping an old cookie does not help (W3)."""
    mas.add_user()
    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        old = client.get_cookie("__Host-identity-clients")
        assert old
        clock.shift(timedelta(minutes=10))
        assert is_signed_in(client)
        clock.shift(timedelta(minutes=10))
        assert is_signed_in(client)
        copy = mas.app.test_client()
        copy.set_cookie("__Host-identity-clients", old.value)
        assert not is_signed_in(copy)


def test_sign_in_discards_the_anonymous_session(mas: Mas, client: FlaskClient) -> None:
    """Its ID, its CSRF secret and all other keys (W4)."""
    mas.add_user()
    with client.session_transaction() as stale_keys:
        stale_keys.update(_id="planted", csrf_token="planted", role="MerchantAdmin")
    before = csrf_token(client)
    sign_in(client)
    with client.session_transaction() as kept:
        assert kept["_id"] != "planted"
        assert kept["csrf_token"] != "planted"
        assert "role" not in kept
    refused = client.post("/logout", data={"csrf_token": before})
    assert refused.status_code == 400
    assert is_signed_in(client)


def test_the_actor_has_the_time_of_sign_in(mas: Mas, client: FlaskClient) -> None:
    """Not of the last request; signing in again renews it (W5)."""
    mas.add_user()

    def signed_in_at() -> datetime | None:
        with mas.app.test_request_context(headers={"Cookie": _cookie(client)}):
            actor = current_actor()
            assert actor
            return actor.signed_in_at

    with time_machine.travel(NOON, tick=False) as clock:
        sign_in(client)
        clock.shift(timedelta(minutes=10))
        assert is_signed_in(client)
        assert signed_in_at() == NOON
        sign_in(client)
        assert signed_in_at() == NOON + timedelta(minutes=10)


def _cookie(client: FlaskClient) -> str:
    cookie = client.get_cookie("__Host-identity-clients")
    assert cookie
    return f"{cookie.key}={cookie.value}"


def test_signed_out_responses_set_no_session(app: Flask, client: FlaskClient) -> None:
    """Only a form starts a session; refusals and health checks do not."""
    for path in ("/", "/healthz", "/nowhere"):
        assert "Set-Cookie" not in client.get(path).headers
    with app.test_request_context():
        assert not session
