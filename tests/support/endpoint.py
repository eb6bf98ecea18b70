"""The identity endpoint within a small host, and functions that send requests to it."""

import base64
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Self
from urllib.parse import quote_plus, urlencode

import argon2
import pytest
from flask import Flask, Response, abort, request, session
from sqlalchemy import Engine, event, update
from werkzeug.test import TestResponse

from tests.support.applications import SharedApplication
from tests.support.factories import ACCOUNT, HASHER, PEPPER_SETTING, SECRET
from webapp import IdentityClients
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.models import ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import SecretHasher
from webapp.core.tokens.resource_servers import add_resource_server
from webapp.core.usage import queries
from webapp.host import EXTENSION, Services

ISSUER = "https://id.mas.example"
AUDIENCE = "https://api.mas.example"
ENCRYPTION_KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
API_SECRET = "the-secret-of-a-resource-server"
FORM = "application/x-www-form-urlencoded"
Parameters = Mapping[str, str] | list[tuple[str, str]]
Caller = IdentityClient | tuple[str, str]


def settings(**overrides: Any) -> dict[str, Any]:
    """Return a host's configuration."""
    given = {
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "PEPPER": PEPPER_SETTING,
        "KEY_ENCRYPTION_KEY": ENCRYPTION_KEY,
    }
    return {f"IDENTITY_CLIENTS_{name}": value for name, value in (given | overrides).items()}


class Endpoint:
    """A host application with the endpoint."""

    def __init__(self, engine: Engine, app: Flask | None = None, **overrides: Any) -> None:
        """Set up the endpoint in an application, by default a new one.

        :param overrides: settings without their prefix.
        """
        app = app or Flask("host")
        app.config.update(settings(ENGINE=engine, **overrides), PREFERRED_URL_SCHEME="https")
        IdentityClients().init_app(app)
        self._use(engine, app)

    @classmethod
    def shared(cls, engine: Engine, application: SharedApplication) -> Self:
        """Return the endpoint in an application that other tests use too."""
        endpoint = cls.__new__(cls)
        endpoint._use(engine, application.restart(engine))
        return endpoint

    def _use(self, engine: Engine, app: Flask) -> None:
        self.engine, self.app = engine, app
        self.client = app.test_client()

    @property
    def services(self) -> Services:
        services: Services = self.app.extensions[EXTENSION]
        return services

    def post(self, parameters: Parameters, path: str = "/connect/token", **options: Any) -> TestResponse:
        """Post a form, by default to the token endpoint."""
        return self.client.post(path, data=urlencode(parameters), content_type=FORM, **options)

    def request_token(
        self,
        client: IdentityClient | str,
        secret: str = SECRET,
        *,
        basic: bool = False,
        scope: str | None = None,
        address: str = "127.0.0.1",
    ) -> TestResponse:
        """Request a token as a client."""
        options: dict[str, Any] = {"environ_base": {"REMOTE_ADDR": address}}
        client_id = client if isinstance(client, str) else client.client_id
        grant = {"grant_type": "client_credentials"} | ({} if scope is None else {"scope": scope})
        if basic:
            return self.post(grant, headers={"Authorization": basic_header(client_id, secret)}, **options)
        return self.post({"client_id": client_id, "client_secret": secret, **grant}, **options)

    def token(self, client: IdentityClient | str, **options: Any) -> str:
        """Return a token of a client."""
        return str((self.request_token(client, **options).json or {})["access_token"])

    def introspect(self, token: str, caller: Caller) -> TestResponse:
        """Introspect a token."""
        return self.post({**_credentials(caller), "token": token}, "/connect/introspect")

    def revoke(self, token: str, caller: Caller, **parameters: str) -> TestResponse:
        """Revoke a token."""
        return self.post({**_credentials(caller), "token": token, **parameters}, "/connect/revocation")


def _credentials(caller: Caller) -> dict[str, str]:
    client_id, secret = (caller.client_id, SECRET) if isinstance(caller, IdentityClient) else caller
    return {"client_id": client_id, "client_secret": secret}


def add_api(engine: Engine, name: str = "payments-api", hasher: SecretHasher = HASHER) -> tuple[str, str]:
    """Add a resource server; return its ID and its secret."""
    with unit_of_work(engine) as session:
        server = add_resource_server(session, actor="tests", name=name, secret=Secret(API_SECRET), hasher=hasher)
    return server.resource_server_id, API_SECRET


def basic_header(client_id: str, secret: str) -> str:
    """Return an Authorization header after RFC 6749 section 2.3.1."""
    return "Basic " + base64.b64encode(f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()).decode()


def add_secret(
    engine: Engine,
    client: IdentityClient,
    value: str,
    label: str = "B",
    *,
    ends_at: datetime | None = None,
    paused_at: datetime | None = None,
    hasher: SecretHasher = HASHER,
) -> None:
    """Add a secret to a client."""
    stored = hasher.hash(Secret(value))
    with unit_of_work(engine) as session:
        session.add(
            ClientSecret(
                client_key=client.id,
                label=label,
                secret_hash=stored.value,
                pepper_version=stored.pepper_version,
                created_at=utc_now(),
                created_by="tests",
                ends_at=ends_at,
                paused_at=paused_at,
            )
        )


