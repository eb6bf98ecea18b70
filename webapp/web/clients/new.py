"""New Client, and the checks of fields as they are left."""

from typing import Any

from flask import Response, make_response, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.clients.client_ids import is_taken
from ...core.clients.create import AlreadyCreated, create_client
from ...core.database.models import IdentityClient
from ...core.database.unit_of_work import read_session
from ...core.errors import ClientIdTaken, InvalidFields, NotFound, RateLimited, TooManyNewClients
from ...core.i18n import gettext, lazy_gettext
from ...core.secrets.generation import Secret
from ...host import author_of, services
from ..http.access import actor, sign_in_is_recent
from ..http.htmx import htmx, render
from ..http.loading import load_client
from ..http.transactions import transaction
from ..secrets.handover import hand_over
from .form_views import TAKEN_ID_LIMIT_REACHED, remake_form, roles_summary, show_form, sign_in_again
from .forms import CHECKED_FIELDS, ClientForm, NewForm, edit_data

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
        with transaction() as session:
            client = create_client(
                session,
                author=author_of(actor()),
                values=form.values(),
                secret=form.secret,
                creation_key=form.creation_key.data,
                catalogue=services().catalogue,
                granted=granted,
                hasher=services().hasher,
                rate_limits=services().rate_limits,
                copied_from=copied.id if copied else None,
                refuse_weak=services().settings.refuse_weak_secrets,
            )
    except InvalidFields as invalid:
        form.add_errors(invalid.errors)
        return _show(form, copied, status=422)
    except AlreadyCreated as repeated:
        return _created_before(repeated.client)
    except RateLimited as throttled:
        if htmx().partial:
            raise  # the notice goes into the form that is open, and nothing of it changes
        beyond = TOO_MANY_NEW_CLIENTS if isinstance(throttled, TooManyNewClients) else TAKEN_ID_LIMIT_REACHED
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
    return make_response(render_template("identity_clients/_form_said.html", form=form, name=name))


def check_roles() -> Response:
    """Say what saving the chosen roles would change, as they are chosen; nothing is saved."""
    client, form = _client_of("client"), ClientForm()
    if not form.validate():
        return make_response("", 422)
    return make_response(render_template("identity_clients/_form_roles_said.html", **roles_summary(form, client)))


def _check_client_id(form: ClientForm, client: IdentityClient | None) -> None:
    client_id = form.values().client_id
    with read_session(services().engine) as session:
        taken = is_taken(session, client_id=client_id, account_id=actor().account_id, key=client.id if client else None)
    if not taken:
        form.tell_of_changed_id(client)
    elif services().rate_limits.may_answer_taken_id(actor().id):
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
        **roles_summary(form, None),
        **{"propose": not htmx().partial, **options},
    )


def _created_before(client: IdentityClient) -> Response:
    """Answer a Create that was sent before: with the client, without its secret."""
    response = render("created_before.html", "_created_before_dialog.html", status=409, client=client)
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-dialog"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Trigger"] = "ic-changed"
    return response
