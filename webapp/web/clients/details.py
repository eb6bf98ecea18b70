"""The page of one client."""

from flask import Response, request

from ...core.client_changes import get_client, get_client_or_deleted
from ...core.clients import attention
from ...core.database.unit_of_work import read_session
from ...core.errors import NotFound
from ...core.usage.recent_addresses import recent_addresses
from ...host import services
from ...http_request import parse_key
from ..audit.activity import latest
from ..http.access import actor
from ..http.forms import VersionForm
from ..http.htmx import render
from ..http.toasts import message_about
from ..secrets.key_snippets import key_snippets_for
from ..secrets.snippets import scopes_of, snippets_for, token_url
from ..secrets.table import secrets_context
from ..usage import usage
from ..usage.preview import preview_of
from .attention import attention_advice
from .networks import networks_context


def details(key: str) -> Response:
    """Show one client: configuration, secrets, networks, usage and activity, and how to request a token with it.

    A deleted client has a page that says so, with 410.
    """
    catalogue = services().catalogue
    with read_session(services().engine) as session:
        try:
            client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        except NotFound:
            deleted = get_client_or_deleted(session, account_id=actor().account_id, key=parse_key(key))
            return render("clients/deleted.html", "clients/_deleted.html", status=410, client=deleted)
        event_texts = latest(session, client)
        reasons = attention.reasons(session, client.account_id, [client]).get(client.id, [])
        used = usage.usage_of(session, client)
        seen = recent_addresses(session, client, used.requests)
    return render(
        "clients/details.html",
        "clients/_details.html",
        client=client,
        form=VersionForm(version=client.version),
        roles=catalogue.effective(client.roles, None),
        scopes=scopes_of(client),
        withdrawn=[role for role in catalogue.effective(client.roles, None) if not actor().may_grant(role.key)],
        token_url=token_url(),
        api_docs_url=services().settings.api_docs_url,
        snippets=snippets_for(client),
        key_snippets=key_snippets_for(client),
        events=event_texts,
        advice=attention_advice(reasons),
        **usage.context(used),
        **networks_context(client, seen),
        check=None,
        preview=preview_of(client),
        message=message_about(client, request.args.get("done", "")),
        **secrets_context(client),
    )