def change_secret(engine: Engine, client: IdentityClient, label: str = "A", **values: Any) -> None:
    """Set columns of a client's secret."""
    with unit_of_work(engine) as session:
        session.execute(
            update(ClientSecret).where(ClientSecret.client_key == client.id, ClientSecret.label == label).values(values)
        )


def store_weaker_hash(engine: Engine, client: IdentityClient, value: str = SECRET) -> None:
    """Replace a client's hash by one of a lower cost, as an older release may have stored it."""
    change_secret(engine, client, secret_hash=HASHER.argon2id(value, time_cost=1, memory_cost=8))


def store_as_legacy_hash(engine: Engine, client: IdentityClient, value: str, **values: Any) -> None:
    """Replace a client's hash by an argon2id hash, as a former release stored every secret."""
    change_secret(engine, client, secret_hash=HASHER.argon2id(value), legacy_scheme=True, **values)


def change_client(engine: Engine, client: IdentityClient, **values: Any) -> None:
    """Set columns of a client."""
    with unit_of_work(engine) as session:
        session.execute(update(IdentityClient).where(IdentityClient.id == client.id).values(values))


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """Collect every statement that the engine executes."""
    seen: list[str] = []

    def record_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    def record_direct_statement(self: FastReads, connection: Any, text: str, values: Any) -> Sequence[Any]:
        seen.append(text)
        return run(self, connection, text, values)

    run, FastReads._run = FastReads._run, record_direct_statement  # type: ignore[method-assign]
    event.listen(engine, "before_cursor_execute", record_statement)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", record_statement)
        FastReads._run = run  # type: ignore[method-assign]


@contextmanager
def argon2_computations() -> Iterator[list[str]]:
    """Collect the parameters of every argon2id computation of this process."""
    seen: list[str] = []
    module: Any = sys.modules[argon2.PasswordHasher.__module__]

    def counted_hash(secret: bytes, salt: bytes, **parameters: Any) -> bytes:
        hashed: bytes = original_hash(secret=secret, salt=salt, **parameters)
        seen.append(hashed.decode().rpartition("$")[0].rpartition("$")[0])
        return hashed

    def counted_verify(hashed: bytes, secret: bytes, type: Any) -> bool:  # noqa: A002 - the library's name
        seen.append(hashed.decode().rpartition("$")[0].rpartition("$")[0])
        return bool(original_verify(hashed, secret, type))

    original_hash, original_verify = module.hash_secret, module.verify_secret
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "hash_secret", counted_hash)
        patch.setattr(module, "verify_secret", counted_verify)
        yield seen


ENDPOINTS = ("/connect/token", "/connect/introspect", "/connect/revocation")


def latest_requests(endpoint: Endpoint, key: uuid.UUID) -> list[tuple[str, str | None, str | None]]:
    """Return outcome, secret label and address of a client's latest requests."""
    endpoint.services.recorder.write()
    with read_session(endpoint.engine) as session:
        return [(row.outcome, row.secret_label, row.address) for row in queries.recent_requests(session, ACCOUNT, key)]


JSON_HEADERS = {
    "Content-Type": "application/json",
    "Cache-Control": "no-store",
    "Pragma": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def interfering_host() -> Flask:
    """Return a host that sets cookies, allows all origins, and has error pages of its own."""
    app = Flask("host")
    app.secret_key = "s" * 32

    @app.before_request
    def write_session() -> None:
        session.permanent = True
        session["seen"] = True
        failure = request.headers.get("X-Trouble")
        if failure == "crash":
            raise RuntimeError(f"the host broke near {SECRET}")
        if failure:
            abort(int(failure))

    @app.after_request
    def allow_every_origin(response: Response) -> Response:
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Cache-Control"] = "public"
        response.headers["Content-Security-Policy"] = "default-src *"
        response.set_cookie("host", "1")
        return response

    for error in (400, 404, 405, 413, 500, Exception):
        app.register_error_handler(error, lambda _error: ("<h1>The host's own page</h1>", 418))
    return app


def raising(error: Exception) -> Callable[..., Any]:
    """Return a function that raises an error."""

    def fail(*_: object, **__: object) -> Any:
        raise error

    return fail


def assert_endpoint_response(response: Any, status: int) -> None:
    """Assert status and headers of a JSON response of the endpoint."""
    assert response.status_code == status
    assert {name: response.headers.get(name) for name in JSON_HEADERS} == JSON_HEADERS
    names = {name.lower() for name, _ in response.headers}
    assert "set-cookie" not in names
    assert not [name for name in names if name.startswith("access-control-")]
    assert len(response.headers) == len(names), "a header occurs twice"
    assert response.json is not None
    assert response.json.keys() <= {"error", "error_description", "access_token", "token_type", "expires_in", "scope"}
