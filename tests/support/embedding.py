"""Applications that embed the product."""

import re
from collections.abc import Callable
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from tests.support.endpoint import settings
from tests.support.factories import SECRET
from tests.support.host import HTMX, NORTHWIND, PREFIX
from webapp import IdentityClients

TOKEN = {"grant_type": "client_credentials", "client_id": "first-client", "client_secret": SECRET}
VALUES = {
    "client_id": "second-client",
    "client_secret": "a secret of sixteen and more",
    "token_duration": "25",
    "roles": "MerchantUser",
}


def embed(app: Flask, engine: Engine, loader: Callable[[], Any] = lambda: NORTHWIND, **overrides: Any) -> Flask:
    """Add the product to an application as a host does."""
    app.secret_key = app.secret_key or "k" * 32
    app.config.update(settings(ENGINE=engine, **{name.upper(): value for name, value in overrides.items()}))
    identity_clients = IdentityClients()
    identity_clients.actor_loader(loader)
    identity_clients.init_app(app)
    return app


def create(client: FlaskClient, prefix: str = PREFIX, *, htmx: bool = False, **changes: str) -> TestResponse:
    """Create a client through the form as a browser does."""
    page = client.get(f"{prefix}/new").text
    found = {name: re.search(rf'name="{name}"[^>]*value="([^"]*)"', page) for name in ("csrf_token", "creation_key")}
    hidden = {name: match[1] if match else "" for name, match in found.items()}
    return client.post(f"{prefix}/new", data={**hidden, **VALUES, **changes}, headers=HTMX if htmx else None)
