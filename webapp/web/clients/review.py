"""The access review: the clients of the account to look at in turn, and a record of each one that was reviewed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from flask import Response, request
from flask.typing import ResponseReturnValue
from sqlalchemy import Engine

from ...core.audit.events import record_export
from ...core.client_changes import StaleVersion
from ...core.clients.review import (
    COUNT_MAX,
    PRINT_MAX,
    count_overdue,
    export_reviews,
    is_overdue,
    list_reviews,
    review_client,
)
from ...core.clients.roles import ApiRole, RoleCatalogue
from ...core.database.models import IdentityClient, utc_now
from ...core.database.unit_of_work import read_session
from ...core.errors import FieldError, InvalidFields
from ...core.i18n import gettext
from ...core.secrets.client_secrets import AnyCredential, credentials_not_ended
from ...host import author_of, services
from ..http.access import actor
from ..http.confirmation import render_confirmation
from ..http.csv_files import csv_file
from ..http.htmx import render
from ..http.loading import load_client
from ..http.toasts import show_toast
from ..http.transactions import event_transaction, transaction
from ..i18n.credential_names import credential_title
from ..i18n.times import Times
from .attention import format_capped
from .forms import ReviewForm


@dataclass(frozen=True, slots=True)
class ReviewedCredential:
    """A secret or key that has not ended.

    :param name: such as "Secret A".
    :param days: its age.
    """

    credential: AnyCredential
    name: str
    days: int


@dataclass(frozen=True, slots=True)
class ReviewRow:
    """A client as it is reviewed.

    :param roles: its API roles, those that move money first; one that left the catalogue has its key as its name.
    :param credentials: its secrets and keys that have not ended.
    """

    client: IdentityClient
    roles: tuple[ApiRole, ...]
    credentials: tuple[ReviewedCredential, ...]
    overdue: bool


def review() -> Response:
    """Show a page of the enabled clients, those that were not reviewed for longest first."""
    settings = services().settings
    with read_session(services().engine) as session:
        page = list_reviews(session, account_id=actor().account_id, after=request.args.get("after", ""))
        overdue = count_overdue(session, account_id=actor().account_id)
    return render(
        "clients/review.html",
        "clients/_review_table.html",
        rows=list(_rows(page.clients)),
        next_cursor=page.next_cursor,
        after=request.args.get("after", ""),
        overdue=format_capped(min(overdue, COUNT_MAX), has_more=overdue > COUNT_MAX) if overdue else "",
        days=settings.review_days,
        reason=settings.review_reason,
        printed=False,
    )


def review_print() -> Response:
    """Show all clients on one page, for an auditor to print."""
    settings = services().settings
    with read_session(services().engine) as session:
        clients = list(export_reviews(session, account_id=actor().account_id, limit=PRINT_MAX))
    return render(
        "clients/review_print.html",
        "clients/_review_table.html",
        rows=list(_rows(clients)),
        next_cursor=None,
        after="",
        overdue="",
        days=settings.review_days,
        reason=settings.review_reason,
        printed=True,
        now=utc_now(),
        is_cut=len(clients) == PRINT_MAX,
    )


def review_csv() -> Response:
    """Download the access review, 10,000 clients at most (L7)."""
    with event_transaction() as session:
        record_export(
            session, author=author_of(actor()), of="access review", filters={}, rate_limits=services().rate_limits
        )
    times = Times(services().settings.time_zone)
    return csv_file(
        _csv_rows(services().engine, actor().account_id, services().catalogue, services().settings.review_days),
        "identity-clients-access-review",
        actor().account_name or actor().account_id,
        f"{utc_now().astimezone(times.zone):%Y-%m-%d}",
    )


def review_one(key: str) -> ResponseReturnValue:
    """Ask what was found and done; on POST record the review."""
    client = load_client(key)
    form = ReviewForm(version=client.version)
    if not form.is_submitted():
        return _confirm(client, form)
    if not form.validate():
        return _confirm(client, form, status=422)
    try:
        with transaction() as session:
            client = review_client(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                found=form.found.data or "",
                done=form.done.data or "",
                acknowledged=form.acknowledged.data,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _confirm(stale.current, form, status=409)
    except (FieldError, InvalidFields) as invalid:
        form.add_errors(invalid.errors)
        return _confirm(client, form, status=422)
    return show_toast(client, "reviewed")


def _confirm(client: IdentityClient, form: ReviewForm, *, status: int = 200) -> Response:
    [row] = _rows([client])
    return render_confirmation("clients/confirm_review.html", client, form, status=status, row=row)


def _rows(clients: Iterable[IdentityClient]) -> Iterator[ReviewRow]:
    now, days = utc_now(), services().settings.review_days
    for client in clients:
        credentials = tuple(_credentials(client, now))
        yield ReviewRow(client, _roles(client, services().catalogue), credentials, is_overdue(client, days, now))


def _credentials(client: IdentityClient, now: datetime) -> Iterator[ReviewedCredential]:
    for one in credentials_not_ended(client, now):
        yield ReviewedCredential(one, credential_title(one.label), (now - one.created_at).days)


def _roles(client: IdentityClient, catalogue: RoleCatalogue) -> tuple[ApiRole, ...]:
    held = catalogue.difference((), client.roles).added
    return tuple(sorted(held, key=lambda role: not role.moves_money))


def _csv_rows(engine: Engine, account_id: str, catalogue: RoleCatalogue, days: int) -> Iterator[list[str]]:
    yield [
        gettext("Client ID"),
        gettext("Client name"),
        gettext("Owner"),
        gettext("Roles that move money"),
        gettext("Other roles"),
        # Translators: the column of a client's secrets and keys with their age.
        gettext("Secrets and keys, age in days"),
        gettext("Allowed addresses"),
        gettext("Last token (UTC)"),
        gettext("Created (UTC)"),
        gettext("Last review (UTC)"),
        gettext("Reviewed by"),
        gettext("Found"),
        gettext("Action taken"),
        gettext("Overdue"),
    ]
    now = utc_now()
    # The server reads the rows after the view has returned.
    with read_session(engine) as session:
        for client in export_reviews(session, account_id=account_id):
            roles = _roles(client, catalogue)
            yield [
                client.client_id,
                client.name,
                client.owner,
                "; ".join(str(role.name) for role in roles if role.moves_money),
                "; ".join(str(role.name) for role in roles if not role.moves_money),
                "; ".join(f"{one.name}: {one.days}" for one in _credentials(client, now)),
                "; ".join(map(str, client.allowed_networks)),
                _time(client.last_token_at),
                _time(client.created_at),
                _time(client.reviewed_at),
                client.reviewed_by,
                client.review_found,
                client.review_done,
                gettext("Yes") if is_overdue(client, days, now) else gettext("No"),
            ]


def _time(at: datetime | None) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}" if at else ""
