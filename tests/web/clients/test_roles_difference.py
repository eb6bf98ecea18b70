"""What saving the chosen roles would change, before they are saved."""

import re
from dataclasses import replace
from typing import Any

import pytest

from tests.support.factories import make_client
from tests.support.host import HARBOUR, NORTHWIND, Host, make_host
from tests.support.markup import read
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
    """Return the words of some markup."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.replace("<svg", "\n<svg"))).strip()


def live(host: Host, client: IdentityClient | None, *roles: str) -> str:
    """Return what is said as roles are chosen."""
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
def test_added_and_removed_as_roles_are_chosen(
    host: Host, client: IdentityClient, chosen: tuple[str, ...], words: str
) -> None:
    """Before Save, money-moving marked."""
    fragment = live(host, client, *chosen)
    assert difference_text(fragment) == words
    assert ("ic-due" in fragment) is ("money" in words)


def test_nothing_is_said_of_roles_that_are_as_they_are_stored(host: Host, client: IdentityClient) -> None:
    assert "when you save" not in host.get(f"/{client.id}/edit").text
    assert "when you save" not in host.get("/new").text
    assert difference_text(live(host, None, "CreatePayment")) == ""


@pytest.mark.parametrize("htmx", [False, True])
def test_an_answer_with_the_form_says_it_too(host: Host, client: IdentityClient, htmx: bool) -> None:
    """Without script, after a save that was refused and after a preset."""
    path = f"/{client.id}/edit"
    form: dict[str, Any] = read(host.get(path)).form(roles=["MerchantUser", "CreatePayment"])
    refused = host.post(path, {**form, "name": "ab"}, htmx=htmx)
    assert refused.status_code == 422
    assert "Added when you save: + Create single payments Moves money" in difference_text(refused.text)
    preset = host.post(f"{path}/form", {**form, "preset": "none"}, htmx=htmx)
    assert "Removed when you save: − API access − Read accounts" in difference_text(preset.text)


def test_a_role_that_is_no_longer_held_is_told_once(host: Host, client: IdentityClient) -> None:
    """By its own note (A4)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({"MerchantUser", "ReportViewer"}))
    page = host.get(f"/{client.id}/edit").text
    assert "they are removed when you save: <b>Read accounts</b>" in page
    assert "Removed when you save:" not in page
    assert difference_text(live(host, client, "MerchantUser")) == ""


def test_a_role_that_cannot_be_given_is_none_that_is_added(host: Host, client: IdentityClient) -> None:
    """A key that somebody made up, or that the account does not hold (A4, W17)."""
    host.actor = replace(NORTHWIND, grantable_roles=frozenset({*ROLES, "ReportViewer"}))
    assert difference_text(live(host, client, *ROLES, "<img/onerror=x>", "UploadBatches")) == ""


def test_roles_that_make_and_release_payments_are_warned_of(host: Host) -> None:
    """The prototype: in New Client as well as in Edit; a warning, no refusal."""
    host = make_host(host.engine, api_roles=(*DEFAULT_ROLES, APPROVER))
    client = make_client(host.engine, roles=("CreatePayment",))
    warning = "This client could create and release the same payment."
    assert warning in live(host, None, "CreatePayment", "Approver")
    assert warning in live(host, client, "UploadBatches", "Approver")
    assert warning not in live(host, client, "AccountMovementEditor", "Approver")
    assert warning not in live(host, client, *(role.key for role in DEFAULT_ROLES))
    form = read(host.get(f"/{client.id}/edit")).form(roles=["CreatePayment", "Approver"])
    assert warning in host.post(f"/{client.id}/edit", {**form, "name": "ab"}).text
    assert host.post(f"/{client.id}/edit", form).status_code == 303
    assert warning in host.get(f"/{client.id}/edit").text
    assert warning in host.get(f"/new?copy={client.id}").text


def test_it_is_told_to_nobody_else(host: Host, client: IdentityClient) -> None:
    """Not without the session's token, nor of another account's client, which is as absent as none (W10, A3)."""
    answer = host.post(f"/check/roles?client={client.id}", {"roles": ["ReportViewer"]}, htmx=True, token=False)
    assert (answer.status_code, answer.text) == (422, "")
    host.actor = HARBOUR
    foreign = host.post(f"/check/roles?client={client.id}", {"roles": ["ReportViewer"]}, htmx=True)
    absent = host.post("/check/roles?client=nonsense", {"roles": ["ReportViewer"]}, htmx=True)
    assert foreign.status_code == absent.status_code == 404
    assert foreign.text == absent.text
