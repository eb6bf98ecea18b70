"""Render the one response that shows a secret."""

from typing import Any

from flask import Response

from .htmx import htmx, render
from .response_kinds import ResponseKind


def show_secret(content: str, *, title: str, done_url: str, done: str = "", **context: Any) -> Response:
    """Return the response to the POST that set a secret; no other response ever shows it (S6, W14).

    :param content: name of the template that shows the secret.
    :param done_url: the page that Done opens.
    :param done: the key of the message on that page; with it, Done opens the page from a dialog too.
    :param context: the parameters of `content`, and `changed`, the key of a row of the list that changed.
    """
    response = render(
        "components/handover.html",
        "components/_handover_dialog.html",
        content=f"identity_clients/{content}",
        title=title,
        done_url=done_url,
        done=done,
        **context,
    )
    if htmx().partial:
        response.headers["HX-Retarget"] = "#ic-dialog"
        response.headers["HX-Reswap"] = "innerHTML"
        response.headers["HX-Trigger"] = "ic-changed"
    response.kind = ResponseKind.SECRET
    return response
