"""The pages of the stand-alone MAS: home, navigation, sign-out, errors, headers, limits, health."""

import http.client
import re
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import text

from tests.support.factories import make_client
from tests.support.mas import EMAIL, PASSWORD, Mas, csrf_token, is_signed_in, sign_in, sign_out
from tests.support.servers import LiveServer
from tests.support.settings import PRODUCTION_SETTINGS
from webapp.core.database.models import utc_now
from webapp.core.database.unit_of_work import read_session
from webapp.settings import PREFIX
from webapp.standalone import create_app, users

LIST = "/administration/identity-clients"
REQUEST_ID = "4bf92f35-77b3-4da6-a3ce-929d0e0e4736"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)


class Links(HTMLParser):
    """Collect the addresses of a page's links and forms."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


@pytest.mark.parametrize(
    ("roles", "feature", "offered"),
    [
        (["MerchantAdmin"], True, True),
        (["ManageIdentityClients"], True, True),
        (["MerchantUser", "ManageIdentityClients"], True, True),
        (["MerchantUser"], True, False),
        (["MerchantAdmin"], False, False),
    ],
)
def test_the_navigation_depends_on_role_and_feature(
    mas: Mas, client: FlaskClient, roles: list[str], feature: bool, offered: bool
) -> None:
    """Others see no link that they may not follow (A2)."""
    mas.add_account(feature=feature)
    mas.add_user(roles=roles)
    sign_in(client)
    page = client.get("/").text
    assert (LIST in Links(page).found) == offered
    assert ("Administration" in page) == offered
    assert "Ann Example" in page
    assert "Company" in page


def test_home_shows_what_needs_attention_and_the_last_changes(mas: Mas, client: FlaskClient) -> None:
    """Of the own account only (A3), each with a link."""
    mas.add_user()
    with read_session(mas.engine) as session:
        account = users.find_account(session, "Company")
    assert account
    made = make_client(
        mas.engine, account_id=account.id, client_id="acme-claims", created_at=utc_now() - timedelta(days=200)
    )
    make_client(mas.engine, account_id="another", client_id="foreign-1")
    sign_in(client)
    page = client.get("/").text
    assert "1 client never used" in page
    assert "1 client overdue for review" in page
    assert "created the client" in page
    assert "foreign-1" not in page
    assert {f"{LIST}?attention=unused", f"{LIST}/review", f"{LIST}/{made.id}/activity"} <= set(Links(page).found)


def test_every_link_is_answered(mas: Mas, client: FlaskClient) -> None:
    """On the home and sign-in pages."""
    mas.add_user()
    pages = [client.get("/login").text]
    sign_in(client)
    pages.append(client.get("/").text)
    for link in {link for page in pages for link in Links(page).found if link.startswith("/") and link != LIST}:
        assert client.get(link).status_code == 200, link


def test_the_layout_of_the_host_surrounds_identity_clients(mas: Mas, client: FlaskClient) -> None:
    """The host's `identity_clients/base.html` takes precedence over the product's own."""
    mas.add_user(roles=["MerchantUser"])
    sign_in(client)
    page = client.get(LIST)
    assert page.status_code == 403
    assert 'class="mas-top"' in page.text
    assert 'class="ic"' in page.text
    assert page.text.count("<html") == 1


def test_an_account_name_is_text(mas: Mas, client: FlaskClient) -> None:
    """Markup in it is escaped (W17)."""
    mas.add_account('<img src=x onerror="alert(1)">')
    mas.add_user(account='<img src=x onerror="alert(1)">')
    sign_in(client)
    assert "<img" not in client.get("/").text


@pytest.mark.parametrize("path", ["/", LIST, f"{LIST}?q=x"])
def test_a_signed_out_request_is_redirected_to_sign_in(app: Flask, client: FlaskClient, path: str) -> None:
    """303, with the requested page in `next` (W11)."""
    answer = client.get(path)
    assert answer.status_code == 303
    assert answer.location.startswith("/login?next=")
    assert client.get(answer.location).status_code == 200


# Sign-out


def test_sign_out(mas: Mas, client: FlaskClient) -> None:
    """A POST with the CSRF token, answered by 303 and Clear-Site-Data (W7)."""
    mas.add_user()
    sign_in(client)
    assert client.get("/logout").status_code == 405
    assert client.post("/logout", data={"other": "field"}).status_code == 400
    assert client.post("/logout", data={"csrf_token": "forged"}).status_code == 400
    assert is_signed_in(client)
    answer = sign_out(client)
    assert (answer.status_code, answer.location) == (303, "/login")
    assert answer.headers["Clear-Site-Data"] == '"cache", "storage"'
    assert not is_signed_in(client)


def test_signing_out_twice_leads_to_sign_in(mas: Mas, client: FlaskClient) -> None:
    """Sign out in a second tab is no error (W7)."""
    mas.add_user()
    sign_in(client)
    token = csrf_token(client, "/")
    client.post("/logout", data={"csrf_token": token})
    assert client.post("/logout", data={"csrf_token": token}).status_code == 303


# Errors and headers


def test_every_response_has_the_headers(mas: Mas, client: FlaskClient) -> None:
    """Pages, redirects and errors; pages of signed-in people are never cached (W14, W15, W16, L5)."""
    mas.add_user()
    answers = [client.get(path) for path in ("/login", "/", "/nowhere", "/logout", "/healthz")]
    sign_in(client)
    answers += [client.get("/"), client.post("/login", data="x" * 65537), client.post("/login", json={})]
    for answer in answers:
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
        if answer.mimetype == "text/html":
            assert answer.headers["Content-Security-Policy"] == POLICY
            assert answer.headers["Referrer-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Opener-Policy"] == "same-origin"
            assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
            assert answer.headers["Permissions-Policy"].startswith("camera=()")
            assert answer.headers["Cache-Control"] == "no-store"


def test_no_strict_transport_over_plain_http(app: Flask) -> None:
    """The header is for https only; X-Forwarded-Proto counts behind a trusted proxy only (C5, W16)."""
    spoofed = app.test_client().get("/login", base_url="http://localhost", headers={"X-Forwarded-Proto": "https"})
    assert "Strict-Transport-Security" not in spoofed.headers


def test_behind_a_trusted_proxy(sqlite_url: str) -> None:
    """With one trusted proxy the scheme is the one that it forwards (C5, W16)."""
    app = create_app(PRODUCTION_SETTINGS | {f"{PREFIX}DATABASE_URL": sqlite_url, f"{PREFIX}TRUSTED_PROXIES": "1"})
    for forwarded, expected in (("https", True), ("http", False), ("https, http", False)):
        answer = app.test_client().get("/login", base_url="http://localhost", headers={"X-Forwarded-Proto": forwarded})
        assert ("Strict-Transport-Security" in answer.headers) == expected


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (400, {"path": "/logout", "method": "POST", "data": {"x": "y"}}),
        (404, {"path": "/nowhere"}),
        (404, {"path": f"/static/{'0' * 16}/shell.css"}),
        (404, {"path": f"/static/{'0' * 16}/..%2f..%2fwsgi.py"}),
        (405, {"path": "/logout"}),
        (413, {"path": "/login", "method": "POST", "data": b"x" * (64 * 1024 + 1)}),
        (415, {"path": "/login", "method": "POST", "json": {"email": EMAIL}}),
    ],
)
def test_an_error_is_a_page_with_its_request_id(
    mas: Mas, client: FlaskClient, status: int, request_: dict[str, object]
) -> None:
    """With advice; the ID equals that of the header and the log."""
    mas.add_user()
    sign_in(client)
    if status == 400:
        assert is_signed_in(client)
    answer = client.open(content_type=None, headers={"X-Request-ID": REQUEST_ID}, **request_)  # type: ignore[arg-type]
    if status == 400:
        answer = client.post("/logout", data={"x": "y"}, headers={"X-Request-ID": REQUEST_ID})
    assert answer.status_code == status
    assert answer.headers["X-Request-ID"] == REQUEST_ID
    assert f"<code>{REQUEST_ID}</code>" in answer.text
    assert "start page</a>" in answer.text


def test_a_500_page_shows_no_detail_of_the_error(mas: Mas, client: FlaskClient) -> None:
    """The request ID, but no traceback and no text of the exception (L5)."""

    def fail() -> str:
        secret = "canary-in-a-local-variable"
        raise RuntimeError(f"canary-in-the-text {secret}")

    mas.app.add_url_rule("/fail", "fail", fail)
    answer = client.get("/fail")
    assert answer.status_code == 500
    assert "canary" not in answer.text
    assert "Traceback" not in answer.text
    assert answer.headers["X-Request-ID"] in answer.text


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 422), (64 * 1024 + 1, 413)])
def test_bodies_with_a_length(client: FlaskClient, size: int, status: int) -> None:
    """At most 64 KiB (D1)."""
    answer = client.post("/login", data=b"x" * size, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == status


@pytest.mark.parametrize(("size", "status"), [(64 * 1024, 422), (64 * 1024 + 1, 413)])
def test_bodies_without_a_length(live_server: LiveServer, size: int, status: int) -> None:
    """The same limit for a chunked body, with the server process (D1)."""
    connection = http.client.HTTPConnection(urlsplit(live_server.url).netloc, timeout=30)
    chunks = iter([b"email=x&password=", b"x" * 40_000, b"x" * (size - 40_000 - len("email=x&password="))])
    connection.request(
        "POST", "/login", chunks, {"Content-Type": "application/x-www-form-urlencoded"}, encode_chunked=True
    )
    assert connection.getresponse().status == status
    connection.close()


@pytest.mark.parametrize(
    ("path_length", "header_length", "status"),
    [(8_000, 100, 404), (100, 15_000, 404), (100, 25_000, 431), (25_000, 100, 431)],
)
def test_the_server_limits_request_line_and_headers(
    live_server: LiveServer, path_length: int, header_length: int, status: int
) -> None:
    """8 KiB and 16 KiB are accepted; far beyond, the server itself refuses them (D1)."""
    connection = http.client.HTTPConnection(urlsplit(live_server.url).netloc, timeout=30)
    connection.request("GET", "/" + "x" * path_length, headers={"X-Long": "x" * header_length})
    assert connection.getresponse().status == status
    connection.close()


def test_the_stylesheet_is_compressed_and_kept_for_a_year(app: Flask, client: FlaskClient) -> None:
    page = client.get("/login").text
    link = next(link for link in Links(page).found if link.endswith("shell.css"))
    answer = client.get(link, headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Set-Cookie" not in answer.headers
    assert len(answer.data) < 2500


# Health


def test_health_returns_a_status_only(mas: Mas, client: FlaskClient, tmp_path: Path) -> None:
    """Alive without the database, ready only with it; neither cause nor version (D8)."""
    assert client.get("/healthz").text == client.get("/readyz").text == "ok\n"
    with mas.engine.begin() as connection:
        connection.execute(text("DROP TABLE mas_users"))
    assert client.get("/healthz").text == "ok\n"
    answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "not ready\n")


def test_an_unreachable_database(mas: Mas, client: FlaskClient, sqlite_url: str) -> None:
    """Pages and sign-in get 503 with Retry-After and advice to try again (D8)."""
    mas.add_user()
    sign_in(client)
    token = csrf_token(client)
    mas.engine.dispose()
    directory = Path(sqlite_url.removeprefix("sqlite:///")).parent
    directory.rename(directory.with_name("gone"))
    answers = [
        client.get("/"),
        client.get(LIST),
        client.post("/login", data={"email": EMAIL, "password": PASSWORD, "csrf_token": token}),
    ]
    for answer in answers:
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "sqlite" not in answer.text.lower()
