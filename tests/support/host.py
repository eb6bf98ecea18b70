"""A host application with the screens, whose actor is set by the test."""

import re
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.applications import SharedApplication
from tests.support.factories import PEPPER_SETTING
from webapp import Actor, IdentityClients
from webapp.core.database.models import IdentityClient

PREFIX = "/administration/identity-clients"
HTMX = {"HX-Request": "true", "HX-Request-Type": "partial"}
NORTHWIND = Actor(
    id="user-1",
    label="Priya Nair",
    account_id="northwind",
    account_name="Northwind Insurance",
    roles=frozenset({"MerchantAdmin"}),
    feature_enabled=True,
)


HARBOUR = replace(NORTHWIND, id="user-2", label="Tom Reilly", account_id="harbour", account_name="Harbour Claims")


class CompiledTemplates(BytecodeCache):
    """Cache compiled templates for all applications, since compiling takes most of a test's time."""

    compiled: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Load the bytecode that another application has compiled, unless the template has changed."""
        if bucket.key in self.compiled:
            bucket.bytecode_from_string(self.compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Store the bytecode."""
        self.compiled[bucket.key] = bucket.bytecode_to_string()


class BufferedClient(FlaskClient):
    """Read each response to its end as a browser does, so that its context ends with the request."""

    def open(self, *args: Any, buffered: bool = True, **options: Any) -> TestResponse:
        """Send a request; return the response."""
        return super().open(*args, buffered=buffered, **options)


def path_of(rule: str, client: IdentityClient, key: str = "") -> str:
    """Return the path of a route for a client, and for its first secret or key where the route has one.

    `add_notification_for` makes the target and the message that the routes of notifications have.

    :param key: replaces the client's own key.
    """
    path = PREFIX + rule.replace("<key>", key or str(client.id))
    path = path.replace("<channel>", "webhook").replace("<secret_id>", str(client.secrets[0].id))
    for name in ("<target_id>", "<message_id>"):
        path = path.replace(name, str(client.id))
    return path.replace("<key_id>", str((client.keys or client.secrets)[0].id))


@dataclass
class Host:
    """An application that embeds the screens.

    :param actor: the signed-in person, set by the test.
    """

    app: Flask
    engine: Engine
    actor: Actor | None = NORTHWIND
    _client: FlaskClient | None = field(default=None, repr=False)

    @classmethod
    def shared(cls, engine: Engine, application: SharedApplication) -> Self:
        """Return a host whose application other tests use too."""
        host: Self
        host = cls(application.restart(engine, lambda: host.actor), engine)
        return host

    @property
    def client(self) -> FlaskClient:
        """The test client, which keeps the cookies of one browser."""
        if self._client is None:
            self._client = self.app.test_client()
        return self._client

    def get(self, path: str = "", *, htmx: bool = False, **options: Any) -> TestResponse:
        """Send a GET below the prefix, as htmx or as a browser does."""
        return self.client.get(PREFIX + path, headers=HTMX if htmx else None, **options)

    def post(
        self, path: str, data: Any = None, *, htmx: bool = False, token: bool = True, **options: Any
    ) -> TestResponse:
        """Send a POST below the prefix, by default with this session's CSRF token."""
        data = dict(data or {})
        if token:
            data["csrf_token"] = self.csrf_token()
        return self.client.post(PREFIX + path, data=data, headers=HTMX if htmx else None, **options)

    def csrf_token(self) -> str:
        """Return the CSRF token of the New Client form in this session."""
        found = re.search(r'name="csrf_token"[^>]* value="([^"]+)"', self.get("/new").text)
        assert found
        return found[1]


def make_host(engine: Engine, **settings: Any) -> Host:
    """Return an application that embeds the screens on this engine."""
    app = Flask("mas", template_folder=None)  # otherwise ours, in the current directory, would count as the host's own
    app.secret_key = "k" * 32
    app.test_client_class = BufferedClient
    app.jinja_options = {"bytecode_cache": CompiledTemplates()}
    app.config.update(
        TESTING=False,
        IDENTITY_CLIENTS_ISSUER="https://identity.example",
        IDENTITY_CLIENTS_AUDIENCE="https://api.example",
        IDENTITY_CLIENTS_PEPPER=PEPPER_SETTING,
        IDENTITY_CLIENTS_KEY_ENCRYPTION_KEY="a" * 43,
        IDENTITY_CLIENTS_ENGINE=engine,
    )
    app.config.update({f"IDENTITY_CLIENTS_{name.upper()}": value for name, value in settings.items()})
    identity_clients = IdentityClients()
    identity_clients.init_app(app)
    host = Host(app, engine)
    identity_clients.actor_loader(lambda: host.actor)
    return host
