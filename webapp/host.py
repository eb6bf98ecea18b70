"""The seam to the host: who is signed in, and what every request of ours needs."""

import random
import re
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from datetime import datetime
from io import BytesIO
from typing import cast
from urllib.parse import urlencode
from wsgiref.types import WSGIEnvironment

import flask_login
from flask import current_app, g, request
from sqlalchemy import Engine
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.sansio.utils import get_content_length

from .core.addresses import canonical_address
from .core.audit.events import Author
from .core.authentication.authenticator import Authenticator
from .core.clients.roles import RoleCatalogue
from .core.clients.service import ClientService
from .core.rate_limits.limits import RateLimits
from .core.secrets.service import SecretService
from .core.tokens.access_tokens import AccessTokens
from .core.tokens.signing_keys import SigningKeys
from .core.usage.recorder import Recorder
from .settings import Settings

EXTENSION = "identity_clients"
MANAGER_ROLES = frozenset({"MerchantAdmin", "ManageIdentityClients"})
BACKGROUND_HEADER = "X-Background-Refresh"
"""A request that carries it as `true` is a panel's own, sent while nobody may be there: it is no activity (W3)."""
_ADDRESS_CHARACTERS_MAX = 64
_PORT = re.compile(r":[0-9]*\Z")
_REQUEST_ID_KEY = "identity_clients.request_id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}\Z")


@dataclass(frozen=True, slots=True)
class Actor:
    """The signed-in person, as the host describes them. This is the whole contract.

    :param id: the host's key of the person; opaque to us, it stands in the trail.
    :param label: what people read in the trail, such as a name or an e-mail address.
    :param account_id: the account to which everything they see and do is bound.
    :param account_name: the account's name.
    :param roles: host role keys; `MerchantAdmin` and `ManageIdentityClients` may manage clients.
    :param feature_enabled: whether Identity Clients is on for the account.
    :param grantable_roles: the API roles that the account may grant; None means all of the catalogue.
    :param signed_in_at: when they signed in (aware); None where the host cannot tell (W5).
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
        """Tell the host's programmer of a value that could only fail later.

        :raises TypeError: an ID is no text, the roles are no set, or the time of sign-in has no zone.
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
        """Whether a role of theirs lets them change clients."""
        return not MANAGER_ROLES.isdisjoint(self.roles)

    def may_grant(self, role_key: str) -> bool:
        """Tell whether their account may give this API role to a client (A4)."""
        return self.grantable_roles is None or role_key in self.grantable_roles


@dataclass(frozen=True, slots=True)
class Services:
    """What one application's requests share. Lives in `app.extensions`, so that two applications share nothing."""

    settings: Settings
    engine: Engine
    catalogue: RoleCatalogue
    secrets: SecretService
    clients: ClientService
    rate_limits: RateLimits
    authenticator: Authenticator
    keys: SigningKeys
    tokens: AccessTokens
    recorder: Recorder
    load_actor: Callable[[], Actor | None] = field(repr=False)


def services() -> Services:
    """Return the services of the application at work."""
    return cast(Services, current_app.extensions[EXTENSION])


def current_actor() -> Actor | None:
    """Return who is signed in, asked of the host once a request; None if nobody, or an actor without account (E3)."""
    if "identity_clients_actor" not in g:
        actor = services().load_actor()
        g.identity_clients_actor = actor if actor is not None and actor.id and actor.account_id else None
    return cast(Actor | None, g.identity_clients_actor)


def author_of(actor: Actor) -> Author:
    """Return the actor as the trail names them, with this request's address and id."""
    return Author(
        actor.id,
        actor.label[:200],
        actor.account_id,
        address=client_address(),
        request_id=request_id(),
        grantable_roles=actor.grantable_roles,
    )


