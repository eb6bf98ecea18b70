"""Download the list of clients as a CSV file, as it is filtered and sorted (L7)."""

from collections.abc import Iterator
from datetime import datetime

from flask import Response, request
from sqlalchemy import Engine

from ...core.audit.events import record_export
from ...core.clients.listing import ListQuery, export_clients, oldest_secrets
from ...core.clients.roles import RoleCatalogue
from ...core.database.models import IdentityClient, utc_now
from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext
from ...host import author_of, services
from ..http.access import actor
from ..http.csv_files import csv_file
from ..http.transactions import event_transaction
from ..i18n.times import Times


def clients_csv() -> Response:
    """Download the clients that match the search and the filters, 10,000 at most."""
    query, account_id = ListQuery.from_arguments(request.args, services().catalogue), actor().account_id
    with event_transaction() as session:
        record_export(
            session,
            author=author_of(actor()),
            of="clients",
            filters=query.filters(),
            rate_limits=services().rate_limits,
        )
    times = Times(services().settings.time_zone)
    return csv_file(
        _rows(services().engine, account_id, query, services().catalogue),
        "identity-clients",
        actor().account_name or account_id,
        f"{utc_now().astimezone(times.zone):%Y-%m-%d}",
    )


def _rows(engine: Engine, account_id: str, query: ListQuery, catalogue: RoleCatalogue) -> Iterator[list[str]]:
    yield [
        gettext("Client ID"),
        gettext("Client name"),
        gettext("Description"),
        gettext("Status"),
        gettext("Owner"),
        gettext("Tags"),
        gettext("Roles"),
        # Translators: the column of the API roles that can send money.
        gettext("Roles that move money"),
        gettext("Token duration (minutes)"),
        gettext("Allowed addresses"),
        gettext("Oldest secret created (UTC)"),
        gettext("Last token (UTC)"),
        gettext("Created (UTC)"),
        gettext("Created by"),
        gettext("Updated (UTC)"),
        gettext("Updated by"),
    ]
    # The server reads the rows after the view has returned.
    with read_session(engine) as session:
        for clients in export_clients(session, account_id=account_id, query=query):
            secrets = oldest_secrets(session, [client.id for client in clients])
            for client in clients:
                yield _row(client, catalogue, secrets.get(client.id))


def _row(client: IdentityClient, catalogue: RoleCatalogue, secret_created_at: datetime | None) -> list[str]:
    return [
        client.client_id,
        client.name,
        client.description,
        gettext("Enabled") if client.enabled else gettext("Disabled"),
        client.owner,
        "; ".join(sorted(client.tags)),
        "; ".join(f"{catalogue[key].name} ({key})" if key in catalogue else key for key in sorted(client.roles)),
        "; ".join(str(role.name) for role in catalogue.effective(client.roles, None) if role.moves_money),
        str(client.token_duration_minutes),
        "; ".join(map(str, client.allowed_networks)),
        _time(secret_created_at),
        _time(client.last_token_at),
        _time(client.created_at),
        client.created_by,
        _time(client.updated_at),
        client.updated_by,
    ]


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
