"""The management API within a small host, and a client that calls it."""

import json
from collections.abc import Collection, Mapping
from typing import Any, Self

from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.applications import SharedApplication
from tests.support.endpoint import Endpoint
from tests.support.factories import ACCOUNT, SECRET, make_account, make_author, make_client
from webapp.core.account_settings import set_management_api
from webapp.core.clients.roles import DEFAULT_ROLES, MANAGEMENT_ROLE, RoleCatalogue
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import unit_of_work

PREFIX = "/api/identity-clients/v1"
READ, WRITE = "identity-clients:read", "identity-clients:write"
API_CATALOGUE = RoleCatalogue((*DEFAULT_ROLES, MANAGEMENT_ROLE))
HELD = ("ManageIdentityClients", "MerchantUser", "ReportViewer")
"""The roles of the client that calls the API."""
PATCH_TYPE = "application/merge-patch+json"


def allow_api(engine: Engine, account_id: str = ACCOUNT, *, allowed: bool = True) -> None:
    """Switch the management API on or off for an account, as an administrator does."""
    with unit_of_work(engine) as session:
        set_management_api(session, author=make_author(account_id), enabled=allowed)


def make_caller(
    engine: Engine, client_id: str = "deployer", roles: Collection[str] = HELD, **options: Any
) -> IdentityClient:
    """Create a client that may call the management API."""
    return make_client(engine, client_id=client_id, roles=roles, catalogue=API_CATALOGUE, **options)


class Api(Endpoint):
    """The management API in an application that other tests use too; its account allows it.

    :ivar caller: the client that calls it.
    """

    @classmethod
    def ready(cls, engine: Engine, application: SharedApplication) -> Self:
        """Return the API with an account that allows it and a caller."""
        api = cls.shared(engine, application)
        make_account(engine)
        allow_api(engine)
        api.caller = make_caller(engine)
        return api

    caller: IdentityClient

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        version: int | str | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = None,
        **options: Any,
    ) -> TestResponse:
        """Send a request below the prefix.

        :param version: the version in `If-Match`, or the whole header.
        :param token: replaces a new token of the caller.
        """
        sent = {"Authorization": f"Bearer {self.token(self.caller) if token is None else token}"}
        if version is not None:
            sent["If-Match"] = f'"{version}"' if isinstance(version, int) else version
        if body is not None:
            options["data"] = body if isinstance(body, bytes | str) else json.dumps(body)
            options["content_type"] = content_type or (PATCH_TYPE if method == "PATCH" else "application/json")
        url = path if path.startswith(PREFIX) else PREFIX + path
        return self.client.open(url, method=method, headers={**sent, **(headers or {})}, **options)

    def create(self, **members: Any) -> dict[str, Any]:
        """Create a client through the API; return the response's body."""
        body = {"client_id": f"made-by-api-{len(members)}", "roles": ["MerchantUser"]} | members
        response = self.call("POST", "/clients", body)
        assert response.status_code == 201, response.text
        created: dict[str, Any] = response.json  # type: ignore[assignment]
        return created

    def events(self, **arguments: str) -> list[dict[str, Any]]:
        """Return the audit events of the account, newest first, as the API lists them."""
        response = self.call("GET", "/events", query_string=arguments)
        assert response.status_code == 200, response.text
        items: list[dict[str, Any]] = response.json["items"]  # type: ignore[index]
        return items


def problem_of(response: TestResponse) -> tuple[int, str]:
    """Return status and type of a problem."""
    assert response.content_type == "application/problem+json", response.text
    body = response.json or {}
    assert body["status"] == response.status_code
    return response.status_code, body["type"].rpartition("#")[2]


def fields_of(response: TestResponse) -> list[str]:
    """Return the pointers, arguments and headers that the errors of a problem name."""
    errors = (response.json or {})["errors"]
    return [error.get("pointer") or error.get("parameter") or error.get("header") or "" for error in errors]


__all__ = ["ACCOUNT", "HELD", "PREFIX", "READ", "SECRET", "WRITE", "Api", "allow_api", "fields_of", "problem_of"]
