"""Translations: every text is a message, and a host's language applies, with its dates and numbers."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import time_machine
from babel.messages.pofile import read_po
from flask import abort
from flask_wtf import CSRFProtect
from jinja2 import Environment, nodes
from sqlalchemy import Engine, create_engine, select
from werkzeug.test import TestResponse

from tests.support import servers
from tests.support.applications import SharedApplication
from tests.support.attention import DAY, NOON, make_client_in_use
from tests.support.audit_events import EVENT_HISTORY, add_event_history, add_events
from tests.support.catalogues import make_catalogue, use_flask_babel
from tests.support.factories import SECRET, make_client, make_requests
from tests.support.host import HTMX, NORTHWIND, PREFIX, Host, make_host
from tests.support.keys import add_key, private_key, public_pem
from tests.support.markup import one_line, read, untranslated_texts
from tests.support.notifications import add_notification_for
from tests.support.screens import stored
from webapp.core import errors, i18n
from webapp.core.addresses import AllowedNetwork
from webapp.core.audit.actions import Action, RefusalReason
from webapp.core.audit.pages import PAGE_SIZE
from webapp.core.clients.attention import FILTERS
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient, TokenRequest
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import read_session
from webapp.core.usage.request_log import key_of
from webapp.web.clients.list import ORDERS
from webapp.web.http.toasts import REPLACED, ROTATED, TOASTS
from webapp.web.routes import ROUTES

NOW = NOON
PSEUDO_LOCALE = "en_GB"
_FOLDER = servers.ROOT / "templates" / "identity_clients"
TEMPLATES = sorted(set(_FOLDER.rglob("*.html")) - {_FOLDER / "api" / "reference.html"})  # in English, as the API is
TEMPLATES += sorted((servers.ROOT / "templates" / "standalone").rglob("*.html"))
ACTOR = replace(NORTHWIND, label="Person Here", account_name="Account Here", signed_in_at=NOW)
CLIENT_ID, NAME, DESCRIPTION = "id-of-client", "Name Here", "Text here"


def texts_in(value: Any) -> list[str]:
    """Return every line of text within a value."""
    if isinstance(value, (list, tuple)):
        return [line for each in value for line in texts_in(each)]
    return value.split("\n") if isinstance(value, str) and value else []


# Text that is not a message: data of this test, product names, values in tokens, addresses.
DATA = (
    *(CLIENT_ID, "id-of-another", "id-of-a-third", NAME, DESCRIPTION, "Person Here", "Account Here", "Platform Here"),
    *("admin@northwind.example", "Hannah Okafor", "Priya Nair", "Tom Reilly", "tests"),
    *(
        line
        for _, _, _, changes in EVENT_HISTORY
        for name in ("client_id", "name", "description", "copied_from", "allowed_networks")
        for line in texts_in(changes.get(name))
    ),
    *(
        "cURL",
        ".env",
        "Python (Authlib)",
        "Node (openid-client)",
        "Python (requests-oauthlib)",
        "Java (Spring Security)",
        "C# (Duende.IdentityModel)",
        "Java",
        "Python",
        "https://identity.example/connect/token",
    ),
    *("API", "accounts:read", "transactions:read", "reports:read", "payment-requests", "payment-batches"),
    *("stored-recipients", "void-requests", "account-movements"),
    *("GMT", "BST", "MerchantUser", "CreatePayment"),
    *("https://hooks.example/identity", "https://hooks.example/…"),
)
_THUMBPRINT = r"[\w-]{43}"
_TYPED = ("x+", "y", "é+", "Forged", r"client-\d+", r"whsec_[A-Za-z0-9+/=]+", _THUMBPRINT, "ES256")
_SECRET_LABELS = ("A", "B")
_DATA = re.compile(
    r"(?<!\w)(?:"
    + "|".join([*map(re.escape, sorted(DATA, key=len, reverse=True)), *_TYPED, *_SECRET_LABELS])
    + r")(?!\w)"
)
_DATE = re.compile(
    r"\b(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun),? )?\d{1,2} [A-Z][a-z]{2,8}(?: \d{4})?\b|\b[A-Z][a-z]{2}, (?=\d)"
)


def untranslated(html: str) -> list[str]:
    """Return the text of a page that is neither a message nor data, or the end of a sentence."""
    rest = [(text, _DATE.sub("", _DATA.sub("", text)).strip()) for text in untranslated_texts(html)]
    return [text for text, left in rest if re.search(r"[^\W\d_]", left) or re.fullmatch(r"[.?!:;]+", left)]


@pytest.fixture(scope="session")
def pseudo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a catalogue in which every message is enclosed in «»."""
    directory = tmp_path_factory.mktemp("pseudo")
    make_catalogue(directory, PSEUDO_LOCALE, lambda message, _: f"«{message}»")
    return directory


