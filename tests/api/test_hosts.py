"""The management API in a host: CSRF layers, hooks, catalogue, prefix (E1, E2, E6)."""

from typing import Any

import pytest
from flask import Flask, request
from flask_wtf import CSRFProtect
from sqlalchemy import Engine

from tests.support.api import PREFIX, allow_api, fields_of, make_caller, problem_of
from tests.support.endpoint import Endpoint, settings
from tests.support.factories import make_account, make_client
from webapp import MANAGEMENT_ROLE, ApiRole, Change, FieldError, IdentityClients, SettingsError
from webapp.host import EXTENSION, Services

NEW = {"client_id": "claims-feed", "roles": ["MerchantUser"]}


def make_app(engine: Engine, app: Flask | None = None, **overrides: Any) -> Flask:
    """Return a host with the API, and an account that allows it."""
    app = app or Flask("host")
    app.secret_key = "s" * 32
    Endpoint(engine, app, API_ENABLED=True, **overrides)
    make_account(engine)
    allow_api(engine)
    return app


def token_of(app: Flask, engine: Engine, **options: Any) -> dict[str, str]:
    """Return the header with an access token of a new caller."""
    form = {"grant_type": "client_credentials", "client_id": make_caller(engine, **options).client_id}
    form["client_secret"] = "correct-horse-battery-staple"
    answer = app.test_client().post("/connect/token", data=form)
    return {"Authorization": f"Bearer {(answer.json or {})['access_token']}"}


@pytest.mark.parametrize("csrf_first", [True, False])
def test_a_csrf_layer_of_the_host_spares_the_api_and_nothing_else(sqlite_engine: Engine, csrf_first: bool) -> None:
    """A caller is known by its token alone, which no browser sends by itself (E1)."""
    app = Flask("host")
    app.add_url_rule("/elsewhere", "elsewhere", lambda: "changed", methods=["POST"])
    if csrf_first:
        CSRFProtect(app)
    make_app(sqlite_engine, app)
    if not csrf_first:
        CSRFProtect(app)
    browser, header = app.test_client(), token_of(app, sqlite_engine)
    assert browser.post(f"{PREFIX}/clients", json=NEW, headers=header).status_code == 201
    assert browser.post("/elsewhere").status_code == 400


def test_cookies_do_not_authenticate(sqlite_engine: Engine) -> None:
    """A session of a signed-in administrator does not either."""
    app = make_app(sqlite_engine)
    browser = app.test_client()
    with browser.session_transaction() as session:
        session["_user_id"] = "admin"
    assert browser.post(f"{PREFIX}/clients", json=NEW).status_code == 401


def test_a_hook_of_the_host_may_read_the_body_before_us(sqlite_engine: Engine) -> None:
    app = Flask("host")
    app.before_request(lambda: request.get_data() and None)
    make_app(sqlite_engine, app)
    response = app.test_client().post(f"{PREFIX}/clients", json=NEW, headers=token_of(app, sqlite_engine))
    assert response.status_code == 201


def test_the_host_may_refuse_a_change(sqlite_engine: Engine) -> None:
    """A `FieldError` of its `before_change` function is an error of the member, and nothing is changed."""
    app = Flask("host")
    app.config.update(settings(ENGINE=sqlite_engine, API_ENABLED=True), PREFERRED_URL_SCHEME="https")
    identity_clients = IdentityClients()

    @identity_clients.before_change
    def refuse(change: Change) -> None:
        if change.actor_id.startswith("client:"):
            raise FieldError("token_duration", "Not on Fridays.")

    identity_clients.init_app(app)
    make_account(sqlite_engine)
    allow_api(sqlite_engine)
    client, header = make_client(sqlite_engine), token_of(app, sqlite_engine)
    browser, url = app.test_client(), f"{PREFIX}/clients/{client.id}"
    patch = {"headers": header | {"If-Match": '"1"'}, "content_type": "application/merge-patch+json"}
    response = browser.patch(url, data='{"token_duration_minutes": 10}', **patch)
    assert problem_of(response) == (422, "invalid-fields")
    assert response.json["errors"] == [{"detail": "Not on Fridays.", "pointer": "#/token_duration_minutes"}]  # type: ignore[index]
    for method, path in (("POST", "/revoke-tokens"), ("POST", "/disable"), ("DELETE", "")):
        refused = browser.open(url + path, method=method, headers=patch["headers"])
        assert fields_of(refused) == ["#/token_duration_minutes"], path
    assert browser.get(url, headers=header).json["version"] == 1  # type: ignore[index]


@pytest.mark.parametrize(
    ("roles", "is_fit"),
    [
        ((ApiRole("Reader", "Read", "Reads.", "Read", ("read",)),), False),
        ((ApiRole("Reader", "Read", "Reads.", "Read", ("read",)), MANAGEMENT_ROLE), True),
        ((ApiRole("Lister", "List", "Lists clients.", "Read", ("identity-clients:read",)),), True),
    ],
)
def test_a_catalogue_of_the_host_has_a_role_for_the_api(
    sqlite_engine: Engine, roles: tuple[ApiRole, ...], is_fit: bool
) -> None:
    if not is_fit:
        with pytest.raises(SettingsError, match="API_ENABLED needs a role"):
            make_app(sqlite_engine, API_ROLES=roles)
        return
    services: Services = make_app(sqlite_engine, API_ROLES=roles).extensions[EXTENSION]
    assert [role.key for role in services.catalogue.values() if role.manages_clients] == [roles[-1].key]


def test_the_prefix_is_a_setting_and_a_clash_stops_the_start(sqlite_engine: Engine) -> None:
    app = make_app(sqlite_engine, API_PREFIX="/manage/v9")
    document = app.test_client().get("/manage/v9/openapi.json").json or {}
    assert document["servers"][0]["url"].endswith("/manage/v9")
    clashing = Flask("host")
    clashing.add_url_rule("/api/identity-clients/v1/clients", "mine", lambda: "mine")
    with pytest.raises(SettingsError, match="API_PREFIX"):
        make_app(sqlite_engine, clashing)
    named = Flask("identity_clients_api")
    named.blueprints["identity_clients_api"] = None  # type: ignore[assignment]
    with pytest.raises(SettingsError, match="BLUEPRINT_NAME"):
        make_app(sqlite_engine, named)


def test_a_setting_changed_after_the_start_is_an_error(sqlite_engine: Engine) -> None:
    """As on the screens (E6)."""
    app = make_app(sqlite_engine)
    app.config["IDENTITY_CLIENTS_API_PREFIX"] = "/other"
    assert problem_of(app.test_client().get(f"{PREFIX}/clients")) == (500, "server-error")


@pytest.mark.parametrize(("host", "status"), [("mas.example", 401), ("evil.example", 400)])
def test_other_host_names_are_refused(sqlite_engine: Engine, host: str, status: int) -> None:
    """In JSON (C5)."""
    app = make_app(sqlite_engine, TRUSTED_HOSTS=("mas.example",))
    response = app.test_client().get(f"{PREFIX}/clients", base_url=f"https://{host}")
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
