"""Many kinds of hosts, each with the screens and the endpoint (E1, E2, E3, E5, E6)."""

import asyncio
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar

import flask_login
import pytest
from flask import Blueprint, Flask, Response, abort, jsonify, redirect, request
from flask_sqlalchemy import SQLAlchemy
from flask_wtf import CSRFProtect
from jinja2 import DictLoader, StrictUndefined
from sqlalchemy import Engine, func, select, text
from werkzeug.exceptions import HTTPException

from tests.support.embedding import TOKEN, VALUES, create, embed
from tests.support.endpoint import settings
from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, PREFIX, make_host, path_of
from webapp import Actor, IdentityClients, SettingsError
from webapp.core.database.engine import make_engine, share_engine
from webapp.core.database.models import AuditEvent, IdentityClient
from webapp.core.database.unit_of_work import read_session
from webapp.host import EXTENSION
from webapp.web.routes import ROUTES

CONNECT = ("/connect/token", "/connect/introspect", "/connect/revocation")
FORM = "application/x-www-form-urlencoded"


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


def client_ids(engine: Engine) -> set[str]:
    with read_session(engine) as session:
        return set(session.scalars(select(IdentityClient.client_id)))


# Start order, and the host's CSRF layer

STARTS: dict[str, Callable[[Flask, Engine], object]] = {
    "product": embed,
    "csrf": lambda app, _engine: CSRFProtect(app),
    "sign-in": lambda app, _engine: flask_login.LoginManager(app).user_loader(lambda user_id: None),
}
ORDERS = (
    ("csrf", "sign-in", "product"),
    ("product", "csrf", "sign-in"),
    ("sign-in", "product", "csrf"),
    ("csrf", "product", "sign-in"),
)


@pytest.mark.parametrize("order", ORDERS, ids=" then ".join)
def test_the_start_order_does_not_matter(sqlite_engine: Engine, order: tuple[str, ...]) -> None:
    """Three POSTs are exempt from the host's CSRF layer; all others are checked, the host's own too (E1, W8)."""
    app = Flask("host")
    app.add_url_rule("/pay", "pay", lambda: "paid", methods=["POST"])
    for name in order:
        STARTS[name](app, sqlite_engine)
    client = make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    browser = app.test_client()
    assert browser.post("/pay").status_code == 400
    for path in CONNECT:
        answer = browser.post(path, base_url="https://localhost", data=TOKEN | {"token": "x"})
        assert answer.status_code == 200, path
        assert answer.mimetype in ("application/json",), path

    def rows() -> list[Any]:
        with read_session(sqlite_engine) as session:
            clients = session.execute(select(IdentityClient.__table__)).all()
            return [clients, session.execute(select(AuditEvent.__table__).where(AuditEvent.action != "refused")).all()]

    before = rows()
    for rule, endpoint, _, methods, _ in ROUTES:
        if "POST" not in methods:
            continue
        path = path_of(rule, client)
        for headers in ({}, HTMX):
            answer = browser.post(path, data={**VALUES, "version": "1"}, headers=headers)
            assert answer.status_code in (404, 422), (endpoint, answer.status_code)
    assert rows() == before
    assert create(browser).status_code == 200
    assert client_ids(sqlite_engine) == {"first-client", "second-client"}


def test_only_the_identity_endpoint_is_exempt_from_csrf(sqlite_engine: Engine) -> None:
    """By the names that the host's layer keeps (E1)."""
    app = Flask("host")
    csrf = CSRFProtect(app)
    embed(app, sqlite_engine)
    names = ("token", "introspect", "revoke")
    exempt = {app.view_functions[f"identity_clients_endpoint.{name}"] for name in names}
    assert csrf._exempt_views == {f"{view.__module__}.{view.__name__}" for view in exempt}
    assert csrf._exempt_blueprints == set()