def test_the_catalogue_template_explains_messages_to_translators(pseudo: Path) -> None:
    """Where a message is used, and which values it contains."""
    with (pseudo / "identity_clients.pot").open("rb") as file:
        comments = {message.id: " ".join(message.auto_comments) for message in read_po(file) if message.id}
    expected = {
        "none": "no value",
        "%(city)s time": "London time",
        "mostly %(reason)s": "outcomes of token requests",
        "Secret %(label)s works until %(moment)s.": "the letter of a secret",
        "<b>%(who)s</b> tried to %(attempt)s and was refused": "see the clients",
    }
    for message, words in expected.items():
        assert words in comments[message], message
    assert sum(bool(comment) for comment in comments.values()) >= 40


@pytest.fixture(scope="module")
def application(pseudo: Path) -> SharedApplication:
    """Return the application of `host`."""
    host = make_host(
        create_engine("sqlite://"), platform_name="Platform Here", viewer_roles=("Auditor",), api_enabled=True
    )
    use_flask_babel(host.app, pseudo, lambda: PSEUDO_LOCALE)
    return SharedApplication(host.app)


@pytest.fixture
def host(sqlite_engine: Engine, application: SharedApplication) -> Iterator[Host]:
    """Return a host with Flask-Babel in which every message is enclosed in «»."""
    host = Host.shared(sqlite_engine, application)
    host.actor = ACTOR
    with time_machine.travel(NOW, tick=False):
        yield host
    application.check()


@pytest.fixture(scope="module")
def database_with_client(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, IdentityClient]:
    """Return a database file, and the client in it, with all kinds of data and events."""
    path = tmp_path_factory.mktemp("client") / "client.sqlite3"
    shutil.copy(sqlite_template, path)
    engine = make_engine(f"sqlite:///{path}")
    with time_machine.travel(NOW, tick=False):
        client = make_client(
            engine,
            client_id=CLIENT_ID,
            name=NAME,
            description=DESCRIPTION,
            roles=["CreatePayment"],
            allowed_networks=(AllowedNetwork("203.0.113.0/28", NAME), AllowedNetwork("192.0.2.0/24", "")),
        )
        for number, outcome in enumerate([*Outcome, *AuthenticationFailure]):
            make_requests(engine, client, outcome=outcome, at=NOW - number * DAY, scope="API")
        make_requests(engine, client, at=NOW, address="203.0.113.7")
        make_requests(
            engine, client, 2, at=NOW, address="198.51.100.9", outcome=AuthenticationFailure.ADDRESS_NOT_ALLOWED
        )
        add_event_history(engine, client)
        add_notification_for(engine, client)
        add_key(engine, client, long_assertion_at=NOW)
    engine.dispose()
    return path, client


@pytest.fixture
def client(host: Host, database_with_client: tuple[Path, IdentityClient]) -> IdentityClient:
    """Return a client with all kinds of data and events."""
    path, client = database_with_client
    host.engine.dispose()
    shutil.copyfile(path, str(host.engine.url.database))
    return stored(host, client)


def check(answer: TestResponse) -> TestResponse:
    """Assert that all text of a response is messages."""
    found = untranslated(answer.text) if answer.status_code != 303 else []
    assert not found, f"{answer.request.path}: {found}"
    return answer


def both(host: Host, path: str, **options: Any) -> list[TestResponse]:
    """Check a page and its fragment; return both."""
    return [check(host.get(path, htmx=htmx, **options)) for htmx in (False, True)]


def test_the_test_can_fail() -> None:
    for html in ("<p>«One» two</p>", "<p>«One»<b>!</b></p>", '<p title="two">«One»</p>', '<p data-l="Two:">1</p>'):
        assert untranslated(html), html
    for html in ("<p>«One <b>two</b>» 3 · Name Here</p>", '<p title="«One»">«a «b» c» 4 Mar 2026, 10:00</p>'):
        assert untranslated(html) == [], html


