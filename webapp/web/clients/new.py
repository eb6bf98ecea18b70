"""New Client, and the checks of fields as they are left."""

from functools import partial
from typing import Any

from flask import Response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.account_settings import keys_only_roles
from ...core.clients.service import AlreadyCreated
from ...core.clients.validation import FIELDS
from ...core.database.models import IdentityClient
from ...core.database.unit_of_work import read_session
from ...core.errors import ClientIdTaken, FieldError, InvalidFields, NotFound, RateLimited, TooManyNewClients
from ...core.i18n import gettext, lazy_gettext
from ...core.secrets.generation import Secret
from ...core.secrets.public_keys import contains_private_key
from ...host import author_of, services
from ..http.access import actor, sign_in_is_recent
from ..http.htmx import htmx, render
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.response_kinds import ScreenResponse
from ..http.toasts import show_toast
from ..http.transactions import transaction
from ..secrets.end_dates import end_date_context, parse_moment
from ..secrets.handover import hand_over
from .form_views import TAKEN_ID_LIMIT_REACHED, remake_form, roles_context, show_client_form, show_rate_limited
from .forms import ClientForm, NewForm, edit_data

TOO_MANY_NEW_CLIENTS = lazy_gettext(
    "Nothing is saved: your account made as many clients as it may in an hour."
    " Wait a little, then press %(button)s again."
)


def new_client() -> ResponseReturnValue:
    """Show the form; on POST create the client and show its secret in this one response."""
    copied = _client_from_query("copy")
    if request.method != "POST":
        data = {**edit_data(copied, actor().grantable_roles), "client_id": ""} if copied else {}
        return _show(NewForm(**data), copied)
    form = NewForm()
    show = partial(_show, form, copied)
    if not sign_in_is_recent():
        return sign_in_again(form, show)
    if not form.is_ready():
        return show(status=422)
    try:
        ends_at = parse_moment(form.ends_at.data or "")
        with transaction() as session:
            client = services().clients.create(
                session,
                author=author_of(actor()),
                values=form.values(),
                secret=None if form.is_with_key else form.secret,
                public_key=form.public_key.data if form.is_with_key else None,
                ends_at=ends_at,
                creation_key=form.creation_key.data,
                copied_from=copied.id if copied else None,
            )
    except (FieldError, InvalidFields) as invalid:
        form.add_errors(invalid.errors)
        return show(status=422)
    except AlreadyCreated as repeated:
        return _show_already_created(repeated.client)
    except TooManyNewClients as error:
        return show_rate_limited(error, form, show, TOO_MANY_NEW_CLIENTS)
    except RateLimited as error:
        return show_rate_limited(error, form, show, TAKEN_ID_LIMIT_REACHED)
    if form.is_with_key:
        return show_toast(client, "created-with-key")
    return hand_over(client, Secret(form.secret), title=gettext("Client created and enabled"), new=True)


def new_client_form() -> Response:
    """Render a part of the form again after Generate or a preset; nothing is saved."""
    copied, form = _client_from_query("copy"), NewForm()
    return remake_form(form, partial(_show, form, copied))


def check_field() -> Response:
    """Return the error or notice of one field as it is left; nothing is saved.

    A taken client ID is an error within the quota only, and beyond it looks like a free one (A6).
    """
    client, field = _client_from_query("client"), request.args.get("field", "")
    # Change secret posts no client ID and name, which its secret is compared with.
    form = ClientForm(client.client_id, client_id=client.client_id, name=client.name) if client else ClientForm()
    if not form.validate():
        return ScreenResponse("", 422)
    if field not in FIELDS:
        raise NotFound
    keeps_secret = field == "client_secret" and client is not None and not form.secret
    if not keeps_secret:
        form.check(field)
    if field == "client_secret":
        form.warn_of_secret()
    if field == "client_id" and not form.field_errors:
        _check_client_id_available(form, client)
    return ScreenResponse(render_template("identity_clients/components/_field_message.html", form=form, name=field))


def check_roles() -> Response:
    """Return the note on the chosen roles, as they are chosen; nothing is saved."""
    client, form = _client_from_query("client"), ClientForm()
    if not form.validate():
        return ScreenResponse("", 422)
    return ScreenResponse(
        render_template("identity_clients/clients/_roles_message.html", **roles_context(form, client))
    )


def _check_client_id_available(form: ClientForm, client: IdentityClient | None) -> None:
    key = client.id if client else None
    try:
        with read_session(services().engine) as session:
            services().clients.check_client_id_available(
                session, author=author_of(actor()), client_id=form.values().client_id, key=key
            )
    except ClientIdTaken as error:
        form.add_errors([error])
    else:
        form.warn_of_client_id()


def _client_from_query(argument: str) -> IdentityClient | None:
    """Return the client of this account whose key is in a query argument, or None without the argument.

    :raises NotFound: the account has no such client.
    """
    key = request.args.get(argument)
    return load_client(key) if key else None


def _show(form: NewForm, copied: IdentityClient | None, **options: Any) -> Response:
    catalogue = services().catalogue
    grantable = {role.key for role in catalogue.grantable(actor().grantable_roles)}
    if contains_private_key(form.public_key.data or ""):
        form.public_key.data = ""  # a private key is never sent back (S11)
    with read_session(services().engine) as session:
        keys_only = bool(keys_only_roles(session, actor().account_id))
    return show_client_form(
        "new",
        form,
        key=None,
        copied=copied,
        keys_only=keys_only,
        **end_date_context(),
        withdrawn=catalogue.names(copied.roles - grantable if copied else ()),
        remake_url=url_for(".new_form", copy=copied.id if copied else None),
        **{"propose": not htmx().partial, **options},
    )


def _show_already_created(client: IdentityClient) -> Response:
    """Answer a repeated POST of the form: show the client that the first one created, without its secret."""
    response = render("clients/already_created.html", "clients/_already_created_dialog.html", status=409, client=client)
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-dialog"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Trigger"] = "ic-changed"
    return response
