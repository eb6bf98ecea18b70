"""Confirmation of an action: a page, a dialog, or its form again after a POST that changed nothing."""

from typing import Any

from flask import Response, request

from ...core.database.models import IdentityClient
from .forms import ScreenForm
from .htmx import htmx, render


def render_confirmation(
    template: str, client: IdentityClient, form: ScreenForm, *, status: int = 200, **context: Any
) -> Response:
    """Return the confirmation of an action on a client.

    :param template: name of a template that fills the blocks of `base`.
    :param form: the hidden fields of the confirmation; the template adds its own.
    :param status: with 409 a notice says who changed the client meanwhile.
    """
    again = request.method == "POST" and not htmx().into_dialog
    return render(
        template,
        template,
        status=status,
        base=f"identity_clients/components/{'_confirmation.html' if htmx().partial else 'confirmation.html'}",
        dialog=not again,
        client=client,
        form=form,
        stale=status == 409,
        **context,
    )
