"""The question before something is done: a page, a dialog, or its form again after a POST that did nothing."""

from typing import Any

from flask import Response, request

from ..core.models import IdentityClient
from .forms import ScreenForm
from .htmx import htmx, render


def ask(template: str, client: IdentityClient, form: ScreenForm, *, status: int = 200, **context: Any) -> Response:
    """Answer with a question.

    :param template: of the question; it fills the blocks of `base`.
    :param form: what is posted, but for what the template itself has.
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
