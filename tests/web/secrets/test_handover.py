"""The handover: the only response that shows a secret, and its commands."""

import logging
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.host import HTMX, PREFIX, Host, make_host, path_of
from tests.support.markup import read
from webapp.core.client_changes import get_client
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.core.secrets.generation import Secret, generate_secret
from webapp.web.routes import ROUTES
from webapp.web.secrets.snippets import snippets_for

CANARY = "canary'7Q$x\\y\"z `w` & <i>"
VALUES: dict[str, Any] = {
    "client_id": "acme-claims-prod",
    "client_secret": CANARY,
    "token_duration": "25",
    "roles": ["MerchantUser", "CreatePayment"],
}
LIMIT_BYTES = 8 * 1024


def test_the_handover_shows_id_and_secret(host: Host, htmx: bool) -> None:
    """Both with copy buttons, three snippets with this server's token URL, and Done after a check box."""
    answer = host.post("/new", VALUES, htmx=htmx)
    page = read(answer)
    assert answer.status_code == 200
    assert ("<html" in answer.text) is not htmx
    assert page.texts["ic-handover-id"] == "acme-claims-prod"
    assert page.texts["ic-handover-secret"] == CANARY
    copied = [attributes["data-copy"] for tag, attributes in page.tags if "data-copy" in attributes]
    assert copied == ["ic-handover-id", "ic-handover-secret", "ic-handover-1", "ic-handover-2", "ic-handover-3"]
    for number in (1, 2):
        assert "https://identity.example/connect/token" in page.texts[f"ic-handover-{number}"]
    (box,) = [attributes for tag, attributes in page.tags if attributes.get("type") == "checkbox"]
    assert "required" in box
    assert "name" not in box
    assert not [attributes for _, attributes in page.tags if "data-close" in attributes]
    (form,) = [attributes for _, attributes in page.tags if "data-handover" in attributes]
    assert re.fullmatch(PREFIX + r"/[0-9a-f-]{36}", form["action"])
    if htmx:
        (dialog,) = [attributes for tag, attributes in page.tags if tag == "dialog"]
        assert dialog["closedby"] == "none"
        assert "data-locked" in dialog
        assert "data-handover" in form


def test_no_header_contains_the_secret_or_allows_caching(host: Host, htmx: bool) -> None:
    """`no-store`, `Pragma`, no compression, and no address to return to (S6, W14)."""
    token = host.csrf_token()
    headers = {"Accept-Encoding": "gzip", **(HTMX if htmx else {})}
    answer = host.client.post(PREFIX + "/new", data={**VALUES, "csrf_token": token}, headers=headers)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert "Content-Encoding" not in answer.headers
    for name in ("Location", "HX-Push-Url", "HX-Replace-Url", "HX-Redirect", "HX-Location"):
        assert name not in answer.headers
    sent = {name: value for name, value in answer.headers if name.startswith("HX-")}
    expected = {"HX-Retarget": "#ic-dialog", "HX-Reswap": "innerHTML", "HX-Trigger": "ic-changed"}
    assert sent == (expected if htmx else {})
    assert "canary" not in str(answer.headers)


def test_the_handover_is_within_its_budget(host: Host) -> None:
    """At most 8 KB; it is never compressed, and an ID may have 100 characters."""
    secret = generate_secret("vcs_").reveal()
    values = {**VALUES, "client_id": "a" * 100, "client_secret": secret}
    assert len(host.post("/new", values, htmx=True).data) <= LIMIT_BYTES


def test_elements_that_show_the_secret_are_marked_for_wiping(host: Host, htmx: bool) -> None:
    """The script empties these elements when the page is left; no other element holds the secret (W14)."""
    page = read(host.post("/new", VALUES, htmx=htmx))
    marked = {attributes["id"] for _, attributes in page.tags if "data-secret" in attributes}
    holding = {id_ for id_, text in page.texts.items() if "canary" in text and not id_.startswith("ic-dialog")}
    assert holding - {"ic"} == marked - {"ic-test-secret"} == {"ic-handover-secret", "ic-handover-1", "ic-handover-2"}
    assert "ic-test-secret" in marked


