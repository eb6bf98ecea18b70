"""The page of one client."""

from flask import Response, request

from ..core import attention
from ..core.changes import get_client
from ..core.database import reading
from ..core.seen_addresses import seen_addresses
from ..host import services
from . import networks, requests
from .activity import latest
from .attention_words import advise
from .done import DONE
from .forms import VersionForm
from .guard import actor
from .handover import scopes_of, snippets_for, token_url
from .htmx import render
from .loading import parse_key
from .preview import preview_of
from .secret_table import about_secrets


def details(key: str) -> Response:
    """Show how one client is set up, and how to ask for a token with it."""
    catalogue = services().catalogue
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        told_events = latest(session, client)
        reasons = attention.reasons(session, client.account_id, [client]).get(client.id, [])
        used = requests.usage_of(session, client)
        seen = seen_addresses(session, client, used.requests)
    return render(
        "clients/details.html",
        "clients/_details.html",
        client=client,
        form=VersionForm(version=client.version),
        roles=catalogue.effective(client.roles, None),
        scopes=scopes_of(client),
        withdrawn=[role for role in catalogue.effective(client.roles, None) if not actor().may_grant(role.key)],
        token_url=token_url(),
        snippets=snippets_for(client),
        events=told_events,
        advice=advise(reasons),
        **requests.context(used),
        **networks.context(client, seen),
        check=None,
        preview=preview_of(client),
        message=DONE.get(request.args.get("done", "")),
        **about_secrets(client),
    )
