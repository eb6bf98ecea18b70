"""The stand-alone application with accounts and users, and its sign-in form."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.host import PREFIX
from webapp.core.database.unit_of_work import unit_of_work
from webapp.host import EXTENSION
from webapp.standalone import users

PASSWORD = "a long enough password"
EMAIL = "admin@company.test"


@dataclass
class Mas:
    """The stand-alone application with one account, `Company`, and the users that a test adds.

    :param app: the tested application.
    """

    app: Flask

    @property
    def engine(self) -> Engine:
        """The application's own engine."""
        engine: Engine = self.app.extensions[EXTENSION].engine
        return engine

    def add_account(self, name: str = "Company", *, feature: bool = True) -> str:
        """Add an account; return its name."""
        with unit_of_work(self.engine) as session:
            users.add_account(session, name, feature_enabled=feature)
        return name

    def add_user(
        self, email: str = EMAIL, *, account: str = "Company", roles: Collection[str] = ("MerchantAdmin",)
    ) -> str:
        """Add a user with the password `PASSWORD`, and the account if it is missing; return the address."""
        with unit_of_work(self.engine) as session:
            found = users.find_account(session, account) or users.add_account(session, account, feature_enabled=True)
            hashed = users.hash_password(PASSWORD)
            users.add_user(session, found, email=email, name="Ann Example", roles=roles, password_hash=hashed)
        return email

    def run(self, *arguments: str, typed: str | None = None) -> tuple[int, str]:
        """Run `flask mas ...`; return its exit code and its output."""
        result = self.app.test_cli_runner().invoke(args=["mas", *arguments], input=typed)
        return result.exit_code, result.output


def csrf_token(client: FlaskClient, path: str = "/login") -> str:
    """Return the CSRF token of a page's form."""
    found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', client.get(path).text)
    assert found, f"no form on {path}"
    return found[1]


def sign_in(
    client: FlaskClient, email: str = EMAIL, password: str = PASSWORD, *, path: str = "/login", **options: Any
) -> TestResponse:
    """Submit the sign-in form."""
    values = {"email": email, "password": password, "csrf_token": csrf_token(client)}
    return client.post(path, data=values, **options)


def creation_form(client: FlaskClient, client_id: str = "northwind-new") -> dict[str, str]:
    """Return a valid form of New Client for a signed-in user."""
    return {
        "client_id": client_id,
        "client_secret": "a-secret-of-good-length",
        "token_duration": "15",
        "roles": "MerchantUser",
        "csrf_token": csrf_token(client, f"{PREFIX}/new"),
        "creation_key": "once",
    }


def sign_out(client: FlaskClient) -> TestResponse:
    """Submit the sign-out form of the start page."""
    return client.post("/logout", data={"csrf_token": csrf_token(client, "/")})


def is_signed_in(client: FlaskClient) -> bool:
    """Return whether the start page opens."""
    return client.get("/").status_code == 200