@pytest.fixture
def everything_logged(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """Log all loggers at the lowest level, SQL statements included."""
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.DEBUG, "sqlalchemy"):
        yield caplog


@pytest.mark.parametrize("way", ["new", "change"])
def test_the_secret_is_stored_nowhere(
    host: Host, htmx: bool, everything_logged: pytest.LogCaptureFixture, way: str
) -> None:
    """Not in later responses, cookies, logs, or any byte of the database's files (S6, L4, W14)."""
    answer = host.post("/new", VALUES if way == "new" else {**VALUES, "client_secret": "the-first-secret-of-acme"})
    shown = [CANARY, "canary'7Q", "canary&#39;7Q", quote(CANARY), quote_plus(CANARY), "canary"]
    key = re.search(PREFIX + r"/([0-9a-f-]{36})", answer.text)
    assert key
    with read_session(host.engine) as session:
        client = get_client(session, account_id="northwind", key=uuid.UUID(key[1]))
    if way == "change":
        answer = host.post(f"/{key[1]}/secret", {"client_secret": CANARY, "version": "1"}, htmx=htmx)
        assert read(answer).texts["ic-handover-secret"] == CANARY
    host.post("/new", {**VALUES, "name": "x"}, htmx=htmx)
    later = [
        host.client.get(path_of(rule, client), headers=headers)
        for rule, _, _, methods, _ in ROUTES
        if "GET" in methods and "<path:" not in rule
        for headers in (None, HTMX)
    ]
    later += [
        host.post("/new", VALUES, htmx=htmx),
        host.post("/new", {**VALUES, "roles": []}, htmx=htmx),
        host.post("/new/form", {**VALUES, "generate": "secret"}, htmx=htmx),
        host.post("/new/form", {**VALUES, "preset": "read"}, htmx=htmx),
        host.post("/check?field=client_secret", VALUES, htmx=htmx),
        host.post(f"/{key[1]}/edit", {**VALUES, "version": "0"}, htmx=htmx),
        host.post(f"/{key[1]}/edit/form", {**VALUES, "preset": "read"}, htmx=htmx),
        host.post(f"/{key[1]}/edit", {**VALUES, "version": "1", "name": "x"}, htmx=htmx),
        host.post(f"/{key[1]}/secret", {"client_secret": CANARY, "version": "0"}, htmx=htmx),
        host.post(f"/{key[1]}/secret", {"client_secret": CANARY, "version": "1", "overlap": "x"}, htmx=htmx),
        host.post(f"/{key[1]}/secret", {"client_secret": CANARY}, htmx=htmx, token=False),
        host.post(f"/{key[1]}/secret/form", {"client_secret": CANARY, "generate": "secret"}, htmx=htmx),
        host.post(f"/{key[1]}/leaked", {"client_secret": CANARY, "version": "0"}, htmx=htmx),
        host.post(f"/{key[1]}/delete", {"client_secret": CANARY, "confirm": "x", "version": "1"}, htmx=htmx),
    ]
    cookie = host.client.get_cookie("session")
    assert cookie
    for found in shown:
        for response in later:
            assert found not in response.text
            assert found not in str(response.headers)
        assert found not in everything_logged.text
        assert found not in cookie.decoded_value
        for file in Path(str(host.engine.url.database)).parent.iterdir():
            assert found.encode() not in file.read_bytes()


def test_a_secret_set_by_edit_gets_the_same_handover(host: Host, htmx: bool) -> None:
    """In the response to the POST that set it, with the changed row (S6)."""
    made = read(host.post("/new", VALUES))
    key = next(attributes["action"] for tag, attributes in made.tags if tag == "form").rpartition("/")[2]
    page = read(host.get(f"/{key}/edit"))
    answer = host.post(f"/{key}/edit", page.form(client_secret="another-long-secret-1"), htmx=htmx, token=False)
    shown = read(answer)
    assert shown.texts["ic-handover-secret"] == "another-long-secret-1"
    assert "former secret are refused" in shown.text
    assert answer.headers["Pragma"] == "no-cache"
    if htmx:
        assert shown.value("changed") == key


# The commands, run unchanged by a shell and a Python interpreter.

