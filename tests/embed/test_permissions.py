"""Permissions finer than view and manage: a setting maps host roles to create, edit, secrets and delete (A2)."""

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine

from tests.support.embedding import VALUES, create, embed
from tests.support.factories import make_client
from tests.support.host import HTMX, NORTHWIND, PREFIX, path_of
from webapp import SettingsError
from webapp.core.database.engine import make_engine
from webapp.core.database.models import IdentityClient
from webapp.settings import PERMISSIONS
from webapp.standalone.settings import _typed
from webapp.web.http.access import Access
from webapp.web.routes import ROUTES

ROLES = {
    "Creator": ("create",),
    "Editor": ["edit"],
    "Rotator": frozenset({"secrets"}),
    "Remover": {"delete"},
    "Clerk": ("create", "edit"),
    "Observer": (),
}
ALLOWED = {role: set(permissions) for role, permissions in ROLES.items()} | {"MerchantAdmin": set(PERMISSIONS)}
LINKS = {"create": "?copy=", "edit": '/edit"', "secrets": '/leaked"', "delete": '/delete"'}
"""A link or button that a page shows with each permission."""


@pytest.fixture
def sqlite_engine(sqlite_url: str) -> Iterator[Engine]:
    engine = make_engine(sqlite_url)
    yield engine
    engine.dispose()


@pytest.fixture
def client(sqlite_engine: Engine) -> IdentityClient:
    return make_client(sqlite_engine, account_id="northwind", client_id="first-client")


def browser_of(engine: Engine, *roles: str) -> FlaskClient:
    actor = replace(NORTHWIND, roles=frozenset(roles))
    return embed(Flask("host"), engine, lambda: actor, role_permissions=ROLES).test_client()


@pytest.mark.parametrize("role", ALLOWED)
def test_each_route_needs_its_permission(sqlite_engine: Engine, client: IdentityClient, role: str) -> None:
    """For GET and POST, independent of what a page shows (A2)."""
    browser, allowed = browser_of(sqlite_engine, role), ALLOWED[role]
    for rule, endpoint, _, methods, access in ROUTES:
        if access is Access.PUBLIC:
            continue
        may = {
            Access.VIEW: bool(allowed),
            Access.CHANGE: bool(allowed),
            Access.MANAGE: role == "MerchantAdmin",
        }.get(access, access.value in allowed)
        for method in methods:
            response = browser.open(path_of(rule, client), method=method, data={} if method == "POST" else None)
            assert (response.status_code != 403) is may, (method, endpoint, response.status_code)
            response.close()


@pytest.mark.parametrize("role", [role for role in ALLOWED if ALLOWED[role]])
@pytest.mark.parametrize("path", ["", "/menu"], ids=["details", "menu"])
def test_a_page_shows_permitted_actions_only(
    sqlite_engine: Engine, client: IdentityClient, role: str, path: str
) -> None:
    """Links to other actions are absent (A2)."""
    page = browser_of(sqlite_engine, role).get(f"{PREFIX}/{client.id}{path}").text
    shown = {permission for permission, link in LINKS.items() if link in page}
    assert shown == ALLOWED[role]


@pytest.mark.parametrize("role", [role for role in ALLOWED if ALLOWED[role]])
def test_new_client_is_shown_with_the_create_permission(sqlite_engine: Engine, role: str) -> None:
    """Without it the list has no such link (A2)."""
    page = browser_of(sqlite_engine, role).get(PREFIX).text
    assert (f'href="{PREFIX}/new"' in page) is ("create" in ALLOWED[role])


def test_permissions_of_several_roles_add_up(sqlite_engine: Engine, client: IdentityClient) -> None:
    """The actor has the union (A2)."""
    browser = browser_of(sqlite_engine, "Editor", "Remover")
    statuses = {path: browser.get(f"{PREFIX}/{client.id}/{path}").status_code for path in ("edit", "delete", "secret")}
    assert statuses == {"edit": 200, "delete": 200, "secret": 403}


@pytest.mark.parametrize(("roles", "status"), [(("Editor",), 422), (("Editor", "Rotator"), 200)])
def test_the_edit_form_changes_no_secret_without_the_secrets_permission(
    sqlite_engine: Engine, client: IdentityClient, roles: tuple[str, ...], status: int
) -> None:
    """The field is absent, and a posted value is refused (A2)."""
    browser = browser_of(sqlite_engine, *roles)
    page = browser.get(f"{PREFIX}/{client.id}/edit").text
    assert ('name="client_secret"' in page) is (status == 200)
    form = hidden(browser, f"{PREFIX}/{client.id}/edit")
    values = {**VALUES, "client_id": "first-client", **form}
    response = browser.post(f"{PREFIX}/{client.id}/edit", data=values, headers=HTMX)
    assert response.status_code == status
    assert ("may not change secrets" in response.text) is (status == 422)
    saved = browser.post(f"{PREFIX}/{client.id}/edit", data=values | {"client_secret": ""}, headers=HTMX)
    assert saved.status_code == (200 if status == 422 else 409)


def hidden(browser: FlaskClient, path: str) -> dict[str, str]:
    """Return the hidden fields of the form on a page."""
    return dict(re.findall(r'name="(csrf_token|version)"[^>]*value="([^"]*)"', browser.get(path).text))


def test_creating_sets_the_first_secret(sqlite_engine: Engine) -> None:
    """The create permission is enough for it (A2)."""
    assert create(browser_of(sqlite_engine, "Creator")).status_code == 200


@pytest.mark.parametrize("invalid", [{"Editor": "edit"}, {"Editor": ["write"]}, [("Editor", "edit")], "edit"])
def test_an_invalid_mapping_stops_the_start(sqlite_engine: Engine, invalid: Any) -> None:
    with pytest.raises(SettingsError, match="ROLE_PERMISSIONS must"):
        embed(Flask("host"), sqlite_engine, role_permissions=invalid)


def test_the_stand_alone_reads_the_mapping_as_json() -> None:
    name = "IDENTITY_CLIENTS_ROLE_PERMISSIONS"
    assert _typed(name, '{"Editor": ["edit"]}', None) == {"Editor": ["edit"]}
    with pytest.raises(SettingsError, match="JSON object"):
        _typed(name, "Editor: edit", None)


@pytest.mark.parametrize(
    ("role", "path", "text"),
    [
        ("Editor", "/{id}/secret", "You need a role that may change secrets."),
        ("Rotator", "/{id}/edit", "You need a role that may edit clients."),
        ("Editor", "/new", "You need a role that may create clients."),
        ("Creator", "/{id}/delete", "You need a role that may delete clients."),
        ("Stranger", "", "or another that may view clients."),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "htmx"])
def test_the_page_says_which_role_is_missing(
    sqlite_engine: Engine, client: IdentityClient, role: str, path: str, text: str, headers: dict[str, str]
) -> None:
    """Who may view clients gets no page that denies it (A2)."""
    response = browser_of(sqlite_engine, role).get(PREFIX + path.format(id=client.id), headers=headers)
    assert response.status_code == 403
    assert text in " ".join(response.text.split())
    assert ("cannot open Identity Clients" in response.text) is (role == "Stranger")
