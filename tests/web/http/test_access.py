"""Access control: every route for every kind of user."""

import re
import uuid
from dataclasses import replace

import pytest
from sqlalchemy import Engine, event

from tests.support.factories import make_client
from tests.support.host import HARBOUR, HTMX, NORTHWIND, Host, make_host, path_of
from tests.support.notifications import add_notification_for
from webapp import Actor
from webapp.core.database.models import Account
from webapp.core.database.unit_of_work import read_session
from webapp.host import EXTENSION
from webapp.web.http.access import Access
from webapp.web.routes import PERMISSIONS, ROUTES, make_blueprint

ACTORS: dict[str, Actor | None] = {
    "MerchantAdmin": NORTHWIND,
    "ManageIdentityClients": replace(NORTHWIND, roles=frozenset({"ManageIdentityClients"})),
    "viewer": replace(NORTHWIND, roles=frozenset({"Auditor"})),
    "MerchantUser": replace(NORTHWIND, roles=frozenset({"MerchantUser"})),
    "signed out": None,
    "no account": replace(NORTHWIND, account_id=""),
    "feature off": replace(NORTHWIND, feature_enabled=False),
    "feature off, no role": replace(NORTHWIND, feature_enabled=False, roles=frozenset()),
}
# What an actor gets: by access list, for a GET and for a POST. "open" is any status but a refusal by access control.
SIGN_IN = 401  # this host names no sign-in page, so the answer is not a redirect
EXPECTED: dict[str, dict[Access, tuple[str | int, str | int]]] = {
    "MerchantAdmin": {Access.VIEW: ("open", "open"), Access.CHANGE: ("open", "open")},
    "ManageIdentityClients": {Access.VIEW: ("open", "open"), Access.CHANGE: ("open", "open")},
    "viewer": {Access.VIEW: ("open", 403), Access.CHANGE: (403, 403)},
    "MerchantUser": {Access.VIEW: (403, 403), Access.CHANGE: (403, 403)},
    "signed out": {Access.VIEW: (SIGN_IN, SIGN_IN), Access.CHANGE: (SIGN_IN, SIGN_IN)},
    "no account": {Access.VIEW: (SIGN_IN, SIGN_IN), Access.CHANGE: (SIGN_IN, SIGN_IN)},
    "feature off": {Access.VIEW: (403, 403), Access.CHANGE: (403, 403)},
    "feature off, no role": {Access.VIEW: (403, 403), Access.CHANGE: (403, 403)},
}
FORM = "application/x-www-form-urlencoded"
KEYED = [route for route in ROUTES if "<key>" in route[0]]


@pytest.fixture
def viewing_host(host: Host) -> Host:
    """Return a host where the role Auditor may view."""
    return make_host(host.engine, viewer_roles=("Auditor",), api_enabled=True)


def test_every_route_is_in_exactly_one_access_list(host: Host) -> None:
    """No route is left out or listed twice (A1)."""
    routes = {
        rule.endpoint.removeprefix("identity_clients.")
        for rule in host.app.url_map.iter_rules()
        if rule.endpoint.startswith("identity_clients.")
    }
    assert routes == set(PERMISSIONS)
    others = {rule.endpoint for rule in host.app.url_map.iter_rules() if "." in rule.endpoint}
    assert {name.split(".")[0] for name in others} == {"identity_clients", "identity_clients_endpoint"}


def test_an_unlisted_route_answers_403(sqlite_engine: Engine) -> None:
    """A view without an access list is refused, even to a Merchant Admin (A1)."""
    host = make_host(sqlite_engine)
    blueprint = make_blueprint()
    blueprint.add_url_rule("/forgotten", "forgotten", lambda: "open")
    host.app.register_blueprint(blueprint, name="more", url_prefix="/more")
    assert host.client.get("/more/forgotten").status_code == 403


@pytest.mark.parametrize("kind", ACTORS)
def test_roles_by_routes(viewing_host: Host, kind: str) -> None:
    """Each route, each kind of user, GET and POST (A2, A1, E3)."""
    client = make_client(viewing_host.engine, account_id="northwind", client_id="northwind-1")
    add_notification_for(viewing_host.engine, client)
    viewing_host.actor = ACTORS[kind]
    for rule, endpoint, _, methods, access in ROUTES:
        path = path_of(rule, client)
        if access is Access.PUBLIC:
            continue
        for method, expected in zip(
            ("GET", "POST"), EXPECTED[kind][Access.VIEW if access is Access.VIEW else Access.CHANGE], strict=True
        ):
            if method not in methods:
                continue
            status = viewing_host.client.open(path, method=method, content_type=FORM).status_code
            if expected == "open":
                # Only access is tested here: the client has neither this request nor a key.
                absent = (404,) if "<number>" in rule or "<key_id>" in rule else ()
                assert status in (200, 422, *absent), f"{method} {endpoint}: {status}"
            else:
                assert status == expected, f"{method} {endpoint}"


