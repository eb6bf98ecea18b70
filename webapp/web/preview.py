"""What a client's next token would say, made by what makes tokens (T2), so that the two cannot differ."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, request

from ..core.client_secrets import live_secrets
from ..core.models import IdentityClient, utc_now
from ..core.words import gettext
from ..host import services
from .guard import actor
from .htmx import render
from .loading import load_client


@dataclass(frozen=True, slots=True)
class Preview:
    """A token that is not one: nobody signed it.

    :param against: why none would be given now, a sentence; empty if one would.
    :param scopes: those that could be asked for.
    :param chosen: those that are asked for; none: all, as in a request that names no scope.
    :param claims: what the token says, as JSON; empty where it could not exist.
    """

    against: str
    scopes: tuple[str, ...]
    chosen: frozenset[str]
    claims: str
    issued_at: datetime
    expires_at: datetime


def preview(key: str) -> Response:
    """Show the claims that the client's next token will carry, for the scopes that the address names."""
    client = load_client(key)
    return render("usage/preview.html", "usage/_preview_section.html", client=client, preview=preview_of(client))


def preview_of(client: IdentityClient) -> Preview:
    """Return the preview for the scopes that the address names; it leaves out those that are not the client's."""
    catalogue, now = services().catalogue, utc_now()
    roles = catalogue.effective(client.roles, actor().grantable_roles)
    scopes = catalogue.scopes(roles)
    chosen = frozenset(request.args.getlist("scope")).intersection(scopes)
    lifetime = timedelta(minutes=client.token_duration_minutes)
    claims = services().tokens.claims(
        client_id=client.client_id,
        account_id=client.account_id,
        roles=[role.key for role in roles],
        scope=" ".join(scope for scope in scopes if scope in (chosen or scopes)),
        lifetime_seconds=int(lifetime.total_seconds()),
        jti=gettext("(new in each token)"),
        now=now,
    )
    text = json.dumps(claims, indent=2, ensure_ascii=False) if scopes else ""
    return Preview(_against(client, scopes, now), scopes, chosen, text, now, now + lifetime)


def _against(client: IdentityClient, scopes: Collection[str], now: datetime) -> str:
    if not client.enabled:
        return gettext("This client is disabled, so no token is given until it is enabled.")
    if not scopes:
        return gettext("No role is left to this client, so no token is given.")
    if not live_secrets(client, now):
        return gettext("None of its secrets works now, so no token is given.")
    return ""
