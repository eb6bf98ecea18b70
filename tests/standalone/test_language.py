"""The language of the stand-alone: the user's choice, else the browser's."""

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.factories import SECRET, make_client
from tests.support.host import HTMX, PREFIX
from tests.support.mas import Mas, csrf_token, sign_in

GERMAN, ENGLISH = "Startseite", "Home"


def get(client: FlaskClient, path: str, language: str = "", **headers: str) -> TestResponse:
    """Send a GET with `Accept-Language`, unless it is empty."""
    return client.get(path, headers={**({"Accept-Language": language} if language else {}), **headers})


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        ("", "en-GB"),
        ("de", "de"),
        ("de-AT", "de"),
        ("DE-ch", "de"),
        ("en-US,de;q=0.9", "en-GB"),
        ("de;q=0.9,en-US", "en-GB"),
        ("fr,de;q=0.8,en;q=0.7", "de"),
        ("fr,en;q=0.7,de;q=0.8", "de"),
        ("fr", "en-GB"),
        ("*", "en-GB"),
        ("de;q=0", "en-GB"),
        ("de;q=0,*", "en-GB"),
        ("nonsense;;q=x,,", "en-GB"),
    ],
)
def test_pages_follow_the_browser(client: FlaskClient, accepted: str, expected: str) -> None:
    """The first of its languages that there is, in the order of their quality values (RFC 9110, section 12.5.4)."""
    page = get(client, "/login", accepted)
    assert f'<html lang="{expected}">' in page.text
    assert ("Bei MAS anmelden" in page.text) == (expected == "de")
    assert page.headers["Content-Language"] == expected
    assert {"Accept-Language", "Cookie"} <= set(page.vary)


def test_every_page_is_in_the_language(mas: Mas, client: FlaskClient) -> None:
    """The pages of the stand-alone and of Identity Clients, fragments, errors and messages of forms."""
    mas.add_user()
    for form, message in (({}, "Geben Sie Ihr Passwort ein."), ({"email": "a@b.test", "password": "x"}, "ist falsch")):
        typed = {**form, "csrf_token": csrf_token(client)}
        refused = client.post("/login", data=typed, headers={"Accept-Language": "de"})
        assert refused.status_code == 422
        assert message in refused.text
    sign_in(client)
    home = get(client, "/", "de")
    for text in (GERMAN, "Willkommen, Ann Example", "Letzte Änderungen", "Noch keine Aktivitäten.", "Abmelden"):
        assert text in home.text
    screen = get(client, PREFIX, "de")
    for text in (GERMAN, "Neuer Client", "Noch keine Clients", 'lang="de"'):
        assert text in screen.text
    fragment = get(client, PREFIX, "de", **HTMX)
    assert "Noch keine Clients" in fragment.text
    for path, text in (("/no-such-page", "Diese Seite gibt es nicht"), (f"{PREFIX}/x", "Diese Seite gibt es nicht")):
        error = get(client, path, "de")
        assert (error.status_code, error.headers["Content-Language"]) == (404, "de")
        assert text in error.text
    assert "Zeit (UTC),Zeit (Europe/London),Person" in get(client, f"{PREFIX}/activity.csv", "de").text
    for answer in (home, screen, fragment):
        assert answer.headers["Content-Language"] == "de"
        assert {"Accept-Language", "Cookie"} <= set(answer.vary)
        assert answer.cache_control.no_store
    assert ENGLISH in get(client, "/", "en").text  # no language stays from one request to the next


def test_the_choice_in_the_user_menu_is_kept(mas: Mas, client: FlaskClient) -> None:
    """It returns to the page, and holds after signing out, whatever the browser asks for."""
    mas.add_user()
    sign_in(client)
    here = f"{PREFIX}?status=enabled&q=a+b"
    page = get(client, here, "en")
    assert 'value="en" lang="en" aria-current="true"' in " ".join(page.text.split())
    form = {"csrf_token": csrf_token(client, "/"), "language": "de"}
    chosen = client.post("/language", data={**form, "next": here})
    assert (chosen.status_code, chosen.headers["Location"]) == (303, here)
    cookie = client.get_cookie("identity-clients-language")
    assert cookie
    assert (cookie.value, cookie.http_only, cookie.same_site, cookie.path) == ("de", True, "Lax", "/")
    assert cookie.max_age
    assert GERMAN in get(client, here, "en").text
    client.post("/logout", data={"csrf_token": form["csrf_token"]})
    assert "Bei MAS anmelden" in get(client, "/login", "en").text
    client.set_cookie("identity-clients-language", "xx")
    assert "Sign in to MAS" in get(client, "/login", "en").text


@pytest.mark.parametrize(
    ("changes", "status", "location"),
    [
        ({}, 303, "/"),
        ({"next": "https://elsewhere.example/"}, 303, "/"),
        ({"next": "//elsewhere.example"}, 303, "/"),
        ({"next": PREFIX}, 303, PREFIX),
        ({"language": "fr"}, 400, None),
        ({"language": ""}, 400, None),
        ({"csrf_token": "forged"}, 400, None),
        ({"csrf_token": ""}, 400, None),
    ],
)
def test_a_choice_is_checked(
    mas: Mas, client: FlaskClient, changes: dict[str, str], status: int, location: str | None
) -> None:
    """Only our languages, from our own form (W7), and back to our own pages (W6)."""
    mas.add_user()
    sign_in(client)
    form = {"csrf_token": csrf_token(client, "/"), "language": "de"}
    answer = client.post("/language", data={**form, **changes})
    assert (answer.status_code, answer.headers.get("Location")) == (status, location)
    assert (client.get_cookie("identity-clients-language") is None) == (status != 303)


def test_the_identity_endpoint_and_the_api_speak_english(mas: Mas, client: FlaskClient) -> None:
    """Programs read them."""
    make_client(mas.engine, client_id="acme-claims")
    token = {"grant_type": "client_credentials", "client_id": "acme-claims", "client_secret": SECRET, "scope": "x"}
    for path, data in (
        ("/connect/token", token),
        ("/connect/token", {**token, "client_secret": "wrong"}),
        ("/connect/introspect", token),
    ):
        answers = [
            client.post(path, data=data, headers={"Accept-Language": language}, base_url="https://localhost")
            for language in ("en", "de")
        ]
        assert answers[0].data == answers[1].data
        assert [answer.headers.get("Content-Language") for answer in answers] == [None, None]