@pytest.mark.parametrize(
    ("kind", "texts"),
    [
        ("MerchantUser", ("Merchant Admin", "Manage Identity Clients")),
        ("feature off", ("relationship manager", "Northwind Insurance")),
    ],
)
def test_the_403_page_says_what_is_missing_and_whom_to_ask(host: Host, kind: str, texts: tuple[str, str]) -> None:
    """A role, which Merchant Admins give, or the feature, which the relationship manager enables (A2)."""
    host.actor = ACTORS[kind]
    page = host.get()
    assert page.status_code == 403
    assert all(text in page.text for text in texts)


def _statements(host: Host) -> list[str]:
    found: list[str] = []
    event.listen(host.engine, "before_cursor_execute", lambda *arguments: found.append(arguments[2]))
    return found


def _without_tokens(html: str) -> str:
    return re.sub(r'name="csrf_token"[^>]*value="[^"]*"', "", html)


@pytest.mark.parametrize("htmx", [False, True], ids=["plain", "htmx"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_foreign_client_is_answered_like_an_absent_one(host: Host, method: str, htmx: bool) -> None:
    """Equal status, bytes and number of statements; for a malformed key all but the statements (A3)."""
    make_client(host.engine, account_id="northwind", client_id="northwind-1")
    foreign = make_client(host.engine, account_id="harbour", client_id="harbour-1")
    token = host.csrf_token()
    statements = _statements(host)
    for rule, endpoint, _, methods, _ in KEYED:
        if method not in methods:
            continue
        seen = []
        for key in (
            str(foreign.id),
            str(uuid.uuid4()),
            "nonsense",
            str(foreign.id).upper(),
            "{" + str(foreign.id) + "}",
        ):
            statements.clear()
            answer = host.client.open(
                path_of(rule, foreign, key),
                method=method,
                data={"csrf_token": token, "version": "1"} if method == "POST" else None,
                headers=HTMX if htmx else None,
            )
            headers = [(name, value) for name, value in answer.headers if name not in ("Date", "X-Request-ID")]
            seen.append((answer.status_code, headers, _without_tokens(answer.text), len(statements)))
        assert seen[0][0] == 404, endpoint
        assert seen[0] == seen[1], endpoint
        assert all(entry[:3] == seen[0][:3] for entry in seen[2:]), endpoint


def test_the_list_shows_only_the_actors_account(host: Host) -> None:
    """Clients of other accounts are absent (A3)."""
    make_client(host.engine, account_id="northwind", client_id="northwind-1")
    make_client(host.engine, account_id="harbour", client_id="harbour-secret-project")
    assert "northwind-1" in host.get().text
    for path in ("", "?q=harbour", "?sort=-updated_at", "?status=enabled"):
        assert "harbour-secret-project" not in host.get(path).text
    host.actor = HARBOUR
    assert "harbour-secret-project" in host.get().text


def test_a_loader_that_raises_is_a_500_without_data(host: Host) -> None:
    """The page holds no detail of the error (E3, L5)."""
    make_client(host.engine, account_id="northwind", client_id="northwind-1")

    def failing_loader() -> Actor | None:
        raise RuntimeError("the user table of the host is gone")

    host.app.extensions[EXTENSION] = replace(host.app.extensions[EXTENSION], load_actor=failing_loader)
    page = host.get()
    assert page.status_code == 500
    assert "northwind-1" not in page.text
    assert "user table" not in page.text


def test_a_lost_role_and_a_feature_switched_off_count_from_the_next_request(host: Host) -> None:
    """A change of role or feature applies to the next request of the screens (A7)."""
    assert host.get().status_code == 200
    host.actor = ACTORS["MerchantUser"]
    assert host.get().status_code == 403
    host.actor = ACTORS["feature off"]
    assert host.get().status_code == 403
    host.actor = NORTHWIND
    assert host.get().status_code == 200


@pytest.mark.parametrize("change", [False, True], ids=["refused", "saved"])
def test_what_the_endpoint_knows_of_an_account_is_stored_with_a_change_only(host: Host, change: bool) -> None:
    """Access control writes nothing; a saved change stores the feature and API roles of the account (A4, A7)."""
    client = make_client(host.engine, account_id="northwind", client_id="northwind-1")
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser"}))
    version = client.version if change else 9999
    answer = host.post(f"/{client.id}/disable", {"version": str(version)})
    assert answer.status_code == (303 if change else 409)
    with read_session(host.engine) as session:
        granted = session.get_one(Account, "northwind").grantable_roles
    assert granted == (frozenset({"MerchantUser"}) if change else None)
