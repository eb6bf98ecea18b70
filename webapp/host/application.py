"""The objects that all requests of one application share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from flask import current_app
from sqlalchemy import Engine

from ..core.authentication.authenticator import Authenticator
from ..core.authentication.key_authenticator import KeyAuthenticator
from ..core.clients.roles import RoleCatalogue
from ..core.clients.service import ClientService
from ..core.notifications.delivery import DeliveryService
from ..core.notifications.targets import TargetService
from ..core.rate_limits.limits import RateLimits
from ..core.secrets.generation import Secret
from ..core.secrets.service import SecretService
from ..core.tokens.access_tokens import AccessTokens
from ..core.tokens.signing_keys import SigningKeys
from ..core.usage.recorder import Recorder
from ..settings import Settings
from .actor import Actor

EXTENSION = "identity_clients"


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
