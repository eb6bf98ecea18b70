"""A small merchant administration portal, so that Identity Clients runs without a host. It embeds it as a host does."""

import logging
import os
from collections.abc import Mapping
from typing import Any

from flask import Flask
from sqlalchemy import inspect, select
from werkzeug.middleware.proxy_fix import ProxyFix

from ..core.database.unit_of_work import read_session
from ..core.errors import Unavailable
from ..core.paths import resource_folder
from ..core.secrets.argon2_pool import set_pool_size
from ..extension import IdentityClients
from ..host import EXTENSION, Services
from ..settings import PREFIX, SettingsError
from . import cli, error_pages, language, layout, sessions, settings, transport, views
from .body_deadline import BodyDeadline
from .demo import DEMO_EMAILS
from .models import MasUser
from .sign_in_limits import SignInLimits
from .token_fast_path import TokenFastPath
from .tracing import traced

LOG = logging.getLogger(__name__)


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """Return the stand-alone application.

    :param config: the settings, by default the environment; values may be strings as in an environment.
    :raises SettingsError: a setting is missing, unknown or unsafe (C3).
    """
    values = settings.read(os.environ if config is None else config)
    development = values.get(f"{PREFIX}DEVELOPMENT", False)
    app = Flask(
        __name__,
        template_folder=str(resource_folder("templates") / "standalone"),
        static_folder=None,
        instance_path=values["INSTANCE_PATH"],
    )
    app.config.update(values)
    if app.debug and not development:
        raise SettingsError("FLASK_DEBUG must be off: debug pages show code and values. Leave it out.")

    IdentityClients().init_app(app)
    services: Services = app.extensions[EXTENSION]
    app.register_blueprint(views.make_blueprint(SignInLimits(services.rate_limits.counters)))
    app.cli.add_command(cli.commands)
    sessions.init_app(app)
    language.init_app(app)
    layout.init_app(app)
    error_pages.init_app(app)
    transport.init_app(app, development=development)
    set_pool_size(values["PROCESSES"])
    _add_middleware(app, services)
    if not development:
        _refuse_demo_users(services)
        _warn_of_separate_rate_limits(values["PROCESSES"], services)
    return app


def _add_middleware(app: Flask, services: Services) -> None:
    if services.settings.trusted_proxies:
        # Only the scheme: client_address() reads the address, and the Host header is passed on unchanged by proxies.
        # Each proxy passes the scheme on unchanged too, so the entry of the nearest one is right for any number.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=0, x_proto=1)  # type: ignore[method-assign]
    fast_path = TokenFastPath(app.wsgi_app, services)
    app.wsgi_app = traced(fast_path, services.settings.token_path)  # type: ignore[assignment,method-assign]
    app.wsgi_app = BodyDeadline(app.wsgi_app, services.settings, settings.BODY_LIMIT_BYTES)  # type: ignore[method-assign]


def _refuse_demo_users(services: Services) -> None:
    """Refuse to start in production with users whose password may be known.

    :raises SettingsError: the database contains demo users, or is out of reach.
    """
    try:
        with read_session(services.engine) as session:
            if not inspect(session.connection()).has_table(MasUser.__tablename__):
                return
            found = session.scalar(select(MasUser.id).where(MasUser.email_folded.in_(DEMO_EMAILS)).limit(1))
    except Unavailable as error:
        raise SettingsError(settings.DATABASE_UNAVAILABLE) from error
    if found is not None:
        raise SettingsError(
            f"The database holds demo users. Set {PREFIX}DATABASE_URL to a database that never held demo data."
        )


def _warn_of_separate_rate_limits(processes: int, services: Services) -> None:
    if processes > 1 and services.settings.throttle_storage_url.startswith("memory:"):
        LOG.warning(
            "Each process counts its own rate limits. Set %sTHROTTLE_STORAGE_URL to a redis:// address.", PREFIX
        )
