"""Render a form in which a secret is set, and answer its Generate button."""

from collections.abc import Callable
from typing import Any

from flask import Response, request

from ...host import services
from ..http.htmx import htmx, render
from ..http.response_kinds import ResponseKind
from .forms import SecretForm


def show_secret_form(
    name: str, form: SecretForm, *, fragment: str = "", status: int = 200, propose: bool = False, **context: Any
) -> Response:
    """Render a form with a secret: a dialog for a GET of htmx, the form for a POST of htmx, else a page.

    :param name: `new`, `edit` or `change`, as in the names of the templates.
    :param fragment: the part of the form that htmx asks for, where it is not the whole.
    :param propose: fill in a generated secret, which is not stored. A typed secret is never sent back (S6).
    """
    posted = request.method == "POST"
    folder = "secrets" if name == "change" else "clients"
    response = render(
        f"{folder}/{name}.html",
        fragment or (f"{folder}/_{name}_form.html" if posted else f"{folder}/_{name}_dialog.html"),
        status=status,
        form=form,
        proposed=services().secrets.generate().reveal() if propose else "",
        typed_is_lost=posted and not htmx().partial and bool(form.secret) and "generate" not in request.form,
        may_keep_secret=name == "edit",
        generate_on_load=name != "edit" and not posted,
        **context,
    )
    if propose:
        response.kind = ResponseKind.SECRET
    return response


def show_generated_secret(form: SecretForm, show: Callable[..., Response]) -> Response:
    """Answer Generate: render the secret's field with a new secret, which is not stored.

    :param show: renders the form; takes the options of `show_secret_form`.
    """
    if not form.validate():
        return show_invalid_form(show)
    return show(fragment="secrets/_secret_field.html", propose=True)


def show_invalid_form(show: Callable[..., Response]) -> Response:
    """Render the whole form with its message, where htmx asked for a part of it.

    :param show: renders the form; takes the options of `show_secret_form`.
    """
    response = show(status=422)
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-form"
        response.headers["HX-Reswap"] = "outerMorph"
    return response
