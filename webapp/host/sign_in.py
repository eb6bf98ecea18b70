"""The host's sign-in, by default Flask-Login's: the actor of its user, and where people who are signed out go."""

import logging
from typing import Any, cast

import flask_login
from flask import Response, current_app
from werkzeug.routing import BuildError

from ..settings import PREFIX
from .actor import Actor
from .application import services

LOG = logging.getLogger(__name__)
BACKGROUND_HEADER = "X-Background-Refresh"
"""A panel that refreshes itself sends this header with `true`; such a request does not extend the session (W3)."""


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
