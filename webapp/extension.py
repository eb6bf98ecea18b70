"""The Flask extension that a host initialises."""

import weakref
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from flask import Flask

from . import cli, oauth, web
from .core import accounts, metrics
from .core.audit.before_change import BeforeChange, with_hooks
from .core.audit.events import with_outbox
from .core.authentication.authenticator import Authenticator
from .core.authentication.key_authenticator import KeyAuthenticator
from .core.clients.attention import with_review_days
from .core.clients.roles import DEFAULT_ROLES, MANAGEMENT_ROLE, MANAGEMENT_SCOPES, RoleCatalogue
from .core.clients.service import ClientService
from .core.database.engine import make_engine, share_engine
from .core.database.fast_reads import FastReads
from .core.database.unit_of_work import unit_of_work
from .core.notifications.delivery import DeliveryService
from .core.notifications.mail import MailServer
from .core.notifications.messages import MessageTexts
from .core.notifications.outbox import EventOutbox
from .core.notifications.targets import TargetService
from .core.notifications.webhook_secrets import WebhookSecretStorage
from .core.rate_limits.limits import RateLimits
from .core.secrets.hashing import SecretHasher
from .core.secrets.service import SecretService
from .core.tokens.access_tokens import AccessTokens
from .core.tokens.signing_keys import SigningKeys
from .core.usage.recorder import Recorder
from .host import EXTENSION, Actor, Services, actor_from_flask_login, check_routes, own_configuration
from .settings import PREFIX, Settings, SettingsError

if TYPE_CHECKING:
    from .prometheus import Collector

ActorLoader = Callable[[], Actor | None] | Callable[[], Awaitable[Actor | None]]
Loader = TypeVar("Loader", bound=ActorLoader)


class IdentityClients:
    """The extension: adds the screens and the identity endpoint to a Flask application."""

    def __init__(self) -> None:
        self._load_actor: ActorLoader = actor_from_flask_login
        self._before_change: list[BeforeChange] = []

    def actor_loader(self, loader: Loader) -> Loader:
        """Register the function that returns the signed-in actor, and return it. It may be async.

        It is called once in each request to a screen.
        """
        self._load_actor = loader
        return loader

    def before_change(self, function: BeforeChange) -> BeforeChange:
        """Call this function with a `Change` before each change of a client is saved.

        If it raises `FieldError`, nothing is saved and the form shows the message at its field. Functions are called in
        the order in which they were added, inside our transaction.
        """
        self._before_change.append(function)
        return function

    def init_app(self, app: Flask) -> None:
        """Read the settings, and register the screens, the endpoint and the commands.

        :raises SettingsError: a setting is missing, unknown or invalid, or a URL or blueprint name is taken.
        """
        settings = Settings.from_config(app.config)
        name = settings.blueprint_name
        for taken in {name, f"{name}_endpoint", f"{name}_api"} & set(app.blueprints):
            raise SettingsError(
                f"The application has a blueprint {taken!r} already. Set {PREFIX}BLUEPRINT_NAME to another name."
            )
        services = make_services(settings, app.config, lambda: app.ensure_sync(self._load_actor)(), self._before_change)
        app.extensions[EXTENSION] = services
        # An application that is dropped closes its connections. Not at exit: a forked child would close its parent's.
        weakref.finalize(app, services.close_connections).atexit = False
        app.register_blueprint(web.make_blueprint(), url_prefix=settings.url_prefix, name=name)
        app.register_blueprint(oauth.make_blueprint(settings))
        if settings.api_enabled:
            from . import api  # imports pydantic, which takes 15 MB

            app.register_blueprint(api.make_blueprint(settings))
        check_routes(app, settings)
        app.cli.add_command(cli.commands)

    @staticmethod
    def close(app: Flask) -> None:
        """Write the token requests that wait to be recorded, and close the application's connections.

        The connections are those to our own database and to the shared store of rate limits, not those of the host's
        engine. A later request opens new ones. An application that is garbage collected closes them as well.
        """
        services: Services = app.extensions[EXTENSION]
        services.recorder.write_all()
        services.close_connections()

    @staticmethod
    def metrics_collector(app: Flask) -> "Collector":
        """Return a collector of our metrics for a registry of `prometheus_client`, as in `REGISTRY.register(...)`.

        :raises SettingsError: `prometheus_client` is not installed.
        """
        try:
            from .prometheus import Collector
        except ImportError:
            raise SettingsError("The metrics need prometheus_client. Run: pip install prometheus_client") from None
        return Collector(app.extensions[EXTENSION])

    @staticmethod
    def account_changed(
        app: Flask, account_id: str, *, feature_enabled: bool, grantable_roles: Collection[str] | None = None
    ) -> None:
        """Apply a change of an account to its clients, with effect on the next token request (A4, A7).

        A host calls it when it switches the feature on or off for an account, or changes the account's API roles.

        :param grantable_roles: the API roles that the account may grant; None means every role of the catalogue.
        """
        services: Services = app.extensions[EXTENSION]
        with unit_of_work(services.engine) as session:
            accounts.set_account(session, account_id, feature_enabled=feature_enabled, grantable_roles=grantable_roles)


