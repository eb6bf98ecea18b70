"""Edit a client."""

from functools import partial
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.clients.validation import FIELDS
from ...core.database.models import IdentityClient
from ...core.errors import FieldError, InvalidFields, RateLimited
from ...core.i18n import gettext
from ...core.secrets.generation import Secret
from ...host import author_of, services
from ..http.access import Access, actor, sign_in_is_recent
from ..http.htmx import close_dialog, htmx
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.transactions import transaction
from ..secrets.handover import hand_over
from .conflict import show_conflict
from .edit_warnings import edit_warnings, what_callers_change
from .form_views import TAKEN_ID_LIMIT_REACHED, remake_form, show_client_form, show_rate_limited
from .forms import EditForm, edit_data


def edit_client(key: str) -> ResponseReturnValue:
    """Show the form; on POST save it, and show a new secret in this one response if one was typed.

    An effect that may not be intended gets a warning, which the second press of Save confirms.
    """
    client = load_client(key)
    if request.method != "POST":
        return _show(EditForm(client.client_id, **edit_data(client, actor().grantable_roles)), client)
    form = EditForm(client.client_id)
    show = partial(_show, form, client)
    if form.secret and not Access.SECRETS.allows(actor()):
        form.add_errors([FieldError("client_secret", gettext("Your role may not change secrets. Leave this empty."))])
        return show(status=422)
    if form.secret and not sign_in_is_recent():
        return sign_in_again(form, show)
    if not form.is_ready():
        return show(status=422)
    warnings = edit_warnings(client, form.values(), enabled=form.enabled.data)
    confirmed = " ".join(warning.key for warning in warnings)
    if warnings and form.version.data == client.version and form.confirmed.data != confirmed:
        form.check(*(name for name in FIELDS if form.secret or name != "client_secret"))
        form.confirmed.data = confirmed
        return show(status=422, warnings=() if form.field_errors else warnings)
    before = client
    try:
        with transaction() as session:
            client = services().clients.edit(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                values=form.values(),
                enabled=form.enabled.data,
                secret=form.secret,
            )
    except StaleVersion as stale:
        return show_conflict(form, stale.current)
    except (FieldError, InvalidFields) as invalid:
        form.add_errors(invalid.errors)
        return show(status=422)
    except RateLimited as error:
        return show_rate_limited(error, form, show, TAKEN_ID_LIMIT_REACHED)
    if form.secret:
        return hand_over(client, Secret(form.secret), title=gettext("Saved, with a new secret"))
    if htmx().partial:
        return close_dialog(
            render_template(
                "identity_clients/clients/_saved_toast.html", client=client, callers=what_callers_change(before, client)
            )
        )
    return redirect(url_for(".details", key=client.id, done="edited"), 303)


def edit_client_form(key: str) -> Response:
    """Render a part of the form again after Generate or a preset; nothing is saved."""
    client = load_client(key)
    form = EditForm(client.client_id)
    return remake_form(form, partial(_show, form, client))


def _show(form: EditForm, client: IdentityClient, **options: Any) -> Response:
    if not options.get("warnings"):
        form.confirmed.data = ""
    form.warn_of_client_id()
    catalogue = services().catalogue
    grantable = {role.key for role in catalogue.grantable(actor().grantable_roles)}
    return show_client_form(
        "edit",
        form,
        client=client,
        key=client.id,
        withdrawn=catalogue.names(client.roles - grantable),
        remake_url=url_for(".edit_form", key=client.id),
        **{"warnings": (), **options},
    )
