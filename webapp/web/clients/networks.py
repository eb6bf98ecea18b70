"""The networks from which a client may call (A8)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.addresses import AllowedNetwork
from ...core.client_changes import StaleVersion, get_client
from ...core.clients.allowed_networks import (
    Consequences,
    NetworksUnconfirmed,
    check_network,
    check_networks,
    consequences,
    set_networks,
)
from ...core.database.models import IdentityClient, utc_now
from ...core.database.unit_of_work import read_session
from ...core.errors import FieldError, InvalidFields
from ...core.i18n import gettext
from ...core.usage.recent_addresses import RecentAddresses, recent_addresses
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor
from ..http.htmx import close_dialog, htmx, render
from ..http.transactions import transaction
from ..i18n.times import Times
from .forms import NetworksForm

TYPED_MAX = 200
"""The number of characters of an address that is read."""


def networks(key: str) -> ResponseReturnValue:
    """Show the form, with the row added or removed that the query string names; on POST save it.

    Add, Remove and Undo post the form too, and only change its rows.
    """
    client, seen = load_with_addresses(key)
    form = NetworksForm(version=client.version, **_proposed(client))
    if not form.is_submitted():
        _check_rows(form)
        return _show(form, client, _find_consequences(form, client, seen))
    change = request.form.get("change", "")
    form.apply(change)
    if not form.validate():
        return _show(form, client, _find_consequences(form, client, seen), status=422)
    if change:
        return _show(form, client, _find_consequences(form, client, seen), change=change)
    if not _check_rows(form):
        return _show(form, client, None, status=422)
    try:
        with transaction() as session:
            client = set_networks(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                text=form.text,
                confirmed=(form.confirmed.data or "").split(),
            )
    except (FieldError, InvalidFields) as invalid:
        form.add_errors(invalid.errors)
        return _show(form, client, None, status=422)
    except NetworksUnconfirmed as unconfirmed:
        form.add_errors([_unconfirmed_error(unconfirmed.consequences)])
        return _show(form, client, unconfirmed.consequences, status=422)
    except StaleVersion as stale:
        return _show_stale(form, stale.current, seen)
    if htmx().partial:
        return close_dialog(render_template("identity_clients/clients/_networks_saved_toast.html", client=client))
    return redirect(url_for(".details", key=client.id, done="networks"), 303)


def networks_context(client: IdentityClient, seen: RecentAddresses) -> dict[str, Any]:
    """Return the template variables of the section of networks on the client's page.

    `last_seen` is the time of the last call from each network. Where that is None, `never_seen` is the text to show,
    which depends on how long requests are kept.
    """
    retention = timedelta(days=services().settings.token_request_retention_days)
    is_all_known = seen.complete_since is None and utc_now() - client.created_at < retention
    return {
        "last_seen": {allowed.network: seen.last_seen(allowed) for allowed in client.allowed_networks},
        # Translators: when an address last called; requests are kept for a limited time.
        "never_seen": gettext("Never") if is_all_known else gettext("Not recently"),
    }


def load_with_addresses(key: str) -> tuple[IdentityClient, RecentAddresses]:
    """Return the client with this key, and its recent addresses.

    :raises NotFound: the account has no such client (A3).
    """
    with read_session(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        return client, recent_addresses(session, client)


def _proposed(client: IdentityClient) -> dict[str, Any]:
    """Return the rows of the list, with the one added or removed that the query string names."""
    removed, added = request.args.get("remove"), request.args.get("address", "").strip()[:TYPED_MAX]
    rows = [(allowed.network, allowed.label) for allowed in client.allowed_networks]
    if added or not rows:
        rows.append((added, ""))
    return {
        "allowed_networks": [network for network, _ in rows],
        "network_label": [label for _, label in rows],
        "removed": {str(number) for number, (network, _) in enumerate(rows, start=1) if network == removed},
    }


def _check_rows(form: NetworksForm) -> bool:
    """Put the error of each row on it; return whether there is none (I3)."""
    for row in form.rows:
        if not row.counts:
            continue
        try:
            check_network(f"{row.network} {row.label}")
        except FieldError as error:
            name = f"network-{row.number}"
            form.field_errors[name] = FieldError(name, error.message)
    return not form.field_errors


def _find_consequences(form: NetworksForm, client: IdentityClient, seen: RecentAddresses) -> Consequences | None:
    """Return the consequences of the list in the form, None where a row is malformed."""
    try:
        wanted = check_networks(form.text)
    except FieldError:
        return None
    return consequences(client, wanted, seen, utc_now())


def _unconfirmed_error(unconfirmed: Consequences) -> FieldError:
    """Return the error of a Save without the box that agrees to the consequences."""
    if unconfirmed.opens:
        message = gettext("Nothing is saved yet. Tick the box, or add an address.")
    else:
        message = gettext("Nothing is saved yet. Tick the box, or put the address back on the list.")
    return FieldError("confirmed", message)


def _show(
    form: NetworksForm,
    client: IdentityClient,
    found: Consequences | None,
    *,
    status: int = 200,
    stored: Sequence[AllowedNetwork] = (),
    change: str = "",
) -> Response:
    return render(
        "clients/networks.html",
        "clients/_networks_form.html" if request.method == "POST" else "clients/_networks_dialog.html",
        status=status,
        client=client,
        form=form,
        consequences=found,
        stored=stored,
        focused=_focused_row(form, change),
    )


def _focused_row(form: NetworksForm, change: str) -> int | None:
    """Return the row whose field takes the focus: the last one where the form opens or a row was added."""
    if change and change != "add":
        return None
    return next((row.number for row in reversed(form.rows) if not row.is_removed), None)


def _show_stale(form: NetworksForm, current: IdentityClient, seen: RecentAddresses) -> Response:
    """Answer a stale version: the form as it was typed, beside the list as it is stored now (I7)."""
    fresh = NetworksForm(
        formdata=None,
        version=current.version,
        allowed_networks=form.allowed_networks.data,
        network_label=form.network_label.data,
        removed=form.removed.data,
    )
    fresh.message = gettext(
        "%(who)s changed this client at %(time)s. Your changes are not saved yet:"
        " compare them with the list as it is now, then press Save again.",
        who=current.updated_by,
        time=Times(services().settings.time_zone).clock(current.updated_at),
    )
    return _show(fresh, current, _find_consequences(fresh, current, seen), status=409, stored=current.allowed_networks)
