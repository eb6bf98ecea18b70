"""New Client, and the checks of fields as they are left."""

from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..core.clients import create_client, is_taken
from ..core.database import reading
from ..core.errors import AlreadyCreated, ClientIdTaken, InvalidFields, NotFound, Throttled, TooManyNewClients
from ..core.models import IdentityClient
from ..core.secrets import Secret
from ..core.words import gettext, lazy_gettext
from ..host import author_of, services
from .client_form import BEYOND_QUOTA, remake_form, show_form, sign_in_again, told_roles
from .forms import CHECKED_FIELDS, ClientForm, NewForm, edit_data
from .guard import actor, sign_in_is_recent
from .handover import hand_over
from .htmx import htmx, render
from .loading import load_client
from .writing import writing

TOO_MANY_NEW_CLIENTS = lazy_gettext(
    "Nothing is saved: your account made as many clients as it may in an hour."
    " Wait a little, then press %(button)s again."
)


def new_client() -> ResponseReturnValue:
    """Show the form; on POST create the client, and hand its secret over in this one answer."""
    copied, granted = _client_of("copy"), actor().grantable_roles
    if request.method != "POST":
        filled = {**edit_data(copied, granted), "client_id": ""} if copied else {}
        return _show(NewForm(**filled), copied)
    form = NewForm()
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _show(form, copied, **options))
    if not form.may_be_saved(granted=granted):
        return _show(form, copied, status=422)
    try:
        with writing() as session:
            client = create_client(
                session,
                author=author_of(actor()),
                values=form.values(),
                secret=form.secret,
                creation_key=form.creation_key.data,
                catalogue=services().catalogue,
                granted=granted,
                hasher=services().hasher,
                throttles=services().throttles,
                copied_from=copied.id if copied else None,
                refuse_weak=services().settings.refuse_weak_secrets,
            )
    except InvalidFields as invalid:
        form.add_errors(invalid.errors)
        return _show(form, copied, status=422)
    except AlreadyCreated as repeated:
        return _created_before(repeated.client)
    except Throttled as throttled:
        if htmx().partial:
            raise  # the notice goes into the form that is open, and nothing of it changes
        beyond = TOO_MANY_NEW_CLIENTS if isinstance(throttled, TooManyNewClients) else BEYOND_QUOTA
        form.message = str(beyond) % {"button": form.button}
        response = _show(form, copied, status=429)
        response.headers["Retry-After"] = str(throttled.retry_after_seconds)
        return response
    return hand_over(client, Secret(form.secret), title=gettext("Client created and enabled"), new=True)


def new_client_form() -> Response:
    """Make the form again after Generate or a preset; nothing is saved."""
    copied, form = _client_of("copy"), NewForm()
    return remake_form(form, lambda **options: _show(form, copied, **options))


def check_field() -> Response:
    """Say what is wrong with one field as it is left; nothing is saved.

    A taken client ID is told within the quota only, and beyond it nothing is said of it (A6).
    """
    client, name = _client_of("client"), request.args.get("field", "")
    # Change secret has no field for what else the secret is compared with.
    form = ClientForm(client_id=client.client_id, name=client.name) if client else ClientForm()
    if not form.validate():
        return make_response("", 422)
    if name not in CHECKED_FIELDS:
        raise NotFound
    if not (name == "client_secret" and client and not form.secret):
        form.check([name], granted=actor().grantable_roles)
    if name == "client_secret":
        form.warn_of_secret()
    if name == "client_id" and not form.field_errors:
        _check_client_id(form, client)
    return make_response(render_template("identity_clients/components/_field_message.html", form=form, name=name))


def check_roles() -> Response:
    """Say what saving the chosen roles would change, as they are chosen; nothing is saved."""
    client, form = _client_of("client"), ClientForm()
    if not form.validate():
        return make_response("", 422)
    return make_response(render_template("identity_clients/clients/_roles_message.html", **told_roles(form, client)))


def _check_client_id(form: ClientForm, client: IdentityClient | None) -> None:
    client_id = form.values().client_id
    with reading(services().engine) as session:
        taken = is_taken(session, client_id=client_id, account_id=actor().account_id, key=client.id if client else None)
    if not taken:
        form.tell_of_changed_id(client)
    elif services().throttles.may_answer_taken_id(actor().id):
        form.add_errors([ClientIdTaken()])


def _client_of(argument: str) -> IdentityClient | None:
    """Return the client of this account that the address names, or None where it names none.

    :raises NotFound: it names one that this account has not.
    """
    key = request.args.get(argument)
    return load_client(key) if key else None


def _show(form: NewForm, copied: IdentityClient | None, **options: Any) -> Response:
    catalogue, granted = services().catalogue, actor().grantable_roles
    withdrawn = copied.roles - {role.key for role in catalogue.grantable(granted)} if copied else ()
    return show_form(
        "new",
        form,
        key=None,
        copied=copied,
        withdrawn=catalogue.names(withdrawn),
        remake_url=url_for(".new_form", copy=copied.id if copied else None),
        **told_roles(form, None),
        **{"propose": not htmx().partial, **options},
    )


def _created_before(client: IdentityClient) -> Response:
    """Answer a Create that was sent before: with the client, without its secret."""
    response = render("clients/already_created.html", "clients/_already_created_dialog.html", status=409, client=client)
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-dialog"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Trigger"] = "ic-changed"
    return response
