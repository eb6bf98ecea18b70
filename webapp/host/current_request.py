"""The actor of the current request, what they may do, and the request's ID, address and host name."""

from typing import cast

from flask import g, request
from werkzeug.exceptions import BadRequest

from ..core.audit.events import Author
from ..http_request import address_of, is_trusted_host, request_id_of
from ..settings import PERMISSIONS
from .actor import Actor
from .application import services


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
