"""The request log: all token requests of the account or of one client, one of them, and the CSV file (L2, L7)."""

import uuid
from collections.abc import Iterator
from typing import Any

from flask import Response, request
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ...core.audit.events import record_export
from ...core.client_changes import get_client_or_deleted
from ...core.database.models import ClientSecret, IdentityClient, TokenRequest, utc_now
from ...core.database.outcomes import Outcome
from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext
from ...core.usage import request_log
from ...core.usage.request_log import EXPORT_MAX, REFUSED, RequestPage, RequestQuery, key_of
from ...core.usage.stored_requests import REQUESTS_PER_DAY_MAX
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor
from ..http.csv_files import csv_file
from ..http.htmx import render
from ..http.transactions import event_transaction
from ..i18n.credential_names import credential_title
from ..i18n.times import Times
from .explanations import explain
from .outcomes import OUTCOME_LABELS, response_to, result


def account_requests() -> Response:
    """Show a page of the token requests of the account."""
    return _show(None)


def client_requests(key: str) -> Response:
    """Show a page of the token requests of a client, deleted or not."""
    return _show(parse_key(key))


def request_details(key: str, number: str) -> Response:
    """Show one token request: its parameters, the response, the true reason, and advice."""
    with read_session(services().engine) as session:
        client = get_client_or_deleted(session, account_id=actor().account_id, key=parse_key(key))
        found = request_log.get_request(session, account_id=client.account_id, client_key=client.id, key=number)
        secrets = session.scalars(
            select(ClientSecret).where(ClientSecret.client_key == client.id).order_by(ClientSecret.id)
        ).all()
    return render(
        "usage/request.html",
        "usage/_request_dialog.html",
        client=client,
        token_request=found,
        result=result(found),
        credential=credential_title(found.secret_label) if found.secret_label else "",
        explanation=explain(found, client, secrets),
    )


def requests_csv() -> Response:
    """Download the token requests of the account, or of the client with this `key`, as a CSV file (L7)."""
    query, key = RequestQuery.from_arguments(request.args), request.args.get("key")
    with event_transaction() as session:
        client = _get(session, parse_key(key)) if key else None
        record_export(
            session,
            author=author_of(actor()),
            filters=query.filters(),
            rate_limits=services().rate_limits,
            client=client,
            of="token requests",
        )
        searched = client or _find_client(session, query)
    times = Times(services().settings.time_zone)
    is_empty = query.is_reversed or (query.client and not searched)
    return csv_file(
        _rows(services().engine, actor().account_id, query, times, searched, is_empty=bool(is_empty)),
        "identity-clients-requests",
        actor().account_name or actor().account_id,
        searched.client_id if searched else "",
        f"{utc_now().astimezone(times.zone):%Y-%m-%d}",
    )


def _show(key: uuid.UUID | None) -> Response:
    account_id, query = actor().account_id, RequestQuery.from_arguments(request.args)
    zone = Times(services().settings.time_zone).zone
    with read_session(services().engine) as session:
        client = _get(session, key) if key else None
        searched = client or _find_client(session, query)
        if query.is_reversed or (query.client and not searched):
            page = RequestPage((), None, None)
        else:
            page = request_log.list_requests(session, account_id=account_id, query=query, zone=zone, client=searched)
        clients = request_log.clients_of(session, account_id, page.requests)
        labels = request_log.labels_of(session, searched) if searched else ()
    return render(
        "usage/request_log.html",
        "usage/_request_log_results.html",
        client=client,
        searched=searched,
        query=query,
        page=page,
        clients=clients,
        labels=labels,
        result=result,
        key_of=key_of,
        **_options(),
    )


def _options() -> dict[str, Any]:
    return {
        "reasons": {value: label for value, label in OUTCOME_LABELS.items() if value != Outcome.ISSUED},
        "refused": REFUSED,
        "typed_address": request.args.get("address", "").strip()[:64],
        "typed_request_id": request.args.get("request_id", "").strip()[:64],
        "kept_days": services().settings.request_log_days,
        "per_day_max": REQUESTS_PER_DAY_MAX,
        "rows_max": EXPORT_MAX,
    }


def _get(session: Session, key: uuid.UUID) -> IdentityClient:
    return get_client_or_deleted(session, account_id=actor().account_id, key=key)


def _find_client(session: Session, query: RequestQuery) -> IdentityClient | None:
    if not query.client:
        return None
    return request_log.find_client(session, account_id=actor().account_id, client_id=query.client)


def _rows(
    engine: Engine, account_id: str, query: RequestQuery, times: Times, client: IdentityClient | None, *, is_empty: bool
) -> Iterator[list[str]]:
    yield [
        gettext("Time (UTC)"),
        gettext("Time (%(zone)s)", zone=times.zone_name),
        gettext("Client ID"),
        gettext("Result"),
        gettext("Reason"),
        gettext("Response"),
        gettext("Secret or key"),
        gettext("Address"),
        gettext("Scope"),
        gettext("Request ID"),
    ]
    if is_empty:
        return
    found = request_log.export_requests(engine, account_id=account_id, query=query, zone=times.zone, client=client)
    for token_request, of in found:
        yield _row(token_request, of, times)


def _row(token_request: TokenRequest, client: IdentityClient, times: Times) -> list[str]:
    is_issued = token_request.outcome == Outcome.ISSUED
    status, error = response_to(token_request.outcome)
    return [
        f"{token_request.at:%Y-%m-%d %H:%M:%S}",
        f"{token_request.at.astimezone(times.zone):%Y-%m-%d %H:%M:%S}",
        client.client_id,
        gettext("Issued") if is_issued else gettext("Refused"),
        "" if is_issued else result(token_request),
        f"{status} {error}".strip(),
        token_request.secret_label or "",
        token_request.address or "",
        token_request.scope,
        token_request.request_id or "",
    ]
