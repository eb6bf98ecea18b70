"""Read and submit the screens through Flask's test client."""

import html
import re
from typing import Any

from sqlalchemy import select, update

from tests.support.host import Host
from tests.support.markup import Markup, read
from webapp.core.client_changes import get_client
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work


def timeline(text: str) -> list[str]:
    """Return the text of each event on a page, the newest first."""
    items = re.findall(r"<li>(.*?)</li>", text[text.index('<ol class="ic-time">') :], re.DOTALL)
    plain = (re.sub(r"<[^>]+>", " ", re.sub(r"</?[ab]( [^>]*)?>", "", item)) for item in items)
    return [" ".join(html.unescape(item).split()) for item in plain]


def listed_ids(text: str) -> list[str]:
    """Return the client IDs of a list page in their order."""
    return [html.unescape(found) for found in re.findall(r'<a class="ic-mono" href="[^"]*">([^<]*)</a>', text)]


SECRET = "canary-secret-that-was-typed"
VALUES: dict[str, Any] = {
    "client_id": "acme-claims-prod",
    "client_secret": SECRET,
    "name": "Acme claims",
    "description": "Pays approved claims.\r\nOwner: claims@northwind.example",
    "token_duration": "25",
    "roles": ["MerchantUser", "CreatePayment"],
    "owner": "Priya Nair",
    "tags": "production, claims",
}


DIALOG_LIMIT_BYTES = 8 * 1024


def stored(host: Host, client: IdentityClient) -> IdentityClient:
    """Return the client as the database has it now."""
    with read_session(host.engine) as session:
        return get_client(session, account_id=client.account_id, key=client.id)


def values(client: IdentityClient) -> dict[str, Any]:
    """Return all values that Edit may change except the secret."""
    return {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "token_duration": str(client.token_duration_minutes),
        "roles": sorted(client.roles),
        "owner": client.owner,
        "tags": ", ".join(sorted(client.tags)),
        "enabled": client.enabled,
    }


def open_form(host: Host, client: IdentityClient, *, htmx: bool = False) -> Markup:
    """Return the parsed Edit form."""
    return read(host.get(f"/{client.id}/edit", htmx=htmx))


def save(host: Host, client: IdentityClient, *, htmx: bool = False, **changes: Any) -> Any:
    """Open the form, change some fields, and submit it; where it asks a question, submit it once more."""
    return submit(host, client, open_form(host, client).form(**changes), htmx=htmx)


def submit(host: Host, client: IdentityClient, form: dict[str, Any], *, htmx: bool = False) -> Any:
    """Submit the form of Edit; where it asks a question, submit it once more."""
    answer = host.post(f"/{client.id}/edit", form, htmx=htmx, token=False)
    if answer.status_code == 422 and (confirmed := read(answer).value("confirmed")):
        return host.post(f"/{client.id}/edit", {**form, "confirmed": confirmed}, htmx=htmx, token=False)
    return answer


def secrets_of(host: Host, client: IdentityClient) -> dict[str, ClientSecret]:
    """Return a client's secrets by label."""
    return {secret.label: secret for secret in stored(host, client).secrets}


def states(host: Host, client: IdentityClient) -> dict[str, str]:
    """Return the state of each secret by label."""
    return {label: each.state_at(utc_now()).value for label, each in sorted(secrets_of(host, client).items())}


def set_columns(host: Host, client: IdentityClient, label: str, **columns: Any) -> None:
    """Set columns of a client's secret."""
    with unit_of_work(host.engine) as session:
        session.execute(
            update(ClientSecret)
            .where(ClientSecret.client_key == client.id, ClientSecret.label == label)
            .values(**columns)
        )


def actions(host: Host, client: IdentityClient) -> list[str]:
    """Return the actions of a client's audit events in order."""
    with read_session(host.engine) as session:
        return list(
            session.scalars(select(AuditEvent.action).where(AuditEvent.client_key == client.id).order_by(AuditEvent.id))
        )