def make_services(
    settings: Settings,
    config: Mapping[str, object],
    load_actor: Callable[[], Actor | None],
    before_change: list[BeforeChange],
) -> Services:
    """Return the objects that all requests of one application share.

    :param config: the application's configuration, from which `settings` were read.
    :raises SettingsError: a token with every API role would be too long, the management API is enabled and no API role
        opens it, or the directory of the metrics cannot be written.
    """
    _share_metrics(settings)
    original = settings.engine if settings.engine is not None else make_engine(str(settings.database_url))
    catalogue = make_catalogue(settings)
    engine = original if settings.engine is None else share_engine(settings.engine)
    # Core finds these three in the execution options of the engine, so that no function needs them as parameters.
    engine = with_hooks(engine, before_change)
    engine = with_outbox(engine, EventOutbox(catalogue))
    engine = with_review_days(engine, settings.review_days)
    # On the original engine, since disposing of an engine does not dispose of its copies.
    reads = FastReads(original)
    peppers = settings.peppers()
    hasher = SecretHasher(peppers)
    secrets = SecretService(
        hasher,
        prefix=settings.secret_prefix,
        refuse_weak=settings.refuse_weak_secrets,
        max_days=settings.secret_max_days,
    )
    rate_limits = _make_rate_limits(settings)

    def close_connections() -> None:
        reads.close()
        rate_limits.counters.close()
        if settings.engine is None:
            original.dispose()

    tokens = AccessTokens(settings.issuer, settings.audience)
    tokens.check_size(catalogue)
    mail, storage = _mail_server(settings), WebhookSecretStorage(settings.encryption_keys())
    allow_private = settings.webhooks_to_private_networks
    return Services(
        settings=settings,
        configured=own_configuration(config),
        engine=engine,
        catalogue=catalogue,
        secrets=secrets,
        clients=ClientService(catalogue, secrets, rate_limits),
        rate_limits=rate_limits,
        authenticator=Authenticator(engine, reads, hasher, rate_limits),
        key_authenticator=KeyAuthenticator(
            engine,
            reads,
            rate_limits,
            issuer=settings.issuer,
            token_endpoint=settings.issuer + settings.token_path,
        ),
        keys=SigningKeys(
            engine,
            settings.encryption_keys(),
            rotation=timedelta(days=settings.key_rotation_days),
            publication=timedelta(hours=settings.key_publish_hours),
        ),
        tokens=tokens,
        recorder=Recorder(engine, next(iter(peppers.values()))),
        targets=TargetService(storage, sends_mail=mail is not None, allow_private=allow_private),
        delivery=DeliveryService(
            engine,
            MessageTexts(
                platform=settings.platform_name,
                screens_url=settings.screens_url or settings.issuer + settings.url_prefix,
                zone=settings.time_zone,
            ),
            storage,
            mail=mail,
            allow_private=allow_private,
        ),
        try_token=oauth.try_token,
        load_actor=load_actor,
        close_connections=close_connections,
    )


def make_catalogue(settings: Settings) -> RoleCatalogue:
    """Return the catalogue of API roles; the built-in one has a role for the management API where that is enabled.

    :raises SettingsError: the management API is enabled, and no role of the host's catalogue opens it.
    """
    if settings.api_roles is None:
        return RoleCatalogue((*DEFAULT_ROLES, MANAGEMENT_ROLE) if settings.api_enabled else DEFAULT_ROLES)
    catalogue = RoleCatalogue(settings.api_roles)
    if settings.api_enabled and MANAGEMENT_SCOPES.isdisjoint(catalogue.all_scopes):
        raise SettingsError(
            f"{PREFIX}API_ENABLED needs a role in {PREFIX}API_ROLES with the scopes"
            f" {' and '.join(sorted(MANAGEMENT_SCOPES))}, such as identity_clients.MANAGEMENT_ROLE."
        )
    return catalogue


def _share_metrics(settings: Settings) -> None:
    if not settings.metrics_directory:
        return
    try:
        metrics.share(settings.metrics_directory)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}METRICS_DIRECTORY must be a directory that the application can write ({error.strerror})."
        ) from error


def _make_rate_limits(settings: Settings) -> RateLimits:
    return RateLimits(
        settings.throttle_storage_url,
        settings.taken_id_answers_per_hour,
        failures_per_client_and_address=settings.failures_per_client_and_address,
        failures_per_address=settings.failures_per_address,
        tokens_per_client_and_minute=settings.tokens_per_client_and_minute,
        new_clients_per_account_and_hour=settings.new_clients_per_account_and_hour,
        exports_per_actor_and_hour=settings.exports_per_actor_and_hour,
        api_requests_per_client_and_minute=settings.api_requests_per_client_and_minute,
    )


def _mail_server(settings: Settings) -> MailServer | None:
    if settings.smtp_host is None or settings.mail_from is None:
        return None
    return MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_security,
        settings.smtp_username,
        settings.smtp_password,
        settings.mail_from,
    )
