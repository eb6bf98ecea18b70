"""Quayside: the portal in which merchants look after their payouts."""

import asyncio

from flask import Flask, jsonify, render_template
from flask_wtf import CSRFProtect
from werkzeug.middleware.proxy_fix import ProxyFix

from . import auth, commands, portal, security
from .clients import identity_clients
from .models import db

csrf = CSRFProtect()


def create_app(**config):
    app = Flask(__name__)
    app.config.from_mapping(SQLALCHEMY_DATABASE_URI="sqlite:///quayside.sqlite3", PROXIES=0)
    app.config.from_prefixed_env("QUAYSIDE")
    app.config.update(config)

    db.init_app(app)
    csrf.init_app(app)
    auth.init_app(app)
    security.init_app(app)
    app.register_blueprint(portal.bp)
    app.cli.add_command(commands.seed)

    app.config["IDENTITY_CLIENTS_PLATFORM_NAME"] = "Quayside"
    with app.app_context():
        app.config["IDENTITY_CLIENTS_ENGINE"] = db.engine
    identity_clients.init_app(app)

    @app.context_processor
    def frame():
        # The layout greets with these on every page.
        return {"title": "Quayside", "client": "merchant portal", "form": None}

    @app.get("/status")
    async def status():
        await asyncio.sleep(0)
        return jsonify(ok=True)

    for code in (403, 404, 500):
        app.register_error_handler(code, lambda error: (render_template("error.html", error=error), error.code))

    if app.config["PROXIES"]:
        n = app.config["PROXIES"]
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=n, x_proto=n, x_prefix=n)
    return app
