"""The catalogue of API roles, checked at start (A4)."""

from dataclasses import replace
from typing import Any

import pytest

from webapp.core.clients.roles import DEFAULT_ROLES, ApiRole, RoleCatalogue
from webapp.settings import SettingsError

ROLE = ApiRole("Reader", "Read", "Reads.", "Read", ("API",))


def test_the_built_in_catalogue() -> None:
    catalogue = RoleCatalogue(DEFAULT_ROLES)
    assert {
        "MerchantUser",
        "CreatePayment",
        "CreateUrgentPayments",
        "UploadBatches",
        "MerchantCreateVoidRequest",
        "AccountMovementEditor",
    } <= catalogue.keys()
    assert {"API", "payment-requests", "stored-recipients"} <= set(catalogue.scopes(catalogue.values()))
    for role in catalogue.values():
        assert role.description.endswith(".")
    assert [role.key for role in catalogue.values() if role.moves_money] == [
        "CreatePayment",
        "CreateUrgentPayments",
        "UploadBatches",
        "AccountMovementEditor",
    ]


@pytest.mark.parametrize(
    "roles",
    [
        [],
        ["Reader"],
        [ROLE, ROLE],
        [replace(ROLE, key="")],
        [replace(ROLE, key='a"b')],
        [replace(ROLE, key="a b")],
        [replace(ROLE, key="a" * 61)],
        [replace(ROLE, key="a\n")],
        [replace(ROLE, name="")],
        [replace(ROLE, group="")],
        [replace(ROLE, scopes=())],
        [replace(ROLE, scopes=("a b",))],
        [replace(ROLE, scopes=('a"b',))],
        [replace(ROLE, scopes=("",))],
        [replace(ROLE, scopes=("é",))],
        [replace(ROLE, scopes=("s" * 61,))],
    ],
)
def test_an_invalid_catalogue_stops_the_start(roles: list[Any]) -> None:
    with pytest.raises(SettingsError, match="IDENTITY_CLIENTS_API_ROLES"):
        RoleCatalogue(roles)


def test_keys_and_scopes_have_up_to_60_characters() -> None:
    catalogue = RoleCatalogue([replace(ROLE, key="k" * 60, scopes=("s" * 60,))])
    assert catalogue.scopes(catalogue.values()) == ("s" * 60,)


def test_a_scope_given_without_its_comma_stops_the_start() -> None:
    """`("API")` is a string, and each of its letters would become a scope."""
    scopes: Any = "API"
    with pytest.raises(SettingsError, match="tuple of scopes"):
        RoleCatalogue([replace(ROLE, scopes=scopes)])


def test_grantable_roles_and_effective_roles() -> None:
    """A role that the account lost is not effective (A4)."""
    catalogue = RoleCatalogue(
        [replace(ROLE, key=key, scopes=scopes) for key, scopes in (("A", ("x", "y")), ("B", ("y", "z")))]
    )
    assert [role.key for role in catalogue.grantable(None)] == ["A", "B"]
    assert [role.key for role in catalogue.grantable({"B", "Gone"})] == ["B"]
    assert [role.key for role in catalogue.grantable(())] == []
    assert [role.key for role in catalogue.effective({"A", "B", "Gone"}, {"A", "Gone"})] == ["A"]
    assert catalogue.scopes(catalogue.grantable(None)) == ("x", "y", "z")
