"""Integration with the host application: the signed-in actor, and the services that requests share."""

import logging
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import flask_login
from flask import Flask, Response, current_app, g, request
from sqlalchemy import Engine
from werkzeug.exceptions import BadRequest
from werkzeug.routing import BuildError

from .core.audit.events import Author
from .core.authentication.authenticator import Authenticator
from .core.authentication.key_authenticator import KeyAuthenticator
from .core.clients.roles import RoleCatalogue
from .core.clients.service import ClientService
from .core.notifications.delivery import DeliveryService
from .core.notifications.targets import TargetService
from .core.rate_limits.limits import RateLimits
from .core.secrets.generation import Secret
from .core.secrets.service import SecretService
from .core.tokens.access_tokens import AccessTokens
from .core.tokens.signing_keys import SigningKeys
from .core.usage.recorder import Recorder
from .http_request import address_of, is_trusted_host, request_id_of
from .settings import PERMISSIONS, PREFIX, Settings, SettingsError

LOG = logging.getLogger(__name__)
EXTENSION = "identity_clients"
MANAGER_ROLES = frozenset({"MerchantAdmin", "ManageIdentityClients"})
BACKGROUND_HEADER = "X-Background-Refresh"
"""A panel that refreshes itself sends this header with `true`; such a request does not extend the session (W3)."""


@dataclass(frozen=True, slots=True)
class Actor:
    """The signed-in person, as the host describes them.

    :param id: the host's ID of the person, recorded in the audit log.
    :param label: the name or e-mail address that the audit log shows.
    :param account_id: the account whose clients the person may see and change, and no others.
    :param account_name: the account's name.
    :param roles: host role keys; `MerchantAdmin` and `ManageIdentityClients` may manage clients.
    :param feature_enabled: whether Identity Clients is enabled for the account.
    :param grantable_roles: the API roles that the account may grant; None means every role of the catalogue.
    :param signed_in_at: when the person signed in (aware); None if the host does not know (W5).
    """

    id: str
    label: str
    account_id: str
    account_name: str
    roles: frozenset[str]
    feature_enabled: bool
    grantable_roles: frozenset[str] | None = None
    signed_in_at: datetime | None = None

    def __post_init__(self) -> None:
        """Check the types of the values, so that a mistake of the host is reported here and not by a later statement.

        :raises TypeError: an ID is not a `str`, `roles` is not a set, or `signed_in_at` has no time zone.
        """
        for name in ("id", "account_id"):
            if not isinstance(getattr(self, name) or "", str):
                raise TypeError(f"Actor.{name} must be a str: give str(...) of a number or a UUID.")
        if not isinstance(self.roles, Set):
            raise TypeError("Actor.roles must be a set of role keys, such as frozenset({'MerchantAdmin'}).")
        if self.signed_in_at is not None and self.signed_in_at.utcoffset() is None:
            raise TypeError("Actor.signed_in_at must have a time zone, such as datetime.now(UTC) has.")

    @property
    def may_manage(self) -> bool:
        """Whether one of the actor's roles allows changing clients."""
        return not MANAGER_ROLES.isdisjoint(self.roles)

    def may_grant(self, role_key: str) -> bool:
        """Return whether the actor's account may grant this API role to a client (A4)."""
        return self.grantable_roles is None or role_key in self.grantable_roles


@dataclass(frozen=True, slots=True)
class TokenTrial:
    """What the token endpoint answered to a request that a person tried on the screens.

    :param status: the HTTP status of the response.
    :param body: its JSON members; an access token is truncated.
    :param outcome: the true outcome, an `Outcome` or `AuthenticationFailure`.
    :param secret_label: the label of the secret that matched, None if none did.
    :param address: the person's address, None if it is unknown.
    :param scope: what a token request would record of the requested scope.
    """

    status: int
    body: Mapping[str, Any] = field(repr=False)
    outcome: str
    secret_label: str | None
    address: str | None
    scope: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Services:
    """The objects that all requests of one application share, kept in `app.extensions`."""

    settings: Settings
    configured: Mapping[str, Any] = field(repr=False)
    """Our part of the Flask configuration as `init_app` read it."""
    engine: Engine
    catalogue: RoleCatalogue
    secrets: SecretService
    clients: ClientService
    rate_limits: RateLimits
    authenticator: Authenticator
    key_authenticator: KeyAuthenticator
    keys: SigningKeys
    tokens: AccessTokens
    recorder: Recorder
    targets: TargetService
    delivery: DeliveryService
    try_token: Callable[[str, Secret, str], TokenTrial] = field(repr=False)
    """Try a token request with a client ID, a secret and a scope; here since the screens do not import `oauth`."""
    load_actor: Callable[[], Actor | None] = field(repr=False)
    close_connections: Callable[[], None] = field(repr=False)
    done: set[str] = field(default_factory=set, repr=False)
    """Names of what this application does only once: the check of the routes, and some warnings in the log."""


def services() -> Services:
    """Return the services of the current application."""
    return cast(Services, current_app.extensions[EXTENSION])


def permissions_of(actor: Actor | None) -> frozenset[str]:
    """Return what the roles of an actor allow, of `settings.PERMISSIONS`; a manager may do everything (A2)."""
    if actor is None:
        return frozenset()
    if actor.may_manage:
        return PERMISSIONS
    by_role = services().settings.permissions_by_role
    return frozenset().union(*(by_role[role] for role in actor.roles if role in by_role))


def may_view(actor: Actor) -> bool:
    """Return whether the actor may see the clients of the account (A2)."""
    return bool(permissions_of(actor)) or not actor.roles.isdisjoint(services().settings.viewer_roles)


