"""Response headers of the screens."""

import gzip
from dataclasses import replace
from io import BytesIO

import pytest

from tests.support.factories import make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX, Host, path_of
from webapp.core import errors
from webapp.web.routes import ROUTES

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
EVERY_PAGE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), clipboard-read=(), clipboard-write=(self)",
    "Cache-Control": "no-store",
}


@pytest.mark.parametrize("kind", ["manager", "no role", "feature off", "signed out"])
def test_every_page_and_every_error_page(host: Host, kind: str) -> None:
    """All routes, for each kind of user, as page and as fragment (W14, W15, W16)."""
    client = make_client(host.engine, account_id="northwind", client_id="northwind-1")
    host.actor = {
        "manager": NORTHWIND,
        "no role": replace(NORTHWIND, roles=frozenset()),
        "feature off": replace(NORTHWIND, feature_enabled=False),
        "signed out": None,
    }[kind]
    for rule, endpoint, _, _, _ in ROUTES:
        if endpoint == "asset":
            continue
        for key in (str(client.id), "nonsense"):
            for method in ("GET", "POST", "DELETE"):
                for headers in ({}, HTMX):
                    answer = host.client.open(path_of(rule, client, key), method=method, headers=headers)
                    if answer.status_code in (405, 308) and "Content-Security-Policy" not in answer.headers:
                        continue  # a routing error never reaches a blueprint: it is the host's page
                    for name, value in EVERY_PAGE.items():
                        assert answer.headers.get(name) == value, (method, endpoint, name)
                    assert {"HX-Request", "HX-Request-Type", "Cookie"} <= set(answer.vary.as_set(True)), endpoint


def test_a_fragment_only_for_a_partial_request(host: Host) -> None:
    """Not for htmx's history restore, a full request, or incomplete headers (W13)."""
    make_client(host.engine, account_id="northwind", client_id="northwind-1")
    for headers, whole in (
        ({}, True),
        (HTMX, False),
        ({"HX-Request": "true"}, True),
        ({"HX-Request-Type": "partial"}, True),
        ({"HX-Request": "true", "HX-Request-Type": "full"}, True),
        ({**HTMX, "HX-History-Restore-Request": "true"}, True),
    ):
        page = host.client.get(PREFIX, headers=headers)
        assert ("<html" in page.text) is whole
        assert "northwind-1" in page.text


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFound(), 404),
        (errors.RateLimited(7), 429),
        (errors.Unavailable(), 503),
        (RuntimeError("canary of the fault"), 500),
    ],
)
def test_each_status_as_fragment_and_as_page(host: Host, error: Exception, status: int) -> None:
    """A fragment for htmx, a page otherwise; neither shows the error's cause (W12, L5)."""

    def fail(**_: object) -> str:
        raise error

    host.app.view_functions["identity_clients.details"] = fail
    page, fragment = host.get("/anything"), host.get("/anything", htmx=True)
    assert page.status_code == fragment.status_code == status
    assert "<html" in page.text
    assert "<html" not in fragment.text
    for answer in (page, fragment):
        assert "Traceback" not in answer.text
        assert "canary" not in answer.text
        assert "<" in answer.text
    if status == 429:
        assert page.headers["Retry-After"] == "7"


def test_pages_are_compressed_where_the_browser_accepts_it(host: Host) -> None:
    """With `no-store`."""
    make_client(host.engine, account_id="northwind", client_id="northwind-1")
    plain = host.client.get(PREFIX)
    packed = host.client.get(PREFIX, headers={"Accept-Encoding": "gzip"})
    assert plain.headers.get("Content-Encoding") is None
    assert packed.headers["Content-Encoding"] == "gzip"
    assert len(packed.data) < len(plain.data) / 2
    assert b"northwind-1" in gzip.decompress(packed.data)


def test_static_files_are_compressed_hashed_and_kept_for_a_year(host: Host) -> None:
    """Their URLs contain a hash of the content, and they are cached for a year."""
    with host.app.test_request_context(PREFIX):
        from webapp.web.http.static_files import assets

        files = assets()
    assert "app.css" in files
    for name, file in files.items():
        path = f"{PREFIX}/static/{file.digest}/{name}"
        answer = host.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert gzip.decompress(answer.data) == file.plain == host.client.get(path).data
        assert "Set-Cookie" not in answer.headers
    assert host.client.get(f"{PREFIX}/static/0000000000000000/app.css").status_code == 404
    assert host.client.get(f"{PREFIX}/static/{files['app.css'].digest}/../app.py").status_code == 404


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Origin": "http://localhost"}, False),
        ({"Origin": "http://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Referer": "http://localhost/some/page"}, False),
        ({"Referer": "http://localhost.evil.example/"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost", "Referer": "http://evil.example/"}, False),
    ],
)
def test_a_post_from_another_site_is_refused(host: Host, headers: dict[str, str], refused: bool) -> None:
    """By Sec-Fetch-Site, else Origin, else Referer (W9)."""
    client = make_client(host.engine, account_id="northwind", client_id="northwind-1")
    data = {"csrf_token": host.csrf_token(), "version": str(client.version)}
    answer = host.client.post(f"{PREFIX}/{client.id}/disable", data=data, headers=headers)
    assert answer.status_code == (403 if refused else 303)


def test_a_proxy_that_changes_the_host_is_named_in_the_log(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    """The log names both origins, and no query (W9, L4)."""
    host.client.post(f"{PREFIX}/new", headers={"Referer": "https://mas.example.com/new?secret=canary"})
    (message,) = caplog.messages
    assert "'https://mas.example.com'" in message
    assert "'http://localhost'" in message
    assert "Host and X-Forwarded-Proto" in message
    assert "canary" not in caplog.text


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/xml"])
def test_only_form_encodings_are_read(host: Host, content_type: str) -> None:
    """Other content types are refused (I5)."""
    client = make_client(host.engine, account_id="northwind", client_id="northwind-1")
    answer = host.client.post(f"{PREFIX}/{client.id}/disable", data='{"version": 1}', content_type=content_type)
    assert answer.status_code == 415


def test_a_body_over_64_kib_is_413(host: Host) -> None:
    """At the limit, one byte more, and without a length (D1)."""
    client = make_client(host.engine, account_id="northwind", client_id="northwind-1")
    path, kind = f"{PREFIX}/{client.id}/disable", "application/x-www-form-urlencoded"
    limit = 64 * 1024
    assert host.client.post(path, data=b"a" * limit, content_type=kind).status_code == 422
    assert host.client.post(path, data=b"a" * (limit + 1), content_type=kind).status_code == 413
    for size, status in ((limit, 422), (limit + 1, 413)):
        answer = host.client.post(
            path,
            input_stream=BytesIO(b"a" * size),
            content_type=kind,
            headers={"Transfer-Encoding": "chunked"},
            environ_overrides={"wsgi.input_terminated": True},
        )
        assert answer.status_code == status