# Every screen, form and refusal


def path_of(rule: str, client: IdentityClient) -> str:
    """Return the address of a route for a client, and for its newest secret or key where the route has one."""
    path = rule.replace("<key>", str(client.id)).replace("<secret_id>", str(client.secrets[-1].id))
    for name in ("<target_id>", "<message_id>"):
        path = path.replace(name, str(client.id))
    path = path.replace("<channel>", "webhook")
    return path.replace("<key_id>", str(client.keys[-1].id)) if client.keys else path


_WITHOUT_PAGE = ("asset", "activity_csv", "requests_csv", "request", "postman")
PAGES = [rule for rule, endpoint, _, methods, _ in ROUTES if "GET" in methods and endpoint not in _WITHOUT_PAGE]
FORMS = [rule for rule, _, _, methods, _ in ROUTES if {"GET", "POST"} <= set(methods)]


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "disabled"])
@pytest.mark.parametrize("roles", [ACTOR.roles, frozenset({"Auditor"})], ids=["manager", "viewer"])
@pytest.mark.parametrize("rule", PAGES)
def test_every_page(host: Host, client: IdentityClient, rule: str, roles: frozenset[str], enabled: bool) -> None:
    """In each state of a client, for people with and without access."""
    bare = make_client(host.engine, client_id="id-of-another", enabled=enabled, created_at=NOW - 200 * DAY)
    add_notification_for(host.engine, bare)
    add_key(host.engine, bare)
    bare = stored(host, bare)
    host.actor = replace(ACTOR, roles=roles, grantable_roles=frozenset({"MerchantUser"}))
    for each in (client, bare):
        for answer in both(host, path_of(rule, each)):
            assert answer.status_code in (200, 403)


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize("rule", FORMS)
def test_every_form(host: Host, client: IdentityClient, rule: str, htmx: bool) -> None:
    """Empty, wrong, stale, long after sign-in, and finally valid."""
    path = path_of(rule, client)
    page = read(host.get(path))
    form, typed = page.form(), [name for name, input_ in page.inputs.items() if input_.get("type") != "hidden"]
    late = make_client(host.engine, client_id="id-of-a-third") if "<key>" not in rule else client
    for changes in (
        {"csrf_token": "forged"},
        {"version": "9999"},
        dict.fromkeys(typed, ""),
        dict.fromkeys(typed, "x"),
        dict.fromkeys(typed, "x" * 2000),
        dict.fromkeys(typed, "\x07\x07\x07\x07\x07\x07\x07"),
        dict.fromkeys(typed, "é" * 8),
        {name: ["x", "y"] for name in typed},
        {"client_id": late.client_id, "roles": ["Forged"]},
        {"version": "9999", "name": "Name Here", "description": "", "token_duration": "20", "client_secret": SECRET},
        {"client_secret": "aaaaaa"},
        {"client_secret": "a+b%c d" * 4, "client_id": "id-of-another"},
    ):
        check(host.post(path, {**form, **changes}, htmx=htmx, token=False))
    host.actor = replace(ACTOR, signed_in_at=NOW - timedelta(hours=3))
    check(host.post(path, {**form, "client_secret": SECRET}, htmx=htmx, token=False))
    host.actor = ACTOR
    form = read(host.get(path)).form()
    meant = {**form, "client_secret": f"{SECRET} anew", "roles": ["MerchantUser"], "client_id": "id-of-another"}
    meant |= {"confirm": CLIENT_ID, "end_older": "A", "confirmed": "y", "public_key": public_pem(private_key(number=2))}
    meant |= {"address": "https://hooks.example/other", "kinds": ["client.created"]}
    meant |= {"found": "Text here", "done": "Text here", "acknowledged": "y"}
    answer = check(host.post(path, meant, htmx=htmx, token=False))
    if rule == "/<key>/edit":  # it asks a question once
        meant["confirmed"] = read(answer).value("confirmed")
        answer = check(host.post(path, meant, htmx=htmx, token=False))
    repeatable = {"secret_id": (409, 422), "key_id": (409, 422), "/remove": (404,)}  # the loop has done it already
    expected = [200, 303, *(status for part, statuses in repeatable.items() if part in rule for status in statuses)]
    assert answer.status_code in expected, answer.text
    check(host.post(path, meant, htmx=htmx, token=False))  # repeated: already created, or stale


