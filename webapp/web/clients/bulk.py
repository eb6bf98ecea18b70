"""Change several clients of the list at once, after one confirmation that lists them."""

import uuid
from collections.abc import Collection, Mapping

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.clients.bulk import BULK_MAX, BulkAction, BulkRefused, Obstacle, change_clients, find_clients
from ...core.database.models import IdentityClient
from ...core.database.unit_of_work import read_session
from ...core.errors import FieldError, NotFound
from ...core.i18n import gettext, lazy_gettext
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor
from ..http.htmx import close_dialog, htmx, render
from ..http.transactions import transaction
from .forms import BulkForm

TITLES: Mapping[BulkAction, str] = {
    BulkAction.DISABLE: lazy_gettext("Disable clients"),
    BulkAction.ENABLE: lazy_gettext("Enable clients"),
    BulkAction.ADD_TAG: lazy_gettext("Add a tag"),
    BulkAction.REMOVE_TAG: lazy_gettext("Remove a tag"),
}


def bulk() -> ResponseReturnValue:
    """Ask for confirmation; on POST change every client that it lists, or none and show it again without the others."""
    if request.method != "POST":
        action = _action(request.args.get("action", ""))
        keys = {parse_key(text) for text in request.args.getlist("client")[:BULK_MAX]}
        clients = _find(keys)
        return _show(BulkForm(action=action, clients=_join(clients)), action, clients)
    form = BulkForm()
    action, versions = _action(form.action.data or ""), _split(form.clients.data or "")
    if not form.validate():
        return _show(form, action, _find(versions), status=422)
    try:
        with transaction() as session:
            changed = change_clients(
                session, author=author_of(actor()), action=action, versions=versions, tag=form.tag.data or ""
            )
    except FieldError as error:
        form.add_errors([error])
        return _show(form, action, _find(versions), status=422)
    except BulkRefused as refused:
        blocked = {one.key for one in refused.obstacles}
        remaining = {key: version for key, version in versions.items() if key not in blocked}
        form.clients.data = " ".join(f"{key}:{version}" for key, version in remaining.items())
        return _show(form, action, _find(remaining), obstacles=refused.obstacles, status=409)
    if htmx().partial:
        return close_dialog(
            render_template("identity_clients/clients/_bulk_toast.html", action=action, changed=changed)
        )
    return redirect(url_for(".list", done="bulk"), 303)


def _action(text: str) -> BulkAction:
    try:
        return BulkAction(text or BulkAction.DISABLE)
    except ValueError:
        raise NotFound from None


def _find(keys: Collection[uuid.UUID]) -> list[IdentityClient]:
    with read_session(services().engine) as session:
        return find_clients(session, account_id=actor().account_id, keys=keys)


def _join(clients: Collection[IdentityClient]) -> str:
    return " ".join(f"{client.id}:{client.version}" for client in clients)


def _split(text: str) -> dict[uuid.UUID, int]:
    """Return the versions by key.

    :raises NotFound: the text is not as `_join` writes it, or has too many clients.
    """
    pairs = [pair.partition(":") for pair in text.split()]
    if len(pairs) > BULK_MAX or not all(version.isascii() and version.isdecimal() for _, _, version in pairs):
        raise NotFound
    return {parse_key(key): int(version[:9]) for key, _, version in pairs}


def _show(
    form: BulkForm,
    action: BulkAction,
    clients: list[IdentityClient],
    *,
    obstacles: Collection[Obstacle] = (),
    status: int = 200,
) -> Response:
    posted = request.method == "POST" and not htmx().into_dialog
    if not clients and not obstacles:
        form.message = gettext("No client is selected. Select clients in the list first.")
    return render(
        "clients/bulk.html",
        "clients/_bulk_form.html" if posted else "clients/_bulk_dialog.html",
        status=status,
        form=form,
        action=action,
        title=TITLES[action],
        clients=clients,
        obstacles=obstacles,
    )
