"""Render the forms New Client and Edit, and answer their Generate button and presets."""

from collections.abc import Callable
from typing import Any

from flask import Response, request

from ...core.database.models import IdentityClient
from ...core.errors import RateLimited
from ...core.i18n import lazy_gettext
from ...host import services
from ..http.access import actor
from ..http.htmx import htmx
from ..secrets.form_views import show_generated_secret, show_invalid_form, show_secret_form
from .forms import ClientForm, presets, role_groups

TAKEN_ID_LIMIT_REACHED = lazy_gettext(
    "Nothing is saved: too many client IDs that you tried were in use. Wait a little, then press %(button)s again."
)


def show_client_form(name: str, form: ClientForm, *, client: IdentityClient | None = None, **options: Any) -> Response:
    """Render the form of a client.

    :param name: `new` or `edit`.
    :param client: the client that is edited.
    :param options: those of `show_secret_form`, and the variables of the form's own template.
    """
    return show_secret_form(
        name,
        form,
        client=client,
        groups=role_groups(actor().grantable_roles),
        presets=presets(actor().grantable_roles),
        **roles_context(form, client),
        **options,
    )


def roles_context(form: ClientForm, client: IdentityClient | None) -> dict[str, Any]:
    """Return the template variables of the note below the roles: what saving changes, and a risky combination.

    :param client: the client that is edited. A role that its account may no longer grant is shown elsewhere.
    """
    catalogue, grantable, difference = services().catalogue, actor().grantable_roles, None
    if client:
        before, after = (catalogue.effective(keys, grantable) for keys in (client.roles, form.roles.data))
        difference = catalogue.difference({role.key for role in before}, {role.key for role in after})
    return {"difference": difference, "create_and_release": catalogue.create_and_release(form.roles.data)}


def remake_form(form: ClientForm, show: Callable[..., Response]) -> Response:
    """Answer a preset with its roles, and Generate with a new secret; nothing is stored.

    :param show: renders the form; takes the options of `show_secret_form`.
    """
    preset = presets(actor().grantable_roles).get(request.form.get("preset", ""))
    if not preset:
        return show_generated_secret(form, show)
    if not form.validate():
        return show_invalid_form(show)
    form.roles.data = preset[1]
    return show(fragment="clients/_roles_field.html")


def show_rate_limited(error: RateLimited, form: ClientForm, show: Callable[..., Response], message: str) -> Response:
    """Answer a POST beyond a quota with 429 and the form as it was typed.

    :param message: what to show above the form; `%(button)s` is the name of its button.
    :raises RateLimited: htmx asked; the notice goes into the open form, and nothing of it changes.
    """
    if htmx().partial:
        raise error
    form.message = str(message) % {"button": form.button}
    response = show(status=429)
    response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response