def test_the_check_of_every_field(host: Host, client: IdentityClient) -> None:
    values = {
        "client_id": ("", "x", " x", "é" * 9, "x" * 101, CLIENT_ID, "id-of-another"),
        "client_secret": ("", "x", "aaaaaa", "é" * 9, "x" * 101, "password", CLIENT_ID, "a+b%c d" * 4),
        "name": ("x", "x" * 101, "a\x07bc"),
        "description": ("x" * 1001, "a\x07bc"),
        "token_duration": ("9",),
    }
    for of, key in (("", ""), (f"&client={client.id}", client.id)):
        for name, tried in values.items():
            for value in tried:
                answer = host.post(f"/check?field={name}{of}", {name: value, "client_id": value}, htmx=True)
                assert check(answer).status_code in (200, 422), key
    assert "«" in host.post("/check?field=name", {"name": "x"}, htmx=True).text


def test_the_list_searched_sorted_and_empty(host: Host) -> None:
    both(host, "")
    make_client(host.engine, client_id=CLIENT_ID, name=NAME, roles=["MerchantUser", "AccountViewer", "CreatePayment"])
    for query in (
        *(f"sort={order}" for order in ORDERS),
        "q=1&status=enabled",
        "q=1&status=disabled&role=CreatePayment",
    ):
        both(host, f"?{query}")
    for number in range(51):
        make_client(host.engine, client_id=f"{number:06}", updated_at=NOW - timedelta(hours=number * 9))
    for answer in both(host, ""):
        assert "«Next»" in answer.text
    both(host, "?q=none")


def test_clients_that_need_attention(host: Host) -> None:
    clients = [
        make_client_in_use(host.engine, {"ends_at": NOW + 4 * DAY}, {}),
        make_client_in_use(host.engine, {"ends_at": NOW + DAY}, {}),
        make_client_in_use(host.engine, counts={(0, "issued"): 14, (0, "wrong secret"): 6}),
        make_client_in_use(host.engine, created_at=NOW - 9 * DAY, last_token_at=None),
        make_client_in_use(host.engine, last_token_at=NOW - 120 * DAY),
        make_client_in_use(host.engine, {"created_at": NOW - 400 * DAY}, {"created_at": NOW - 45 * DAY}),
    ]
    both(host, "")
    for client in clients:
        both(host, f"/{client.id}")
    for kind in FILTERS:
        both(host, f"?attention={kind}")
        both(host, f"?attention={kind}&q=none")
    both(host, "?part=attention")


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_the_allowed_networks(host: Host, client: IdentityClient, htmx: bool) -> None:
    for address in ("", "x", "203.0.113.7", "198.51.100.9", "192.0.2.1", "2001::1"):
        check(host.get(f"/{client.id}/networks/check?address={address}", htmx=htmx))
    form = read(host.get(f"/{client.id}/networks")).form()
    for text in (
        *(
            "x",
            "0.0.0.0/0",
            "fe80::1%x",
            "192.0.2.7/24",
            "192.0.2.1 192.0.2.2",
            f"192.0.2.1 {'x' * 61}",
            "192.0.2.1 x\x07",
        ),
        *("\n".join(["x"] * 9), "\n".join(f"192.0.2.{number}" for number in range(51)), "192.0.2.1", ""),
    ):
        rows = {"allowed_networks": text.split("\n"), "network_label": []}
        check(host.post(f"/{client.id}/networks", {**form, **rows}, htmx=htmx, token=False))


def test_the_audit_log_filtered_paged_and_empty(host: Host, client: IdentityClient) -> None:
    for query in (
        "?person=nobody",
        "?action=edited",
        "?action=roles-changed",
        f"?client={CLIENT_ID}&since=2025-01-01&until=2026-03-02",
    ):
        both(host, f"/activity{query}")
        both(host, f"/{client.id}/activity{query}")
    for _ in range(4):
        add_event_history(host.engine, client)
    both(host, "/activity")
    host.actor = replace(ACTOR, account_id="another")
    both(host, "/activity")