def test_a_form_stays_in_its_dialog_when_the_hosts_csrf_layer_refuses(sqlite_engine: Engine) -> None:
    """Although the host has an error handler for status 400 (W10, E1)."""
    app = Flask("host")
    CSRFProtect(app)
    app.register_error_handler(400, lambda error: ("the host's own page", 400))
    embed(app, sqlite_engine)
    browser = app.test_client()
    page = browser.post(f"{PREFIX}/new", data=VALUES, headers=HTMX)
    assert page.status_code == 422
    assert 'value="second-client"' in page.text
    assert "the host" not in page.text
    assert VALUES["client_secret"] not in page.text


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_other_refusals_behind_the_hosts_csrf_layer(sqlite_engine: Engine, htmx: bool) -> None:
    """Without a token, and with an absent client, another site or another encoding (W12, A3, W9, I5)."""
    app = Flask("host")
    CSRFProtect(app)
    browser, headers = embed(app, sqlite_engine).test_client(), HTMX if htmx else {}
    for path in ("/nonsense/edit", "/01a21318-90be-7298-8316-3c67cc8ffa40/disable"):
        assert browser.post(PREFIX + path, headers=headers, data=VALUES).status_code == 404
    assert browser.post(f"{PREFIX}/new", headers=headers | {"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert browser.post(f"{PREFIX}/new", headers=headers, json={}).status_code == 415


# Hooks and handlers of the host


@pytest.mark.parametrize("reads", ["form", "get_data", "get_json"])
def test_a_hook_of_the_host_may_read_the_body(sqlite_engine: Engine, reads: str) -> None:
    """Such as a request log. On a real connection a second read would block (P3, D1)."""
    from tests.support.live import serving

    app = Flask("host")

    @app.before_request
    def read() -> None:
        if reads == "form":
            _ = request.form
        elif reads == "get_data":
            request.get_data()
        else:
            request.get_json(silent=True)

    embed(app, sqlite_engine, development=True, issuer="http://127.0.0.1")
    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    with serving(app) as site:
        assert site.post("/connect/token", TOKEN).status_code == 200
        twice = [*TOKEN.items(), ("scope", "a"), ("scope", "a")]
        assert site.post("/connect/token", twice).json()["error"] == "invalid_request"
        assert site.post("/connect/token", TOKEN | {"x": "y" * 8192}).status_code == 413
        assert site.create(VALUES).status_code == 200
        assert site.create(VALUES | {"description": "d" * 70_000}).status_code == 413


def test_limits_hold_before_the_hosts_csrf_layer_reads(sqlite_engine: Engine) -> None:
    """Its layer parses every form (D1)."""
    app = Flask("host")
    CSRFProtect(app)
    embed(app, sqlite_engine)
    browser = app.test_client()
    browser.get(f"{PREFIX}/new")
    assert browser.post(f"{PREFIX}/new", data=b"x" * (64 * 1024 + 1), content_type=FORM).status_code == 413
    parts = {f"part-{number}": "x" for number in range(51)}
    many = browser.post(f"{PREFIX}/new", data=parts, content_type="multipart/form-data")
    assert many.status_code == 413


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
def test_error_pages_of_host_and_product_are_separate(sqlite_engine: Engine, htmx: bool) -> None:
    """Neither is shown in the other's pages (W12, E2)."""
    app = Flask("host")
    for code in (400, 401, 403, 404, 405, 413, 415, 422, 429, 500, 503):
        app.register_error_handler(code, lambda error: (f"the host's own {error.code}", error.code))
    app.register_error_handler(HTTPException, lambda error: ("the host's own", error.code))
    app.register_error_handler(Exception, lambda error: ("the host's own", 500))
    app.add_url_rule("/broken", "broken", lambda: str(1 / 0))
    app.add_url_rule("/absent", "absent", lambda: abort(404))
    loaders: dict[str, Callable[[], Any]] = {"signed out": lambda: None, "broken": lambda: 1 / 0}
    kind = ["signed in"]
    embed(app, sqlite_engine, lambda: loaders.get(kind[0], lambda: NORTHWIND)())
    browser, headers = app.test_client(), HTMX if htmx else {}
    assert browser.get("/broken").text == "the host's own"
    assert browser.get("/absent").text == "the host's own 404"
    assert browser.get("/nowhere").text == "the host's own 404"
    assert browser.get(f"{PREFIX}/some/where/else").text == "the host's own 404"
    cases = {
        404: browser.get(f"{PREFIX}/nonsense", headers=headers),
        403: browser.post(f"{PREFIX}/new", headers=headers | {"Sec-Fetch-Site": "cross-site"}),
        413: browser.post(f"{PREFIX}/new", headers=headers, data=b"x" * 70_000),
        415: browser.post(f"{PREFIX}/new", headers=headers, json={}),
    }
    for name, status in (("signed out", 401), ("broken", 500)):
        kind[0] = name
        cases[status] = browser.get(PREFIX, headers=headers)
    for status, answer in cases.items():
        assert answer.status_code == status
        assert "the host" not in answer.text
        assert ("<html" in answer.text) is not htmx, status


def test_nothing_global_is_added_to_the_application(sqlite_engine: Engine) -> None:
    """No error handler, after-request hook, context processor or session of the host changes (E2)."""

    def parts(app: Flask) -> dict[str, Any]:
        return {
            "error handlers": {**app.error_handler_spec[None]},
            "before": len(app.before_request_funcs.get(None, ())),
            "after": len(app.after_request_funcs.get(None, ())),
            "teardown": len(app.teardown_request_funcs.get(None, ())) + len(app.teardown_appcontext_funcs),
            "context": len(app.template_context_processors[None]),
            "session": app.session_interface,
            "config": {name for name in app.config if not name.startswith("IDENTITY_CLIENTS_")},
            "globals": set(app.jinja_env.globals),
            "filters": set(app.jinja_env.filters),
            "commands": set(app.cli.commands),
            "extensions": set(app.extensions),
            "blueprints": set(app.blueprints),
        }

    app = Flask("host")
    app.secret_key = "k" * 32
    before = parts(app)
    after = parts(embed(app, sqlite_engine))
    added = {name: after[name] - before[name] for name in after if isinstance(after[name], set)}
    assert {name[:3] for name in added.pop("globals")} == {"ic_"}
    assert {name: value for name, value in added.items() if value} == {
        "commands": {"identity-clients"},
        "extensions": {"identity_clients"},
        "blueprints": {"identity_clients", "identity_clients_endpoint"},
    }
    assert after["before"] == before["before"] + 1  # detects a CSRF layer that is started later
    for name in ("error handlers", "after", "teardown", "context", "session"):
        assert after[name] == before[name], name
    for rule in app.url_map.iter_rules():
        if rule.endpoint.startswith("identity_clients."):
            assert rule.rule.startswith(PREFIX)


def test_no_name_of_a_host_clashes(sqlite_engine: Engine) -> None:
    """Blueprints, static files, templates, commands and endpoints that other Flask applications are likely to have."""
    app = Flask("host", static_url_path="/static")
    app.jinja_loader = DictLoader(
        {"list.html": "the host's list", "layout.html": "x", "base.html": "y", "error.html": "z"}
    )
    for name in ("identity", "clients", "oauth", "web", "assets"):
        blueprint = Blueprint(name, "host")
        blueprint.add_url_rule(f"/{name}", "list", lambda: app.jinja_env.get_template("list.html").render())
        app.register_blueprint(blueprint)
    for name in ("list", "new", "details", "asset", "token", "metadata"):
        app.add_url_rule(f"/of-the-host/{name}", name, lambda: "the host's view")
    app.cli.command("upgrade")(lambda: None)
    embed(app, sqlite_engine)
    browser = app.test_client()
    assert browser.get("/identity").text == "the host's list"
    assert browser.get("/of-the-host/token").text == "the host's view"
    assert "No clients yet" in browser.get(PREFIX).text
    assert {"upgrade", "identity-clients"} <= set(app.cli.commands)


def test_the_session_gets_only_the_key_of_flask_wtf(sqlite_engine: Engine) -> None:
    """Its CSRF token, which a host with Flask-WTF has as well (E2)."""
    app = embed(Flask("host"), sqlite_engine)
    browser = app.test_client()
    assert create(browser).status_code == 200
    with browser.session_transaction() as session:
        assert set(session) == {"csrf_token"}


def test_a_header_of_the_host_wins(sqlite_engine: Engine) -> None:
    """Its hook runs last, on our pages too; responses of the endpoint keep our headers (P13, E2, W15)."""
    app = embed(Flask("host"), sqlite_engine)
    strict = {
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Referrer-Policy": "no-referrer",
        "Permissions-Policy": "clipboard-write=()",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-Frame-Options": "DENY",
    }

    @app.after_request
    def add(response: Response) -> Response:
        response.headers.update(strict)
        return response

    page = app.test_client().get(PREFIX)
    for name, value in strict.items():
        assert page.headers.getlist(name) == [value]
    token = app.test_client().post("/connect/token", base_url="https://localhost")
    assert token.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


NAMES = ("title", "client", "form", "page", "query", "actor", "asset_url", "times", "partial", "platform_name", "url")


def test_the_hosts_layout_sees_its_own_variables(sqlite_engine: Engine) -> None:
    """Our template variables such as `title` and `client` never hide the host's."""
    app = Flask("host")
    frame = "<!doctype html><title>{% block ic_title %}{% endblock %}</title>{% block ic_head %}{% endblock %}"
    frame += "".join(f"[{name}={{{{ {name} }}}}]" for name in NAMES) + "{% block ic_content %}{% endblock %}"
    app.jinja_loader = DictLoader({"identity_clients/base.html": frame})
    app.context_processor(lambda: {name: f"host-{name}" for name in NAMES})
    client = make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    browser = embed(app, sqlite_engine).test_client()
    for path in ("", "/new", f"/{client.id}", f"/{client.id}/edit", f"/{client.id}/disable", "/nonsense"):
        text_ = browser.get(PREFIX + path).text
        assert "".join(f"[{name}=host-{name}]" for name in NAMES) in text_, path
        assert 'class="ic"' in text_, path
        assert "<title></title>" not in text_, path


def test_a_strict_jinja_environment(sqlite_engine: Engine) -> None:
    """A host may use StrictUndefined and trim white space."""

    class Strict(Flask):
        jinja_options: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
            "undefined": StrictUndefined,
            "trim_blocks": True,
            "lstrip_blocks": True,
        }

    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    host = make_host(sqlite_engine)
    strict = embed(Strict("host", template_folder=None), sqlite_engine)  # otherwise ours would count as the host's own
    client = make_client(sqlite_engine, account_id="northwind", client_id="third-client")
    for rule, endpoint, _, methods, _ in ROUTES:
        path = path_of(rule, client)
        for headers in ({}, HTMX):
            if "GET" in methods and endpoint != "asset":
                shown = strict.test_client().get(path, headers=headers, buffered=True)
                assert shown.status_code == host.client.get(path, buffered=True).status_code
    browser = strict.test_client()
    assert browser.get(PREFIX).text.split() == host.client.get(PREFIX).text.split()
    assert create(browser).status_code == 200
    assert create(browser, client_id="x").status_code == 422
    assert browser.get(f"{PREFIX}?q=nothing-like-this").status_code == 200


# Names and prefixes


def test_another_prefix_and_another_name(sqlite_engine: Engine) -> None:
    """Every link and form follows the settings; the endpoint stays where its metadata says."""
    app = Flask("host")
    embed(app, sqlite_engine, url_prefix="/settings/api", blueprint_name="api_clients")
    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    browser = app.test_client()
    assert {"api_clients", "api_clients_endpoint"} == set(app.blueprints)
    assert create(browser, "/settings/api").status_code == 200
    seen, todo = set(), {"/settings/api"}
    while todo:
        path = todo.pop()
        seen.add(path)
        page = browser.get(path)
        assert page.status_code == 200, path
        for name, url in re.findall(r'(href|src|action|formaction|hx-[a-z]+)="(/[^"]*)"', page.text):
            assert url.startswith("/settings/api"), (path, url)
            if name in ("href", "src", "hx-get") and url.partition("?")[0] not in seen:
                todo.add(url.partition("?")[0])
    assert len(seen) > 8
    assert browser.post("/connect/token", base_url="https://localhost", data=TOKEN).status_code == 200


@pytest.mark.parametrize("name", ["", "with space", "9lives", "a.b", "ünï"])
def test_an_invalid_blueprint_name_stops_the_start(sqlite_engine: Engine, name: str) -> None:
    with pytest.raises(SettingsError, match="BLUEPRINT_NAME"):
        embed(Flask("host"), sqlite_engine, blueprint_name=name)


@pytest.mark.parametrize("taken", ["identity_clients", "identity_clients_endpoint"])
def test_a_blueprint_of_the_host_with_our_name_names_the_setting(sqlite_engine: Engine, taken: str) -> None:
    app = Flask("host")
    app.register_blueprint(Blueprint(taken, __name__))
    with pytest.raises(SettingsError, match=f"'{taken}'.*IDENTITY_CLIENTS_BLUEPRINT_NAME"):
        embed(app, sqlite_engine)
    embed(app, sqlite_engine, blueprint_name="machine_clients")


def test_a_host_that_loads_htmx_gets_no_second_copy(sqlite_engine: Engine) -> None:
    """Our htmx configuration is left out as well."""
    ours = embed(Flask("host"), sqlite_engine).test_client().get(PREFIX).text
    its = embed(Flask("host"), sqlite_engine, host_loads_htmx=True).test_client().get(PREFIX).text
    assert (ours.count("vendor/htmx"), ours.count("htmx-config")) == (1, 1)
    assert (its.count("vendor/htmx"), its.count("htmx-config")) == (0, 0)
    assert its.count("app.js") == its.count("app.css") == 1


@pytest.mark.parametrize("root", ["", "/portal"])
def test_a_host_without_flask_login_names_its_sign_in_page(sqlite_engine: Engine, root: str) -> None:
    """`next` returns to the page, also below a sub-path (W11)."""
    app = Flask("host")
    app.add_url_rule("/enter", "enter", lambda: "enter")
    embed(app, sqlite_engine, lambda: None, sign_in_endpoint="enter")
    browser = app.test_client()
    environ = {"SCRIPT_NAME": root}
    plain = browser.get(f"{PREFIX}?q=a", environ_overrides=environ)
    assert plain.status_code == 303
    assert plain.location == f"{root}/enter?next={root.replace('/', '%2F')}{PREFIX.replace('/', '%2F')}%3Fq%3Da"
    swapped = browser.get(f"{PREFIX}?q=a", headers=HTMX, environ_overrides=environ)
    assert (swapped.status_code, swapped.text, swapped.headers["HX-Redirect"]) == (401, "", plain.location)
    posted = browser.post(f"{PREFIX}/new", environ_overrides=environ)
    assert posted.location == f"{root}/enter?next={root.replace('/', '%2F')}{PREFIX.replace('/', '%2F')}"


@pytest.mark.parametrize("source", ["login_view", "setting"])
def test_a_sign_in_page_that_does_not_exist_is_named_in_the_log_once(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    """Signed-out people get a notice without a link. Flask-AppBuilder sets "login" without such a view (W11)."""
    app = Flask("host")
    manager = flask_login.LoginManager(app)
    manager.user_loader(lambda user_id: None)
    if source == "login_view":
        manager.login_view = "login"
    embed(app, sqlite_engine, lambda: None, **({"sign_in_endpoint": "login"} if source == "setting" else {}))
    browser = app.test_client()
    for headers in ({}, HTMX):
        for method in ("GET", "POST"):
            page = browser.open(f"{PREFIX}/new", method=method, headers=headers)
            assert page.status_code == 401
            assert "signed" in page.text.lower()
            assert "HX-Redirect" not in page.headers
    assert caplog.text.count("the endpoint 'login', which this application does not have") == 1


@pytest.mark.parametrize("view", [None, "login"], ids=["no view", "a missing view"])
def test_an_unauthorized_handler_of_the_host_answers(sqlite_engine: Engine, view: str | None) -> None:
    """As Flask-Security has; for htmx its redirect loads the whole page, or becomes the link of the notice (W11)."""
    app = Flask("host")
    manager = flask_login.LoginManager(app)
    manager.user_loader(lambda user_id: None)
    manager.login_view = view
    manager.unauthorized_handler(lambda: redirect("/enter?next=/somewhere"))
    embed(app, sqlite_engine, lambda: None)
    browser = app.test_client()
    for method in ("GET", "POST"):
        plain = browser.open(f"{PREFIX}/new", method=method)
        assert (plain.status_code, plain.location) == (302, "/enter?next=/somewhere")
    swapped = browser.get(PREFIX, headers=HTMX)
    assert (swapped.status_code, swapped.text, swapped.headers["HX-Redirect"]) == (401, "", "/enter?next=/somewhere")
    notice = browser.post(f"{PREFIX}/new", headers=HTMX)
    assert notice.status_code == 401
    assert 'href="/enter?next=/somewhere"' in notice.text
    manager.unauthorized_handler(lambda: ("the host's own notice", 401))
    assert browser.get(PREFIX).text == "the host's own notice"
    assert browser.get(PREFIX, headers=HTMX).status_code == 401


def test_without_loader_and_flask_login_the_log_names_both(
    sqlite_engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    app = Flask("host")
    app.secret_key = "k" * 32
    app.config.update(settings(ENGINE=sqlite_engine))
    IdentityClients().init_app(app)
    assert app.test_client().get(PREFIX).status_code == 500
    assert "Give IdentityClients an actor_loader" in caplog.text


# Who is signed in

INCOMPLETE_ACTORS = {
    "signed out": None,
    "no id": replace(NORTHWIND, id=""),
    "no account": replace(NORTHWIND, account_id=""),
    "None as id": replace(NORTHWIND, id=None),  # type: ignore[arg-type]
    "None as account": replace(NORTHWIND, account_id=None),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("kind", INCOMPLETE_ACTORS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_actor_or_an_incomplete_one_has_no_access(sqlite_engine: Engine, kind: str, method: str) -> None:
    """On every route (E3)."""
    client = make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    browser = embed(Flask("host"), sqlite_engine, lambda: INCOMPLETE_ACTORS[kind]).test_client()
    for rule, endpoint, _, methods, _ in ROUTES:
        if method in methods and endpoint != "asset":
            answer = browser.open(path_of(rule, client), method=method)
            assert answer.status_code == 401, endpoint
            assert "first-client" not in answer.text


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"Janitor"}), frozenset({"merchantadmin"})])
def test_an_unknown_role_has_no_access(sqlite_engine: Engine, roles: frozenset[str]) -> None:
    """Whatever else the actor has (E3)."""
    actor = replace(NORTHWIND, roles=roles)
    assert embed(Flask("host"), sqlite_engine, lambda: actor).test_client().get(PREFIX).status_code == 403


MISTAKES: dict[str, Callable[[], Any]] = {
    "raises": lambda: 1 / 0,
    "number as id": lambda: replace(NORTHWIND, id=7),  # type: ignore[arg-type]
    "number as account": lambda: replace(NORTHWIND, account_id=7),  # type: ignore[arg-type]
    "text as roles": lambda: replace(NORTHWIND, roles="MerchantAdmin"),  # type: ignore[arg-type]
    "list as roles": lambda: replace(NORTHWIND, roles=["MerchantAdmin"]),  # type: ignore[arg-type]
    "time without zone": lambda: replace(NORTHWIND, signed_in_at=datetime(2026, 1, 1)),  # noqa: DTZ001
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_loader_with_a_fault_is_500_without_data(
    sqlite_engine: Engine, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names the mistake for the host's developers (E3, L5)."""
    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    page = embed(Flask("host"), sqlite_engine, MISTAKES[kind]).test_client().get(PREFIX)
    assert page.status_code == 500
    assert "first-client" not in page.text
    assert "ZeroDivisionError" in caplog.text or "Actor." in caplog.text
    assert "Actor." not in page.text


def test_no_request_chooses_its_account_or_role(sqlite_engine: Engine) -> None:
    """Not by query, form, header or cookie (E3, A3)."""
    make_client(sqlite_engine, account_id="harbour", client_id="harbour-client")
    clerk = replace(NORTHWIND, roles=frozenset({"Clerk"}))
    for actor, status in ((NORTHWIND, 200), (clerk, 403)):
        browser = embed(Flask("host"), sqlite_engine, partial(replace, actor)).test_client()
        for name in ("account_id", "account", "roles", "actor", "actor_id"):
            browser.set_cookie(name, "harbour")
        with browser.session_transaction() as session:
            session.update(account_id="harbour", roles=["MerchantAdmin"], user_id=HARBOUR.id)
        headers = {"X-Account-Id": "harbour", "X-Roles": "MerchantAdmin", "X-Forwarded-User": HARBOUR.id}
        page = browser.get(f"{PREFIX}?account_id=harbour&roles=MerchantAdmin", headers=headers)
        assert page.status_code == status
        assert "harbour-client" not in page.text


@pytest.mark.parametrize(
    ("signed_in", "status"),
    [
        (None, 200),
        (timedelta(minutes=1), 200),
        (timedelta(minutes=31), 401),
        (timedelta(minutes=-4), 200),
        (timedelta(minutes=-60), 401),
    ],
)
def test_the_actors_time_of_sign_in_is_compared(
    sqlite_engine: Engine, signed_in: timedelta | None, status: int
) -> None:
    """Without a time the sign-in counts as recent; a time of a clock that is ahead does not (E5, W5)."""
    at = None if signed_in is None else datetime.now(UTC) - signed_in
    actor = replace(NORTHWIND, signed_in_at=at)
    assert create(embed(Flask("host"), sqlite_engine, lambda: actor).test_client()).status_code == status
    assert client_ids(sqlite_engine) == ({"second-client"} if status == 200 else set())


def test_no_user_model_is_needed(sqlite_engine: Engine) -> None:
    """A gateway signs people in and names them in a header."""

    def actor() -> Actor | None:
        email = request.headers.get("X-Gateway-User")
        return replace(NORTHWIND, id=email, label=email) if email else None

    browser = embed(Flask("host"), sqlite_engine, actor).test_client()
    assert browser.get(PREFIX).status_code == 401
    browser.environ_base["HTTP_X_GATEWAY_USER"] = "ann@northwind.example"
    assert create(browser).status_code == 200
    with read_session(sqlite_engine) as session:
        assert (
            session.scalars(select(AuditEvent.actor_id).where(AuditEvent.action == "created")).one()
            == "ann@northwind.example"
        )


def test_an_async_host(sqlite_engine: Engine) -> None:
    """Async views and hooks, and an actor loader that awaits."""
    app = Flask("host")
    CSRFProtect(app)

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)

    @app.after_request
    async def after(response: Response) -> Response:
        await asyncio.sleep(0)
        response.headers["X-Host"] = "async"
        return response

    @app.get("/home")
    async def home() -> str:
        await asyncio.sleep(0)
        return "home"

    async def actor() -> Actor | None:
        await asyncio.sleep(0)
        return NORTHWIND

    browser = embed(app, sqlite_engine, actor).test_client()
    # In a separate thread, since the main one may still have the event loop of a browser test.
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(browser.get, "/home").result().text == "home"
        assert thread.submit(browser.get, PREFIX).result().headers["X-Host"] == "async"
        assert thread.submit(create, browser).result().status_code == 200


# One process, several applications


def test_a_factory_makes_several_applications(sqlite_url: str) -> None:
    """The extension object is created once, beside the factory."""
    identity_clients = IdentityClients()

    @identity_clients.actor_loader
    def actor() -> Actor | None:
        return NORTHWIND

    def create_app() -> Flask:
        app = Flask("host")
        app.secret_key = "k" * 32
        app.config.update(settings(DATABASE_URL=sqlite_url))
        identity_clients.init_app(app)
        return app

    for number in range(3):
        app = create_app()
        assert create(app.test_client(), client_id=f"client-{number}").status_code == 200
        app.extensions[EXTENSION].engine.dispose()


def test_two_applications_in_one_process_share_nothing(sqlite_url: str, postgresql_url: str) -> None:
    """Two databases, prefixes, names, actors, rate limits and key sets (E6)."""
    first_engine, second_engine = make_engine(sqlite_url), make_engine(postgresql_url)
    first = embed(Flask("first"), first_engine, taken_id_answers_per_hour=1)
    second = embed(
        Flask("second"), second_engine, lambda: HARBOUR, url_prefix="/keys", blueprint_name="keys", time_zone="UTC"
    )
    mine, its = first.test_client(), second.test_client()
    assert create(mine).status_code == 200
    assert create(its, "/keys", client_id="third-client").status_code == 200
    assert (client_ids(first_engine), client_ids(second_engine)) == ({"second-client"}, {"third-client"})
    assert "third-client" not in mine.get(PREFIX).text
    assert "second-client" not in its.get("/keys").text
    assert [create(mine).status_code for _ in range(3)] == [422, 429, 429]
    assert create(its, "/keys", client_id="third-client").status_code == 422
    form = {"grant_type": "client_credentials", "client_id": "second-client", "client_secret": VALUES["client_secret"]}
    statuses = [app.post("/connect/token", base_url="https://localhost", data=form).status_code for app in (mine, its)]
    assert statuses == [200, 401]
    assert first.extensions[EXTENSION] is not second.extensions[EXTENSION]
    kids = [app.get("/.well-known/jwks.json", base_url="https://localhost").get_json()["keys"] for app in (mine, its)]
    assert {key["kid"] for key in kids[0]}.isdisjoint(key["kid"] for key in kids[1])
    for engine in (first_engine, second_engine):
        engine.dispose()


def test_an_unknown_setting_stops_the_start(sqlite_engine: Engine) -> None:
    """A misspelt name is not ignored (E6)."""
    with pytest.raises(SettingsError, match="IDENTITY_CLIENTS_PREFIX is not a setting"):
        embed(Flask("host"), sqlite_engine, prefix="/keys")


# One database for host and product


class Notes:
    """A host with Flask-SQLAlchemy that adds a row in every request; its engine is ours as well."""

    def __init__(self, url: str, *, flushes: bool) -> None:
        self.app = Flask("host")
        self.app.secret_key = "k" * 32
        self.app.config["SQLALCHEMY_DATABASE_URI"] = url
        self.db = SQLAlchemy(self.app)
        self.fails = False

        class Note(self.db.Model):  # type: ignore[name-defined,misc]
            id = self.db.Column(self.db.Integer, primary_key=True)
            path = self.db.Column(self.db.String(200))

        self.note = Note
        with self.app.app_context():
            self.db.create_all()
            embed(self.app, self.db.engine)

        @self.app.before_request
        def note() -> None:
            self.db.session.add(Note(path=request.path))
            if flushes:
                self.db.session.flush()

        @self.app.after_request
        def finish(response: Response) -> Response:
            if self.fails:
                raise RuntimeError("the host has failed")
            self.db.session.commit()
            return response

    def notes(self) -> list[str]:
        with self.app.app_context():
            return [str(path) for path in self.db.session.scalars(self.db.select(self.note.path))]


@pytest.mark.parametrize("name", ["sqlite", "postgresql"])
def test_the_transactions_of_host_and_product_are_separate(request: pytest.FixtureRequest, name: str) -> None:
    """A rollback of the host leaves our change, and the reverse, on one engine (E6)."""
    # On SQLite one transaction at a time may write, so a host that writes in every request does it at the end.
    host = Notes(request.getfixturevalue(f"{name}_url"), flushes=name == "postgresql")
    with host.app.app_context():
        engine = host.db.engine
    browser = host.app.test_client()
    page = browser.get(f"{PREFIX}/new").text
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
    assert token
    count = len(host.notes())
    form = {**VALUES, "csrf_token": token[1], "creation_key": ""}
    # The host fails after our commit: our change stays, its own is rolled back.
    host.fails = True
    assert browser.post(f"{PREFIX}/new", data=form).status_code == 500
    host.fails = False
    assert client_ids(engine) == {"second-client"}
    assert len(host.notes()) == count
    # Our change is refused while the host continues: its own is committed, ours is not.
    assert browser.post(f"{PREFIX}/new", data=form).status_code == 422
    assert len(host.notes()) == count + 1
    with read_session(engine) as session:
        assert session.scalar(select(func.count()).select_from(IdentityClient)) == 1
    with host.app.app_context():
        engine.dispose()


def test_a_hosts_engine_hides_parameters_of_our_statements_only(sqlite_engine: Engine) -> None:
    """Its own error messages stay as they were (L5, E2)."""
    from sqlalchemy import create_engine
    from sqlalchemy.exc import OperationalError

    host = create_engine("sqlite://")
    for engine, shown in ((host, True), (share_engine(host), False)):
        with pytest.raises(OperationalError) as caught, engine.connect() as connection:
            connection.execute(text("SELECT :value FROM nowhere"), {"value": "canary"})
        assert ("canary" in str(caught.value)) is shown
    host.dispose()


def test_our_tables_need_rights_on_themselves_only(postgresql_url: str, postgresql_server: Engine) -> None:
    """A database user needs no rights other than to read and write our tables (E6)."""
    owner = make_engine(postgresql_url)
    user = f"app_{owner.url.database}"
    with owner.begin() as connection:
        connection.execute(text("CREATE TABLE hosts_own (id integer)"))
        connection.execute(text(f"CREATE ROLE {user} LOGIN"))
        tables = connection.scalars(
            text("SELECT tablename FROM pg_tables WHERE tablename LIKE 'identity_client%'")
        ).all()
        for table in tables:
            connection.execute(text(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {user}"))
    engine = make_engine(owner.url.set(username=user).render_as_string(hide_password=False))
    app = embed(Flask("host"), engine)
    browser = app.test_client()
    try:
        assert create(browser).status_code == 200
        assert "second-client" in browser.get(PREFIX).text
        form = TOKEN | {"client_id": "second-client", "client_secret": VALUES["client_secret"]}
        assert browser.post("/connect/token", base_url="https://localhost", data=form).status_code == 200
        app.extensions[EXTENSION].recorder.write()
        for command in (["purge"], ["attention"], ["keys", "rotate"]):
            result = app.test_cli_runner().invoke(args=["identity-clients", *command])
            assert result.exit_code == 0, result.output
    finally:
        engine.dispose()
        with owner.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {user}"))
            connection.execute(text(f"DROP ROLE {user}"))
        owner.dispose()


def test_a_hook_that_requires_sign_in_can_exempt_the_endpoint(sqlite_engine: Engine) -> None:
    """As the guide says: by the endpoint's blueprint name."""
    app = Flask("host")

    @app.before_request
    def demand_sign_in() -> Response | None:
        if request.blueprint == "identity_clients_endpoint":
            return None
        return None if request.cookies.get("user") else jsonify(error="sign in")

    make_client(sqlite_engine, account_id="northwind", client_id="first-client")
    browser = embed(app, sqlite_engine).test_client()
    assert browser.get(PREFIX).get_json() == {"error": "sign in"}
    for path in CONNECT:
        answer = browser.post(path, base_url="https://localhost", data=TOKEN | {"token": "x"})
        assert answer.status_code == 200
        assert "sign in" not in answer.text
    assert "keys" in browser.get("/.well-known/jwks.json", base_url="https://localhost").get_json()
