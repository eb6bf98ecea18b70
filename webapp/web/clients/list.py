"""The list of an account's clients, and the action menu of a row."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from flask import Response, request

from ...core.clients import attention, attention_queries
from ...core.clients.listing import MOVES_MONEY, ListQuery, list_owners, list_tags, oldest_secrets
from ...core.clients.listing import list_clients as find_clients
from ...core.clients.roles import ApiRole, RoleCatalogue
from ...core.database.models import utc_now
from ...core.database.unit_of_work import read_session
from ...core.i18n import lazy_gettext
from ...core.notifications.targets import list_failing, shown_address
from ...host import services
from ..http.access import actor
from ..http.forms import VersionForm
from ..http.htmx import htmx, render
from ..http.loading import load_client
from ..http.toasts import TOASTS
from . import columns
from .attention import FILTER_LABELS, attention_mark, strip_links

# The sort orders of the list with their labels, in the order of its select.
ORDERS = {
    "client_id": lazy_gettext("Client ID, A to Z"),
    "-client_id": lazy_gettext("Client ID, Z to A"),
    "-last_token": lazy_gettext("Last token, newest first"),
    "last_token": lazy_gettext("Last token, oldest first"),
    "name": lazy_gettext("Client name, A to Z"),
    "-name": lazy_gettext("Client name, Z to A"),
    "-updated_at": lazy_gettext("Updated, newest first"),
    "updated_at": lazy_gettext("Updated, oldest first"),
    "-created_at": lazy_gettext("Created, newest first"),
    "created_at": lazy_gettext("Created, oldest first"),
}
ROLES_SHOWN = 2
"""How many roles a row shows; all sensitive ones are shown, however many there are."""


class SensitiveRoles(NamedTuple):
    """Roles of a client that have the same mark.

    :param names: their names, separated by commas.
    :param role: one of them, which says what the mark is.
    """

    names: str
    role: ApiRole


class RolesCell(NamedTuple):
    """What a row shows of a client's roles; names are separated by commas.

    :param sensitive: the roles that move money, and those that manage clients.
    :param shown: names of other roles.
    :param rest: names of those that are shown on demand.
    :param rest_count: how many those are.
    """

    sensitive: Sequence[SensitiveRoles]
    shown: str
    rest: str
    rest_count: int


def list_clients() -> Response:
    """Show the clients that match the search and the filters, a page of them."""
    if htmx().partial and request.args.get("part") == "attention":
        return _attention_strip()
    catalogue, account_id = services().catalogue, actor().account_id
    query, shown = ListQuery.from_arguments(request.args, catalogue), columns.chosen_columns()
    with read_session(services().engine) as session:
        page = find_clients(session, account_id=account_id, query=query)
        found = attention.reasons(session, account_id, page.clients)
        secrets = oldest_secrets(session, [client.id for client in page.clients]) if "secret" in shown else {}
        summary = None if htmx().partial else attention_queries.summary(session, account_id)
        tags, owners = (
            ([], []) if htmx().partial else (list_tags(session, account_id), list_owners(session, account_id))
        )
        failing = [] if htmx().partial else list_failing(session, account_id)
    response = render(
        "clients/list.html",
        "clients/_results.html",
        page=page,
        query=query,
        catalogue=catalogue,
        # Many clients have the same roles.
        roles_cells={roles: _roles_cell(roles, catalogue) for roles in {client.roles for client in page.clients}},
        orders=ORDERS,
        moves_money=MOVES_MONEY if catalogue.money_roles else "",
        tags=tags,
        owners=owners,
        all_columns=columns.COLUMNS,
        columns=shown,
        sorted_by=columns.SORTED_BY,
        secret_ages={key: (utc_now() - at).days for key, at in secrets.items()},
        changed=request.args.get("changed", ""),
        attention_filters=FILTER_LABELS,
        marks={key: [attention_mark(one) for one in reasons] for key, reasons in found.items()},
        may_change_settings=actor().may_manage,
        summary_links=strip_links(summary) if summary else [],
        failing=[shown_address(target) for target in failing],
        message=TOASTS.get(request.args.get("done", "")),
    )
    columns.remember_columns(response, shown)
    return response


def _roles_cell(keys: Collection[str], catalogue: RoleCatalogue) -> RolesCell:
    held = catalogue.effective(keys, None)
    moving = [role for role in held if role.moves_money]
    managing = [role for role in held if role.manages_clients and not role.moves_money]
    sensitive = {role.name for role in (*moving, *managing)}
    others = [name for name in catalogue.names(keys) if name not in sensitive]
    shown = max(ROLES_SHOWN - len(sensitive), 0)
    return RolesCell(
        [SensitiveRoles(_listed(role.name for role in group), group[0]) for group in (moving, managing) if group],
        _listed(others[:shown]),
        _listed(others[shown:]),
        len(others[shown:]),
    )


def _listed(names: Iterable[str]) -> str:
    # str() translates the names of our own catalogue.
    return ", ".join(map(str, names))


def _attention_strip() -> Response:
    with read_session(services().engine) as session:
        summary = attention_queries.summary(session, actor().account_id)
    return render(
        "clients/list.html",
        "clients/_attention_summary.html",
        summary_links=strip_links(summary),
    )


def menu(key: str) -> Response:
    """Show the actions on one client: a menu for htmx, a page of links without script."""
    client = load_client(key)
    return render("clients/menu.html", "clients/_menu.html", client=client, form=VersionForm(version=client.version))