def test_the_request_log(host: Host, client: IdentityClient) -> None:
    """Filters, their notices, pages, and a request of each outcome."""
    for query in ("?client=x&outcome=issued", "?since=2026-03-02&until=2026-03-01", "?address=x", "?request_id=x+y"):
        both(host, f"/requests{query}")
    make_requests(host.engine, client, 60, scope="reports:read", outcome=Outcome.SCOPE_NOT_ALLOWED)
    page = both(host, f"/{client.id}/requests?secret=A")[0]
    assert "«Older»" in page.text
    with read_session(host.engine) as session:
        found = session.scalars(select(TokenRequest).order_by(TokenRequest.at.desc()).limit(120)).all()
    shown = {(request.outcome, request.scope): request for request in found}
    assert len(shown) > len(Outcome) + len(AuthenticationFailure)
    for request in shown.values():
        both(host, f"/{client.id}/requests/{key_of(request)}")


def test_every_kind_of_event(host: Host, client: IdentityClient) -> None:
    """Including those that are not about a client."""
    rows: list[dict[str, Any]] = [{"action": action, "changes": {}} for action in Action]
    rows += [{"action": "refused", "changes": {"refusal": [None, refusal]}} for refusal in RefusalReason]
    rows += [{"action": "refused", "changes": {"attempt": [None, endpoint]}} for _, endpoint, *_ in ROUTES]
    for field in ("client_id", "name", "description", "token_duration_minutes", "roles", "allowed_networks"):
        rows.append({"action": "edited", "changes": {field: ["", "x"]}})
    for start in range(0, len(rows), PAGE_SIZE):
        add_events(host.engine, *({"at": NOW, **row} for row in rows[start : start + PAGE_SIZE]))
        both(host, "/activity")


def test_status_messages(host: Host, client: IdentityClient) -> None:
    with_one_secret = make_client(host.engine, client_id="id-of-another")
    pages = [(client, done) for done in TOASTS] + [(with_one_secret, done) for done in (ROTATED, REPLACED)]
    for shown, done in pages:
        answer = check(host.get(f"/{shown.id}?done={done}"))
        assert 'role="status"><svg' in one_line(answer.text)


def test_generate_and_presets(host: Host, client: IdentityClient) -> None:
    for form in ("/new/form", f"/new/form?copy={client.id}", f"/{client.id}/edit/form"):
        for pressed in ({"generate": "secret"}, {"preset": "read"}, {"preset": "none"}):
            for htmx in (False, True):
                check(host.post(form, pressed, htmx=htmx))


@pytest.mark.parametrize("kind", ["no role", "feature off", "signed out"])
def test_every_refusal_of_access(host: Host, client: IdentityClient, kind: str) -> None:
    host.actor = {
        "no role": replace(ACTOR, roles=frozenset()),
        "feature off": replace(ACTOR, feature_enabled=False),
        "signed out": None,
    }[kind]
    for path in ("", f"/{client.id}/edit"):
        for answer in both(host, path):
            assert answer.status_code in (401, 403)
    for htmx in (False, True):
        check(host.post(f"/{client.id}/edit", {}, token=False, htmx=htmx))


@pytest.mark.parametrize(
    "error",
    [errors.NotFound(), errors.RateLimited(7), errors.Unavailable(), RuntimeError(), 400, 403, 405, 413, 415],
    ids=repr,
)
def test_every_error(host: Host, error: Exception | int) -> None:
    def fail(**_: object) -> str:
        if isinstance(error, int):
            abort(error)
        raise error

    host.app.view_functions["identity_clients.details"] = fail
    both(host, "/anything")
    into_dialog = host.client.get(f"{PREFIX}/anything", headers={**HTMX, "HX-Target": "div#ic-dialog"})
    assert "<dialog" in check(into_dialog).text


def literals(node: nodes.Node) -> Iterator[str]:
    """Yield each string of a template's expressions, except messages and strings that are only compared."""
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name) and node.node.name.startswith("ic_"):
        for argument in node.kwargs:
            yield from literals(argument)
    elif isinstance(node, nodes.Const) and isinstance(node.value, str):
        yield node.value
    elif not isinstance(node, (nodes.Compare, nodes.Import, nodes.Include, nodes.Extends)):
        for child in node.iter_child_nodes():
            yield from literals(child)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_all_text_of_templates_is_messages(path: Path) -> None:
    """In every state of its screen."""
    source = path.read_text("utf-8")
    markup = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}", "", source, flags=re.DOTALL)
    attributes = r"[\w:-]+=\"[^\"]*\"|\b(?:data|ic)-\w+"  # where a macro or a block sets them
    names = r"\bMAS\b"
    texts = [re.sub(f"{attributes}|{names}", "", text) for text in untranslated_texts(markup)]
    assert [text for text in texts if re.search(r"[^\W\d_]|[.?!]", text)] == []
    sentence = re.compile(r"\b[A-Z][a-z]|[a-z][.?!](\s|$)")
    assert [text for text in literals(Environment().parse(source)) if sentence.search(text)] == []


