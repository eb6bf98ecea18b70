"""Delete a client, once the person has typed its client ID."""

import re
from functools import partial

from flask import Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.clients.delete import delete_client
from ...core.database.models import IdentityClient, utc_now
from ...core.errors import FieldError
from ...core.tokens.revocation import last_token_ends_at
from ...host import author_of
from ..http.access import actor, sign_in_is_recent
from ..http.confirmation import render_confirmation
from ..http.htmx import close_dialog, htmx
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.response_kinds import ScreenResponse
from ..http.toasts import TOASTS
from ..http.transactions import transaction
from ..secrets.table import is_relied_on, last_used
from .forms import DeleteForm

# The syntax characters of the pattern attribute in HTML.
_SPECIAL = re.compile(r"[\^$\\.*+?()\[\]{}|/]")


def delete(key: str) -> ResponseReturnValue:
    """Ask for the client ID; on POST delete the client."""
    client = load_client(key)
    form = DeleteForm(version=client.version)
    if not form.is_submitted():
        return _confirm(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_confirm, client, form))
    if not form.validate():
        return _confirm(client, form, status=422)
    try:
        with transaction() as session:
            delete_client(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                typed_client_id=form.confirm.data or "",
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _confirm(stale.current, form, status=409)
    except FieldError as error:
        form.add_errors([error])
        return _confirm(client, form, status=422)
    if not htmx().partial:
        return redirect(url_for(".list", done="deleted"), 303)
    if htmx().path == url_for(".details", key=client.id):
        response = ScreenResponse()
        response.headers["HX-Redirect"] = url_for(".list", done="deleted")
        return response
    return close_dialog(
        render_template("identity_clients/clients/_deleted_toast.html", client=client, message=TOASTS["deleted"])
    )


def _confirm(client: IdentityClient, form: DeleteForm, *, status: int = 200) -> Response:
    last, now = last_used(client), utc_now()
    return render_confirmation(
        "clients/confirm_delete.html",
        client,
        form,
        status=status,
        last=last,
        recent=is_relied_on(last, now),
        pattern=r"\s*" + _SPECIAL.sub(r"\\\g<0>", client.client_id) + r"\s*",
        tokens_end_at=last_token_ends_at(client, now),
    )
