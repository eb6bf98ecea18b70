"""The preview of a client's next token, made by the code that issues tokens (T2), so that the two never differ."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, request

from ...core.database.models import IdentityClient, utc_now
from ...core.i18n import gettext
from ...core.secrets.client_secrets import live_credentials
from ...host import services
from ..http.htmx import render
from ..http.loading import effective_roles, load_client


@dataclass(frozen=True, slots=True)
class Preview:
    """The claims of the next token, unsigned.

    :param refusal: the sentence why no token would be issued now; empty if one would.
    :param scopes: the scopes that may be requested.
    :param chosen: the requested scopes; empty means all, as in a request without `scope`.
    :param claims: the claims as JSON; empty if no scope is left.
    """

    refusal: str
    scopes: tuple[str, ...]
    chosen: frozenset[str]
    claims: str
    issued_at: datetime
    expires_at: datetime


def preview(key: str) -> Response:
    """Show the claims of the client's next token for the scopes in the URL."""
    client = load_client(key)
    return render("usage/preview.html", "usage/_preview_section.html", client=client, preview=preview_of(client))


def preview_of(client: IdentityClient) -> Preview:
    """Return the preview for the scopes in the URL, without scopes that the client may not request."""
    catalogue, now = services().catalogue, utc_now()
    roles = effective_roles(client)
    scopes = catalogue.scopes(roles)
    chosen = frozenset(request.args.getlist("scope")).intersection(scopes)
    lifetime = timedelta(minutes=client.token_duration_minutes)
    claims = services().tokens.claims(
        client_id=client.client_id,
        account_id=client.account_id,
        roles=[role.key for role in roles],
        scope=" ".join(scope for scope in scopes if scope in (chosen or scopes)),
        lifetime_seconds=int(lifetime.total_seconds()),
        # Translators: in place of a value that is different in each token.
        jti=gettext("(new in each token)"),
        now=now,
    )
    text = json.dumps(claims, indent=2, ensure_ascii=False) if scopes else ""
    return Preview(_reason_not_issued(client, scopes, now), scopes, chosen, text, now, now + lifetime)


def _reason_not_issued(client: IdentityClient, scopes: Collection[str], now: datetime) -> str:
    if not client.enabled:
        return gettext("This client is disabled, so no token is given until it is enabled.")
    if not scopes:
        return gettext("No role is left to this client, so no token is given.")
    if not live_credentials(client, now):
        return gettext("None of its secrets and keys works now, so no token is given.")
    return ""
