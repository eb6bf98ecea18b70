"""The difference that saving the selected roles would make, shown before they are saved."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.support.factories import make_client
from tests.support.host import HARBOUR, NORTHWIND, Host, make_host
from tests.support.markup import read
from tests.support.screens import submit
from webapp.core.clients.roles import DEFAULT_ROLES, ApiRole
from webapp.core.database.models import IdentityClient

ROLES = ("MerchantUser", "AccountViewer")
APPROVER = ApiRole(
    "Approver", "Approve payments", "Release payments.", "Approvals", ("a",), moves_money=True, releases_payments=True
)


@pytest.fixture
def client(host: Host) -> IdentityClient:
    """Return a client with two roles, neither of which moves money."""
    return make_client(host.engine, roles=ROLES)


def difference_text(html: str) -> str:
    """Return the text of an HTML fragment."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.replace("<svg", "\n<svg"))).strip()


def live(host: Host, client: IdentityClient | None, *roles: str) -> str:
    """Return the difference for the selected roles."""
    path = f"/check/roles?client={client.id}" if client else "/check/roles"
    answer = host.post(path, {"roles": list(roles)}, htmx=True)
    assert answer.status_code == 200
    return answer.text


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (ROLES, ""),
        (("AccountViewer", "MerchantUser"), ""),
        ((*ROLES, "ReportViewer"), "Added when you save: + Read reports"),
        (("MerchantUser",), "Removed when you save: − Read accounts"),
        ((), "Removed when you save: − API access − Read accounts"),
        (
            ("MerchantUser", "CreatePayment", "ReportViewer"),
            "It could move money in more ways than now. Added when you save: + Read reports + Create single payments"
            " Moves money Removed when you save: − Read accounts",
        ),
    ],
)
def test_added_and_removed_roles_are_listed(
    host: Host, client: IdentityClient, chosen: tuple[str, ...], words: str
) -> None:
    """Roles that move money are marked."""
    fragment = live(host, client, *chosen)
    assert difference_text(fragment) == words
    assert ("ic-due" in fragment) is ("money" in words)


def test_unchanged_roles_are_not_listed(host: Host, client: IdentityClient) -> None:
    assert "when you save" not in host.get(f"/{client.id}/edit").text
    assert "when you save" not in host.get("/new").text
    assert difference_text(live(host, None, "CreatePayment")) == ""


@pytest.mark.parametrize("htmx", [False, True])
def test_a_response_with_the_form_has_the_difference(host: Host, client: IdentityClient, htmx: bool) -> None:
    """Without JavaScript, after a refused save, and after a preset."""
    path = f"/{client.id}/edit"
    form: dict[str, Any] = read(host.get(path)).form(roles=["MerchantUser", "CreatePayment"])
    refused = host.post(path, {**form, "name": "ab"}, htmx=htmx)
    assert refused.status_code == 422
    assert "Added when you save: + Create single payments Moves money" in difference_text(refused.text)
    preset = host.post(f"{path}/form", {**form, "preset": "none"}, htmx=htmx)
    assert "Removed when you save: − API access − Read accounts" in difference_text(preset.text)


def test_a_role_that_is_no_longer_held_is_listed_once(host: Host, client: IdentityClient) -> None:
    """It has its own note (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser", "ReportViewer"}))
    page = host.get(f"/{client.id}/edit").text
    assert "they are removed when you save: <b>Read accounts</b>" in page
    assert "Removed when you save:" not in page
    assert difference_text(live(host, client, "MerchantUser")) == ""


def test_a_role_that_cannot_be_granted_is_not_listed(host: Host, client: IdentityClient) -> None:
    """Unknown keys, and roles that the account does not hold (A4, W17)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({*ROLES, "ReportViewer"}))
    assert difference_text(live(host, client, *ROLES, "<img/onerror=x>", "UploadBatches")) == ""


def test_roles_that_make_and_release_payments_get_a_warning(host: Host) -> None:
    """In New Client and in Edit; it does not block saving."""
    host = make_host(host.engine, api_roles=(*DEFAULT_ROLES, APPROVER))
    client = make_client(host.engine, roles=("CreatePayment",))
    warning = "This client could create and release the same payment."
    assert warning in live(host, None, "CreatePayment", "Approver")
    assert warning in live(host, client, "UploadBatches", "Approver")
    assert warning not in live(host, client, "AccountMovementEditor", "Approver")
    assert warning not in live(host, client, *(role.key for role in DEFAULT_ROLES))
    form = read(host.get(f"/{client.id}/edit")).form(roles=["CreatePayment", "Approver"])
    assert warning in host.post(f"/{client.id}/edit", {**form, "name": "ab"}).text
    assert submit(host, client, form).status_code == 303
    assert warning in host.get(f"/{client.id}/edit").text
    assert warning in host.get(f"/new?copy={client.id}").text


def test_the_difference_of_a_foreign_client_is_not_found(host: Host, client: IdentityClient) -> None:
    """A session's CSRF token is needed, and a foreign client looks like an absent one (W10, A3)."""
    answer = host.post(f"/check/roles?client={client.id}", {"roles": ["ReportViewer"]}, htmx=True, token=False)
    assert (answer.status_code, answer.text) == (422, "")
    host.actor = HARBOUR
    foreign = host.post(f"/check/roles?client={client.id}", {"roles": ["ReportViewer"]}, htmx=True)
    absent = host.post("/check/roles?client=nonsense", {"roles": ["ReportViewer"]}, htmx=True)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.text == absent.text