def test_scripts_hold_no_text() -> None:
    """They read it from the page."""
    script = (servers.ROOT / "static" / "identity_clients" / "app.js").read_text("utf-8")
    strings = re.findall(r"\"([^\"\n]*)\"|'([^'\n]*)'|`([^`]*)`", re.sub(r"/\*.*?\*/", "", script, flags=re.DOTALL))
    technical = re.compile(
        r"(X-)?[A-Z][a-z]+(-[A-Z][a-z]+)+|Arrow\w+|\w+Error|Home|End|Escape|Enter|Tab"
    )  # headers, keys
    assert [
        text
        for found in strings
        for text in found
        if re.search(r"[A-Z][a-z]+\b(?!\w*-)|[a-z] [a-z]+[.?!]", text) and not technical.fullmatch(text)
    ] == []


# A host's language

GERMAN = {
    "Identity Clients": "Identitätsclients",
    "Token duration": "Tokendauer",
    "%(number)s minute": "%(number)s Minute",
    "%(number)s minutes": "%(number)s Minuten",
    "%(time)s by %(who)s": "%(time)s von %(who)s",
    "Token duration must be from %(least)s to %(most)s whole minutes": "Tokendauer: %(least)s bis %(most)s Minuten",
    "Description is too long: use at most %(most)s characters": "Beschreibung: höchstens %(most)s Zeichen",
    "API access": "API-Zugriff",
    "Save": 'Speichern <&">',
    "<b>%(title)s.</b> %(advice)s": "<b>Fehler: %(title)s.</b> %(advice)s",
    "There is no such page": "Diese Seite gibt es nicht",
    "Times are %(zone)s": "Zeiten: %(zone)s",
    "%(city)s time": "Ortszeit %(city)s",
    "Your session was renewed while this form was open. Please press %(button)s again.": "Noch einmal %(button)s.",
}
AT = datetime(2026, 3, 4, 9, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def german(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with a catalogue of some German messages."""
    directory = tmp_path_factory.mktemp("german")
    messages = make_catalogue(directory, "de", lambda message, _: GERMAN.get(message, ""))
    assert set(GERMAN) <= set(messages)
    return directory


@pytest.fixture
def babel_host(sqlite_url: str, german: Path) -> Iterator[Host]:
    """Return a host with Flask-Babel that speaks the language of the browser, and German."""
    engine = make_engine(sqlite_url)
    host = make_host(engine)
    use_flask_babel(host.app, german)
    yield host
    engine.dispose()


def get(host: Host, language: str, path: str = "", **headers: str) -> TestResponse:
    """Send a GET below the prefix, in a language."""
    answer = host.client.get(PREFIX + path, headers={"Accept-Language": language, **headers})
    assert answer.status_code in (200, 404)
    return answer


def test_a_host_with_flask_babel_gets_its_texts_dates_and_numbers(babel_host: Host) -> None:
    """Each request in its own language; messages that the host's catalogue lacks are those of the package."""
    client = make_client(
        babel_host.engine,
        client_id="acme-1",
        roles=["MerchantUser"],
        token_duration=15,
        created_at=AT,
        last_token_at=AT,
    )
    german = get(babel_host, "de", f"/{client.id}").text
    assert '<html lang="de">' in german
    assert '<div class="ic" id="ic" lang="de">' in german
    for found in ("Tokendauer", "15 Minuten", "4. März 2026, 09:12 GMT</time> von", "API-Zugriff", "Konfiguration"):
        assert found in german, found
    assert "API access" not in german
    english = get(babel_host, "en-GB", f"/{client.id}").text
    for found in ('<html lang="en-GB">', "15 minutes", "4 March 2026, 09:12 GMT</time> by", "API access"):
        assert found in english, found
    with time_machine.travel(NOW):
        listed = get(babel_host, "de").text
    assert "4. März, 09:12</time>" in listed
    assert "Zeiten: Ortszeit London" in listed
    with babel_host.app.test_client() as browser:
        form = read(browser.get(f"{PREFIX}/new", headers={"Accept-Language": "de"})).form(
            description="x" * 1234, token_duration="9"
        )
        wrong = browser.post(f"{PREFIX}/new", data=form, headers={"Accept-Language": "de"}).text
    assert "Tokendauer: 10 bis 60 Minuten" in wrong
    assert "Beschreibung: höchstens 1.000 Zeichen" in wrong


def test_german_comes_with_the_package(sqlite_url: str, tmp_path: Path) -> None:
    """For a host with Flask-Babel and without a catalogue, in every region."""
    engine = make_engine(sqlite_url)
    host = make_host(engine)
    use_flask_babel(host.app, tmp_path)
    client = make_client(engine, roles=["MerchantUser"], created_at=AT)
    for language in ("de", "de-AT"):
        page = get(host, language, f"/{client.id}").text
        assert f'<html lang="{language}">' in page
        for found in ("Token-Gültigkeit", "4. März 2026, 09:12 GMT</time> von", "API-Zugriff", "Konfiguration"):
            assert found in page, found
        assert "<b>Diese Seite gibt es nicht.</b>" in get(host, language, "/no-such-client", **HTMX).text
    engine.dispose()


def test_a_language_without_a_catalogue_gets_english_texts_and_its_own_formats(babel_host: Host) -> None:
    client = make_client(babel_host.engine, created_at=AT)
    french, american = (get(babel_host, language, f"/{client.id}").text for language in ("fr", "en-US"))
    assert '<html lang="en-GB">' in french
    assert "4 mars 2026, 09:12 GMT" in french
    assert '<html lang="en-US">' in american
    assert "March 4, 2026, 9:12\u202fAM GMT" in american


def test_errors_and_refusals_are_in_the_language_of_the_request(babel_host: Host, german: Path) -> None:
    """Including responses of the host's own CSRF layer, which come before our view (W10, W12)."""
    assert "<h1>Diese Seite gibt es nicht</h1>" in get(babel_host, "de", "/no-such-client").text
    assert "<b>Fehler: Diese Seite gibt es nicht.</b>" in get(babel_host, "de", "/no-such-client", **HTMX).text
    csrf_host = make_host(babel_host.engine)
    CSRFProtect(csrf_host.app)
    use_flask_babel(csrf_host.app, german)
    refused = csrf_host.client.post(f"{PREFIX}/new", data={"name": "typed"}, headers={"Accept-Language": "de"})
    assert "Noch einmal Anlegen." in refused.text
    assert refused.status_code == 422


def test_markup_in_a_translation_is_escaped_unless_the_message_is_markup(babel_host: Host) -> None:
    """A catalogue cannot add markup to plain messages (W17)."""
    client = make_client(babel_host.engine)
    assert "Speichern &lt;&amp;&#34;&gt;" in get(babel_host, "de", f"/{client.id}/edit").text


def test_a_selector_that_fails_is_an_error_in_english_without_data(sqlite_url: str, german: Path) -> None:
    """The error page does not depend on the selector (L5)."""
    engine = make_engine(sqlite_url)
    host = make_host(engine)

    def fail() -> str:
        raise RuntimeError("canary")

    use_flask_babel(host.app, german, fail)
    for answer in (host.get(), host.get(htmx=True)):
        assert answer.status_code == 500
        assert "Something went wrong on our side" in answer.text
        assert "canary" not in answer.text
    engine.dispose()


def test_two_hosts_in_one_process_share_no_language(babel_host: Host) -> None:
    """One after the other in one thread, and no language is kept after a request (E6)."""
    plain = make_host(babel_host.engine)
    for _ in range(2):
        assert "Identitätsclients" in get(babel_host, "de").text
        assert "Identity Clients" in get(plain, "de").text
        assert "Identitätsclients" not in get(plain, "de").text
    get(babel_host, "de")
    assert i18n.gettext("Identity Clients") == "Identity Clients"
    assert i18n.format_number(1234) == "1,234"


def test_another_extension_named_babel_is_ignored(host: Host) -> None:
    """Without Flask-Babel the texts are English."""
    other = make_host(host.engine)
    other.app.extensions["babel"] = object()
    assert '<html lang="en-GB">' in other.get().text
