"""Edit: the same fields, filled but for the secret."""

from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..core import clients
from ..core.errors import InvalidFields, StaleVersion, Throttled
from ..core.models import IdentityClient
from ..core.secrets import Secret
from ..core.words import gettext
from ..host import author_of, services
from .client_form import BEYOND_QUOTA, remake_form, show_form, sign_in_again, told_roles
from .conflict import show_conflict
from .forms import EditForm, edit_data
from .guard import actor, sign_in_is_recent
from .handover import hand_over
from .htmx import close_dialog, htmx
from .loading import load_client
from .writing import writing


def edit_client(key: str) -> ResponseReturnValue:
    """Show the form; on POST save it, and hand a new secret over if one was typed."""
    client, granted = load_client(key), actor().grantable_roles
    if request.method != "POST":
        return _show(EditForm(**edit_data(client, granted)), client)
    form = EditForm()
    if form.secret and not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _show(form, client, **options))
    if not form.may_be_saved(granted=granted):
        return _show(form, client, status=422)
    try:
        with writing() as session:
            client = clients.edit_client(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                values=form.values(),
                enabled=form.enabled.data,
                secret=form.secret,
                catalogue=services().catalogue,
                granted=granted,
                hasher=services().hasher,
                throttles=services().throttles,
                refuse_weak=services().settings.refuse_weak_secrets,
            )
    except StaleVersion as stale:
        return show_conflict(form, stale.current)
    except InvalidFields as invalid:
        form.add_errors(invalid.errors)
        return _show(form, client, status=422)
    except Throttled as throttled:
        if htmx().partial:
            raise  # the notice goes into the form that is open, and nothing of it changes
        form.message = str(BEYOND_QUOTA) % {"button": form.button}
        response = _show(form, client, status=429)
        response.headers["Retry-After"] = str(throttled.retry_after_seconds)
        return response
    if form.secret:
        return hand_over(client, Secret(form.secret), title=gettext("Saved, with a new secret"))
    if htmx().partial:
        return close_dialog(render_template("identity_clients/clients/_saved_toast.html", client=client))
    return redirect(url_for(".details", key=client.id, done="edited"), 303)


def edit_client_form(key: str) -> Response:
    """Make the form again after Generate or a preset; nothing is saved."""
    client, form = load_client(key), EditForm()
    return remake_form(form, lambda **options: _show(form, client, **options))


def _show(form: EditForm, client: IdentityClient, **options: Any) -> Response:
    form.tell_of_changed_id(client)
    catalogue = services().catalogue
    withdrawn = client.roles - {role.key for role in catalogue.grantable(actor().grantable_roles)}
    return show_form(
        "edit",
        form,
        key=client.id,
        client=client,
        withdrawn=catalogue.names(withdrawn),
        remake_url=url_for(".edit_form", key=client.id),
        **told_roles(form, client),
        **options,
    )
