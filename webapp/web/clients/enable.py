"""Enable and disable a client; disabling has a confirmation page."""

from functools import partial

from flask import Response
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.clients.enable import set_enabled
from ...core.database.models import IdentityClient, utc_now
from ...core.errors import FieldError
from ...core.tokens.revocation import last_token_ends_at
from ...host import author_of
from ..http.access import actor, sign_in_is_recent
from ..http.confirmation import render_confirmation
from ..http.forms import VersionForm
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import show_toast
from ..http.transactions import transaction
from ..secrets.table import last_used
from .forms import DisableForm


def enable(key: str) -> ResponseReturnValue:
    """Enable the client. The page of a GET is for browsers without script."""
    client = load_client(key)
    form = VersionForm(version=client.version)
    if not form.is_submitted():
        return render_confirmation("clients/confirm_enable.html", client, form)
    if not form.validate():
        return render_confirmation("clients/confirm_enable.html", client, form, status=422)
    try:
        with transaction() as session:
            client = set_enabled(
                session, author=author_of(actor()), key=client.id, version=form.version.data, enabled=True
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return render_confirmation("clients/confirm_enable.html", stale.current, form, status=409)
    except FieldError as refused:
        form.add_errors([refused])
        return render_confirmation("clients/confirm_enable.html", client, form, status=422)
    return show_toast(client, "enabled")


def disable(key: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST disable the client, and revoke its tokens if the form says so."""
    client = load_client(key)
    form = DisableForm(version=client.version)
    if not form.is_submitted():
        return _confirm_disable(client, form)
    if form.revoke.data and not sign_in_is_recent():
        return sign_in_again(form, partial(_confirm_disable, client, form))
    if not form.validate():
        return _confirm_disable(client, form, status=422)
    try:
        with transaction() as session:
            client = set_enabled(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                enabled=False,
                revoke_tokens=form.revoke.data,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _confirm_disable(stale.current, form, status=409)
    except FieldError as refused:
        form.add_errors([refused])
        return _confirm_disable(client, form, status=422)
    return show_toast(client, "disabled")


def _confirm_disable(client: IdentityClient, form: DisableForm, *, status: int = 200) -> Response:
    return render_confirmation(
        "clients/confirm_disable.html",
        client,
        form,
        status=status,
        last=last_used(client),
        tokens_end_at=last_token_ends_at(client, utc_now()),
    )
