"""What New Client and Edit have in common: showing the form, and making it again without saving."""

from collections.abc import Callable
from typing import Any

from flask import Response, make_response, render_template, request, url_for

from ..core.audit import Refusal
from ..core.models import IdentityClient
from ..core.secrets import generate_secret
from ..core.words import gettext, lazy_gettext
from ..host import services, sign_in_url
from .forms import ClientForm, ScreenForm, SecretForm, presets, role_groups
from .guard import actor
from .htmx import htmx, render
from .responses import carries_secret
from .writing import note_refusal

BEYOND_QUOTA = lazy_gettext(
    "Nothing is saved: too many client IDs that you tried were in use. Wait a little, then press %(button)s again."
)


def show_form(
    name: str, form: SecretForm, *, fragment: str = "", status: int = 200, propose: bool = False, **context: Any
) -> Response:
    """Answer with the form: in a dialog to a GET of htmx, by itself to a POST of htmx, else in a page.

    :param name: `new`, `edit` or `change`, as the templates are called.
    :param fragment: the part of the form that htmx asks for, where it is not all.
    :param propose: fill in a generated secret, which is not stored. A secret that was typed is never sent back (S6).
    """
    posted, granted = request.method == "POST", actor().grantable_roles
    folder = "secrets" if name == "change" else "clients"
    response = render(
        f"{folder}/{name}.html",
        fragment or (f"{folder}/_{name}_form.html" if posted else f"{folder}/_{name}_dialog.html"),
        status=status,
        form=form,
        proposed=generate_secret(services().settings.secret_prefix).reveal() if propose else "",
        typed_is_lost=posted and not htmx().partial and bool(form.secret) and "generate" not in request.form,
        may_keep_secret=name == "edit",
        generate_on_load=name != "edit" and not posted,
        groups=role_groups(granted),
        presets=presets(granted),
        **context,
    )
    return carries_secret(response) if propose else response


def told_roles(form: ClientForm, client: IdentityClient | None) -> dict[str, Any]:
    """Return what is said of the chosen roles: what changes when they are saved, and whether they sit ill together.

    :param client: what is edited; None: nothing. A role that its account no longer holds is told elsewhere.
    """
    catalogue, granted, difference = services().catalogue, actor().grantable_roles, None
    if client:
        before, after = (catalogue.effective(keys, granted) for keys in (client.roles, form.roles.data))
        difference = catalogue.difference({role.key for role in before}, {role.key for role in after})
    return {"difference": difference, "create_and_release": catalogue.create_and_release(form.roles.data)}


def sign_in_again(form: ScreenForm, show: Callable[..., Response]) -> Response:
    """Answer a change of secrets long after sign-in: with a notice for the dialog, or the page as it was typed (W5).

    :param show: answers with the form; takes the options of `show_form`.
    """
    note_refusal(Refusal.SIGN_IN_TOO_OLD)
    url = sign_in_url(url_for(".list"))
    if htmx().partial:
        return make_response(render_template("identity_clients/components/_sign_in_again.html", sign_in_url=url), 401)
    form.message = gettext(
        "For a change to secrets your sign-in must be recent. Sign in in a new tab, then press %(button)s again.",
        button=form.button,
    )
    return show(status=401)


def remake_form(form: SecretForm, show: Callable[..., Response]) -> Response:
    """Answer Generate with a new secret, a preset with its roles; whatever else was typed stays.

    :param show: answers with the form; takes the options of `show_form`.
    """
    partial = htmx().partial
    if not form.validate():
        response = show(status=422)
        if partial:
            response.headers["HX-Retarget"] = "#ic-form"
            response.headers["HX-Reswap"] = "outerMorph"
        return response
    preset = presets(actor().grantable_roles).get(request.form.get("preset", ""))
    if preset and isinstance(form, ClientForm):
        form.roles.data = preset[1]
        return show(fragment="clients/_roles_field.html")
    return show(fragment="secrets/_secret_field.html", propose=True)
