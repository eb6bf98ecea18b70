"""A host application for benchmarks/pages.py: no sign-in, and the account is the seeded one. env: DATABASE_URL."""

import os

from flask import Flask

from tests.support.endpoint import settings
from tests.support.factories import PEPPER_SETTING
from webapp import Actor, IdentityClients

from .seed import ACCOUNT

ACTOR = Actor(
    id="admin-00@northwind.example",
    label="admin-00@northwind.example",
    account_id=ACCOUNT,
    account_name="Northwind Insurance",
    roles=frozenset({"MerchantAdmin"}),
    feature_enabled=True,
)
app = Flask(__name__)
app.config.update(settings(DATABASE_URL=os.environ["DATABASE_URL"], PEPPER=PEPPER_SETTING))
app.config["SECRET_KEY"] = "for-benchmarks-only"
identity_clients = IdentityClients()
identity_clients.init_app(app)
identity_clients.actor_loader(lambda: ACTOR)