HOSTILE = [
    "plain-value_1.2",
    'it\'s a "test"',
    "$HOME `id` $(id) \\ \\\\ !history",
    " outer spaces ",
    "a&b=c+d%20e;f|g>h<i",
    "@file-not-read",
    "'''''''",
    "~root #comment",
]


@pytest.fixture
def fake_curl(tmp_path: Path) -> dict[str, str]:
    """Return an environment in which `curl` prints its arguments, each ended by NUL."""
    program = tmp_path / "curl"
    program.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\n")
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}


def snippets(host: Host, client_id: str, secret: str | None) -> dict[str, str]:
    client = IdentityClient(
        client_id=client_id, roles=frozenset({"MerchantUser", "CreatePayment"}), token_duration_minutes=25
    )
    with host.app.test_request_context():
        made = snippets_for(client, None if secret is None else Secret(secret))
    return {snippet.title: snippet.text for snippet in made}


def shell(script: str, environment: dict[str, str] | None = None) -> str:
    return subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True, timeout=10
    ).stdout


def curl_arguments(client_id: str, secret: str) -> list[str]:
    return [
        "https://identity.example/connect/token",
        "-d",
        "grant_type=client_credentials",
        "--data-urlencode",
        f"client_id={client_id}",
        "--data-urlencode",
        f"client_secret={secret}",
        "--data-urlencode",
        "scope=API payment-requests stored-recipients",
        "",
    ]


@pytest.mark.parametrize("value", HOSTILE)
def test_the_curl_command_sends_exactly_the_values(host: Host, fake_curl: dict[str, str], value: str) -> None:
    """Quotes, dollar signs, backslashes and spaces reach curl unchanged, and the shell expands nothing."""
    command = snippets(host, f"id {value} x".strip(), value)["cURL"]
    assert shell(command, fake_curl).split("\0") == curl_arguments(f"id {value} x".strip(), value)


@pytest.mark.parametrize("value", HOSTILE)
def test_the_env_lines_set_exactly_the_values(host: Host, tmp_path: Path, value: str) -> None:
    """Read by a POSIX shell, as `set -a; . ./.env` does."""
    file = tmp_path / ".env"
    file.write_text(snippets(host, f"id {value} x".strip(), value)[".env"])
    names = "TOKEN_URL CLIENT_ID CLIENT_SECRET SCOPE"
    shown = shell(f". {file}; " + "; ".join(f"printf '%s\\0' \"$VITESSE_{name}\"" for name in names.split()))
    assert shown.split("\0")[1:3] == [f"id {value} x".strip(), value]
    assert shown.split("\0")[0] == "https://identity.example/connect/token"


def test_both_commands_quote_any_id_and_secret(host: Host) -> None:
    """All characters that an ID or a secret may have (P6)."""
    characters = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=6, max_size=100)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(client_id=characters, secret=characters)
    def survive(client_id: str, secret: str) -> None:
        made = snippets(host, client_id, secret)
        echo = 'curl() { printf "%s\\0" "$@"; }\n'
        assert shell(echo + made["cURL"]).split("\0") == curl_arguments(client_id, secret)
        printed = shell(made[".env"] + '\nprintf "%s\\0" "$VITESSE_CLIENT_ID" "$VITESSE_CLIENT_SECRET"')
        assert printed.split("\0")[:2] == [client_id, secret]

    survive()


def test_the_snippets_of_the_details_page_leave_the_secret_to_the_environment(
    host: Host, fake_curl: dict[str, str]
) -> None:
    made = snippets(host, "acme-claims", None)
    shown = shell(made["cURL"], {**fake_curl, "VITESSE_CLIENT_SECRET": "it's $mine"})
    assert shown.split("\0") == curl_arguments("acme-claims", "it's $mine")
    assert "VITESSE_CLIENT_SECRET=\n" in made[".env"]


def test_the_names_of_the_variables_follow_the_platforms_name(host: Host) -> None:
    renamed = make_host(host.engine, platform_name="Crédit & Co 24")
    assert "CR_DIT_CO_24_CLIENT_ID=acme-claims" in snippets(renamed, "acme-claims", None)[".env"]