def actor_from_flask_login() -> Actor | None:
    """Read `flask_login.current_user` by attribute names; the loader used where the host gives none.

    The user needs `account_id`, `account_name`, `roles` and `identity_clients_enabled`; `label` (else its id),
    `grantable_api_roles` and `signed_in_at` are read where they exist.
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
    """Return the host's sign-in page with the page to come back to, or None where nobody says which it is."""
    manager = getattr(current_app, "login_manager", None)
    view = services().settings.sign_in_endpoint or getattr(manager, "login_view", None)
    return cast(str, flask_login.utils.login_url(view, next_url=next_path)) if view else None


def request_id() -> str:
    """Return the id of the request at work."""
    return request_id_of(request.environ)


def request_id_of(environ: WSGIEnvironment) -> str:
    """Return a request's id: the caller's own if it is well formed, else a new one, the same each time (L6)."""
    known: str | None = environ.get(_REQUEST_ID_KEY)
    if known is None:
        given = environ.get("HTTP_X_REQUEST_ID", "")
        known = environ[_REQUEST_ID_KEY] = given if _REQUEST_ID.match(given) else f"{random.getrandbits(128):032x}"
    return known


def client_address() -> str | None:
    """Return the address of the caller at work."""
    return address_of(request.environ, services().settings)


def address_of(environ: WSGIEnvironment, settings: Settings) -> str | None:
    """Return a caller's address in canonical form: the peer's, or the one that the outermost trusted proxy saw (C5).

    None where that is no address, such as the peer of a socket in the file system.
    """
    hops, address, header = settings.trusted_proxies, environ.get("REMOTE_ADDR"), environ.get("HTTP_X_FORWARDED_FOR")
    if hops and header is not None:
        forwarded = header.split(",")
        if len(forwarded) >= hops:
            address = forwarded[-hops]
    return canonical_address((address or "").strip()[:_ADDRESS_CHARACTERS_MAX])


def is_secure(environ: WSGIEnvironment, settings: Settings) -> bool:
    """Tell whether the caller came over https: to us, or to the trusted proxy nearest to us (C6)."""
    if environ["wsgi.url_scheme"] == "https":
        return True
    forwarded = environ.get("HTTP_X_FORWARDED_PROTO", "") if settings.trusted_proxies else ""
    return forwarded.rpartition(",")[2].strip().lower() == "https"


def check_trusted_host() -> None:
    """Refuse a request to a name that is not ours, where a setting says which are (C5).

    :raises BadRequest: the `Host` header holds another.
    """
    if not is_trusted_host(request.environ, services().settings):
        raise BadRequest


def is_trusted_host(environ: WSGIEnvironment, settings: Settings) -> bool:
    """Tell whether a request is to a name of ours, where a setting says which those are (C5)."""
    trusted = settings.trusted_hosts
    if not trusted:
        return True
    name = _PORT.sub("", environ.get("HTTP_HOST", "")).lower()
    return any(name == host or (host[0] == "." and f".{name}".endswith(host)) for host in trusted)


def read_body(environ: WSGIEnvironment, limit_bytes: int) -> bytes:
    """Read the whole body once and leave it to be read again, by us or by the form parser.

    Werkzeug cuts a chunked body off at its limit without a word, so the limit is kept here (D1).

    :raises RequestEntityTooLarge: the body is longer than the limit.
    """
    length = get_content_length(environ.get("CONTENT_LENGTH"), environ.get("HTTP_TRANSFER_ENCODING"))
    if length is not None and length > limit_bytes:
        raise RequestEntityTooLarge
    stream = environ["wsgi.input"]
    if length is not None:
        body = stream.read(length)
    else:
        body = stream.read(limit_bytes + 1) if environ.get("wsgi.input_terminated") else b""
    if len(body) > limit_bytes:
        raise RequestEntityTooLarge
    _put_body(environ, body)
    return cast(bytes, body)


def restore_body() -> None:
    """Let the body of the request at work be read again where a hook of the host has read it.

    Nothing is left of it then, and to read once more would wait for ever.
    """
    seen = vars(request)
    if "form" in seen or "_cached_data" in seen:
        body = request.get_data() or urlencode([*request.form.items(multi=True)]).encode()
        _put_body(request.environ, body)


def _put_body(environ: WSGIEnvironment, body: bytes) -> None:
    environ["wsgi.input"] = BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
