"""All that a host calls."""

from collections.abc import Awaitable, Callable, Collection
from datetime import timedelta
from typing import TypeVar

from flask import Flask

from . import cli, oauth, web
from .core import accounts
from .core.authentication.authenticator import Authenticator
from .core.clients.roles import DEFAULT_ROLES, RoleCatalogue
from .core.clients.service import ClientService
from .core.database.engine import make_engine, share_engine
from .core.database.fast_reads import FastReads
from .core.database.unit_of_work import unit_of_work
from .core.rate_limits.limits import RateLimits
from .core.secrets.hashing import SecretHasher
from .core.secrets.service import SecretService
from .core.tokens.access_tokens import AccessTokens
from .core.tokens.signing_keys import SigningKeys
from .core.usage.recorder import Recorder
from .host import EXTENSION, Actor, Services, actor_from_flask_login
from .settings import PREFIX, Settings, SettingsError

ActorLoader = Callable[[], Actor | None] | Callable[[], Awaitable[Actor | None]]
Loader = TypeVar("Loader", bound=ActorLoader)


class IdentityClients:
    """Adds the screens and the identity endpoint to a Flask application."""

    def __init__(self) -> None:
        self._load_actor: ActorLoader = actor_from_flask_login

    def actor_loader(self, loader: Loader) -> Loader:
        """Use this function to learn who is signed in; it is called in each request to a screen, and may be async."""
        self._load_actor = loader
        return loader

    def init_app(self, app: Flask) -> None:
        """Read the settings, and register the screens, the endpoint and the commands.

        :raises SettingsError: a setting is missing, unknown or unfit.
        """
        settings = Settings.from_config(app.config)
        name = settings.blueprint_name
        for taken in {name, f"{name}_endpoint"} & set(app.blueprints):
            raise SettingsError(
                f"The application has a blueprint {taken!r} already. Set {PREFIX}BLUEPRINT_NAME to another name."
            )
        owned = settings.engine if settings.engine is not None else make_engine(str(settings.database_url))
        engine = owned if settings.engine is None else share_engine(settings.engine)
        catalogue = RoleCatalogue(DEFAULT_ROLES if settings.api_roles is None else settings.api_roles)
        peppers = settings.peppers()
        hasher = SecretHasher(peppers)
        secrets = SecretService(hasher, prefix=settings.secret_prefix, refuse_weak=settings.refuse_weak_secrets)
        rate_limits = RateLimits(
            settings.throttle_storage_url,
            settings.taken_id_answers_per_hour,
            failures_per_client_and_address=settings.failures_per_client_and_address,
            failures_per_address=settings.failures_per_address,
            tokens_per_client_and_minute=settings.tokens_per_client_and_minute,
            new_clients_per_account_and_hour=settings.new_clients_per_account_and_hour,
            exports_per_actor_and_hour=settings.exports_per_actor_and_hour,
        )
        tokens = AccessTokens(settings.issuer, settings.audience)
        tokens.check_size(catalogue)
        app.extensions[EXTENSION] = Services(
            settings=settings,
            engine=engine,
            catalogue=catalogue,
            secrets=secrets,
            clients=ClientService(catalogue, secrets, rate_limits),
            rate_limits=rate_limits,
            # The reads beside the pool end with the engine itself: a copy is not told of its disposal.
            authenticator=Authenticator(engine, FastReads(owned), hasher, rate_limits),
            keys=SigningKeys(
                engine,
                settings.encryption_keys(),
                rotation=timedelta(days=settings.key_rotation_days),
                publication=timedelta(hours=settings.key_publish_hours),
            ),
            tokens=tokens,
            recorder=Recorder(engine, next(iter(peppers.values()))),
            load_actor=lambda: app.ensure_sync(self._load_actor)(),
        )
        app.register_blueprint(web.make_blueprint(), url_prefix=settings.url_prefix, name=name)
        app.register_blueprint(oauth.make_blueprint(settings))
        app.cli.add_command(cli.commands)

    @staticmethod
    def account_changed(
        app: Flask, account_id: str, *, feature_enabled: bool, grantable_roles: Collection[str] | None = None
    ) -> None:
        """Tell the identity endpoint what changed for an account, so that it counts for the next token (A4, A7).

        A host calls it where it switches the feature on or off, or takes API roles from an account.

        :param grantable_roles: the API roles that the account may grant; None means all of the catalogue.
        """
        services: Services = app.extensions[EXTENSION]
        with unit_of_work(services.engine) as session:
            accounts.set_account(session, account_id, feature_enabled=feature_enabled, grantable_roles=grantable_roles)
