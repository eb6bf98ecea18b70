"""`flask mas ...`: manage accounts and users without demo data."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from tests.support.mas import EMAIL, PASSWORD, Mas, is_signed_in, sign_in
from webapp.core.database.models import Account
from webapp.core.database.unit_of_work import read_session
from webapp.standalone import users
from webapp.standalone.models import MasAccount

TYPED = f"{PASSWORD}\n{PASSWORD}\n"


def stored_feature(mas: Mas, name: str) -> bool | None:
    """Return whether the identity endpoint has the feature enabled for an account; None if it has no record."""
    with read_session(mas.engine) as session:
        account_id = session.scalar(select(MasAccount.id).where(MasAccount.name == name))
        return session.scalar(select(Account.feature_enabled).where(Account.id == account_id))


def test_first_account_user_and_sign_in(mas: Mas, client: FlaskClient) -> None:
    """As the README describes for a real installation."""
    assert mas.run("upgrade") == (0, "All tables are up to date.\n")
    assert mas.run("account", "add", "Company") == (0, "Added the account Company.\n")
    assert stored_feature(mas, "Company") is False
    assert mas.run("account", "feature", "on", "company")[0] == 0
    assert stored_feature(mas, "Company") is True
    code, printed = mas.run(
        *("user", "add", EMAIL, "--account", "Company", "--name", "Ann", "--role", "MerchantAdmin"),
        *("--role", "MerchantUser"),
        typed=TYPED,
    )
    assert code == 0
    assert PASSWORD not in printed
    assert sign_in(client).status_code == 303
    assert "Open Identity Clients" in client.get("/").text
    assert mas.run("account", "list")[1] == "Company\tIdentity Clients on\tenabled\n"
    assert mas.run("user", "list")[1] == f"{EMAIL}\tAnn\tCompany\tMerchantAdmin,MerchantUser\tenabled\n"


def test_disabling_a_user(mas: Mas, client: FlaskClient) -> None:
    """Its sessions end, and it cannot sign in again."""
    mas.add_user()
    sign_in(client)
    assert mas.run("user", "disable", EMAIL.upper())[0] == 0
    assert not is_signed_in(client)
    assert sign_in(client).status_code == 422
    assert mas.run("user", "list")[1].endswith("\tdisabled\n")
    assert mas.run("user", "enable", EMAIL)[0] == 0
    assert sign_in(client).status_code == 303


def test_disabling_an_account(mas: Mas, client: FlaskClient) -> None:
    """Its users are signed out, and the endpoint has the feature disabled from the next request (A7)."""
    mas.add_user()
    mas.run("account", "feature", "on", "Company")
    sign_in(client)
    assert mas.run("account", "disable", "Company")[0] == 0
    assert not is_signed_in(client)
    assert sign_in(client).status_code == 422
    assert stored_feature(mas, "Company") is False
    assert mas.run("account", "list")[1] == "Company\tIdentity Clients on\tdisabled\n"
    assert mas.run("account", "feature", "on", "Company")[0] == 0
    assert stored_feature(mas, "Company") is False, "still disabled"
    assert mas.run("account", "enable", "Company")[0] == 0
    assert stored_feature(mas, "Company") is True
    assert sign_in(client).status_code == 303


def test_switching_the_feature_applies_to_the_next_request(mas: Mas, client: FlaskClient) -> None:
    """To the navigation and to the screens (A7)."""
    mas.add_user()
    mas.run("account", "feature", "off", "Company")
    sign_in(client)
    assert "Open Identity Clients" not in client.get("/").text
    assert client.get("/administration/identity-clients").status_code == 403
    mas.run("account", "feature", "on", "Company")
    assert "Open Identity Clients" in client.get("/").text


def test_a_new_password(mas: Mas, client: FlaskClient) -> None:
    """The old password is refused."""
    mas.add_user()
    new = "another long password"
    code, printed = mas.run("user", "password", EMAIL, typed=f"{new}\n{new}\n")
    assert code == 0
    assert new not in printed
    assert sign_in(client).status_code == 422
    assert sign_in(client, password=new).status_code == 303


@pytest.mark.parametrize(
    ("arguments", "typed", "message"),
    [
        (["account", "add", " company "], None, "already"),
        (["account", "add", "x" * 101], None, "1 to 100"),
        (["account", "add", "  "], None, "1 to 100"),
        (["account", "disable", "Nobody"], None, "flask mas account list"),
        (["account", "feature", "on", "Nobody"], None, "flask mas account list"),
        (["account", "feature", "maybe", "Company"], None, "'on', 'off'"),
        (["user", "disable", "nobody@company.test"], None, "flask mas user list"),
        (["user", "password", "nobody@company.test"], None, "flask mas user list"),
        (["user", "password", EMAIL], "too short\ntoo short\n", "12 to 128"),
    ],
)
def test_a_failed_command_prints_the_reason(mas: Mas, arguments: list[str], typed: str | None, message: str) -> None:
    """It changes nothing and exits with an error code."""
    mas.add_user()
    before = mas.run("user", "list"), mas.run("account", "list")
    code, printed = mas.run(*arguments, typed=typed)
    assert code != 0
    assert message in printed
    assert "Traceback" not in printed
    assert (mas.run("user", "list"), mas.run("account", "list")) == before


@pytest.mark.parametrize(
    ("email", "account", "name", "role", "message"),
    [
        (EMAIL.upper(), "Company", "Ann", "MerchantAdmin", "already"),
        ("no address", "Company", "Ann", "MerchantAdmin", "e-mail address"),
        ("a\x00@company.test", "Company", "Ann", "MerchantAdmin", "e-mail address"),
        (f"{'x' * 200}@company.test", "Company", "Ann", "MerchantAdmin", "e-mail address"),
        ("new@company.test", "Nobody", "Ann", "MerchantAdmin", "flask mas account list"),
        ("new@company.test", "Company", " ", "MerchantAdmin", "1 to 100"),
        ("new@company.test", "Company", "Ann", "merchantadmin", "ManageIdentityClients, MerchantAdmin, MerchantUser"),
    ],
)
def test_invalid_users_are_refused(mas: Mas, email: str, account: str, name: str, role: str, message: str) -> None:
    """With a message for each rule."""
    mas.add_user()
    code, printed = mas.run("user", "add", email, "--account", account, "--name", name, "--role", role, typed=TYPED)
    assert code != 0
    assert message in printed
    with read_session(mas.engine) as session:
        assert users.find_user(session, "new@company.test") is None