def check_configuration() -> None:
    """Refuse to work with a configuration that has changed since `init_app` read it, or with a URL that is not ours.

    :raises SettingsError: a setting was added, changed or removed, or the host has a route with one of our URLs;
        the error is logged too.
    """
    if "routes" not in services().done:
        try:
            check_routes(current_app, services().settings)
        except SettingsError as clash:
            LOG.error("%s", clash)
            raise
        services().done.add("routes")
    read, present = services().configured, own_configuration(current_app.config)
    for name in sorted(read.keys() | present.keys()):
        if name not in read or name not in present or read[name] != present[name]:
            error = SettingsError(f"{name} was changed after init_app, which reads the settings. Set it before.")
            LOG.error("%s", error)
            raise error


def check_routes(app: Flask, settings: Settings) -> None:
    """Check that no route of the host has one of our URLs: the one registered first would hide the other.

    :raises SettingsError: there is one.
    """
    prefix_settings = {
        f"{settings.blueprint_name}.": "URL_PREFIX",
        f"{settings.blueprint_name}_endpoint.": "ENDPOINT_PREFIX",
        f"{settings.blueprint_name}_api.": "API_PREFIX",
    }
    ours = tuple(prefix_settings)
    rules = [*app.url_map.iter_rules()]
    taken = {rule.rule: rule for rule in rules if not rule.endpoint.startswith(ours)}
    for rule in rules:
        if not rule.endpoint.startswith(ours):
            continue
        other = taken.get(rule.rule) or taken.get(f"{rule.rule}/")
        if other is None:
            continue
        setting = next(setting for name, setting in prefix_settings.items() if rule.endpoint.startswith(name))
        advice = f"Set {PREFIX}{setting}, or remove it."
        if rule.rule.startswith("/.well-known/"):
            advice = "Remove it, or serve Identity Clients from an application and a host name of its own."
        raise SettingsError(f"The application has a route {other.rule} too, of its endpoint {other.endpoint}. {advice}")


def own_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a Flask configuration that are settings of Identity Clients."""
    return {name: value for name, value in config.items() if name.startswith(PREFIX)}


def current_actor() -> Actor | None:
    """Return the signed-in actor, or None; an actor without an ID or an account counts as signed out (E3).

    The host's actor loader runs once per request.
    """
    if "identity_clients_actor" not in g:
        actor = services().load_actor()
        g.identity_clients_actor = actor if actor is not None and actor.id and actor.account_id else None
    return cast(Actor | None, g.identity_clients_actor)


def author_of(actor: Actor) -> Author:
    """Return the actor as the author of an audit event, with the current request's address and id."""
    return Author(
        actor.id,
        actor.label[:200],
        actor.account_id,
        address=client_address(),
        request_id=request_id(),
        grantable_roles=actor.grantable_roles,
    )


def actor_from_flask_login() -> Actor | None:
    """Return Flask-Login's `current_user` as an actor, or None. This is the actor loader of a host that sets none.

    The user needs the attributes `account_id`, `account_name`, `roles` and `identity_clients_enabled`; `label` (by
    default the id), `grantable_api_roles` and `signed_in_at` are optional.

    :raises RuntimeError: the application has no Flask-Login.
    """
    if not hasattr(current_app, "login_manager"):
        raise RuntimeError("Give IdentityClients an actor_loader, or start Flask-Login in this application.")
    user = flask_login.current_user
    if not user or not user.is_authenticated:
        return None
    user_id = str(user.get_id() if not hasattr(user, "id") else user.id)
    granted = getattr(user, "grantable_api_roles", None)
    return Actor(
        id=user_id,
        label=str(getattr(user, "label", user_id)),
        account_id=str(user.account_id),
        account_name=str(user.account_name),
        roles=frozenset(user.roles),
        feature_enabled=bool(user.identity_clients_enabled),
        grantable_roles=None if granted is None else frozenset(granted),
        signed_in_at=getattr(user, "signed_in_at", None),
    )


def sign_in_url(next_path: str) -> str | None:
    """Return the URL of the host's sign-in page with `next`, or None if neither a setting nor Flask-Login names it.

    An endpoint that does not exist counts as none, and is logged once.
    """
    view = services().settings.sign_in_endpoint or getattr(_login_manager(), "login_view", None)
    if not view:
        return None
    try:
        return cast(str, flask_login.utils.login_url(view, next_url=next_path))
    except BuildError:
        if view not in services().done:
            services().done.add(view)
            LOG.warning(
                "The sign-in page is to be the endpoint %r, which this application does not have, so that people who"
                " are signed out get no link to it. Set %sSIGN_IN_ENDPOINT.",
                view,
                PREFIX,
            )
        return None


def unauthorized_response() -> Response | None:
    """Return the response of the host's unauthorized handler for Flask-Login, or None if it has none."""
    handler = getattr(_login_manager(), "unauthorized_callback", None)
    return None if handler is None else current_app.make_response(handler())


def _login_manager() -> Any:
    return getattr(current_app, "login_manager", None)


def request_id() -> str:
    """Return the id of the current request."""
    return request_id_of(request.environ)


def client_address() -> str | None:
    """Return the address of the current request's caller, None if it is not an IP address."""
    return address_of(request.environ, services().settings)


def check_trusted_host() -> None:
    """Refuse the current request if its `Host` header names a host that the settings do not trust (C5).

    :raises BadRequest: the name is not in `IDENTITY_CLIENTS_TRUSTED_HOSTS`.
    """
    if not is_trusted_host(request.environ, services().settings):
        raise BadRequest
