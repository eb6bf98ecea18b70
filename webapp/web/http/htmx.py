"""Read the request headers of htmx, and choose between page and fragment (W13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import current_app, render_template, request

from .response_kinds import ScreenResponse


@dataclass(frozen=True, slots=True)
class HtmxHeaders:
    """The request headers of htmx.

    :param partial: htmx requests a fragment: it swaps a part of the page, and does not restore the history.
    :param into_dialog: the response is swapped into the container of the dialog.
    :param path: the path of the page that sent the request, empty where the header is missing.
    """

    partial: bool
    into_dialog: bool
    path: str


def htmx() -> HtmxHeaders:
    """Return the headers of the current request."""
    headers = request.headers
    return HtmxHeaders(
        partial=headers.get("HX-Request") == "true"
        and headers.get("HX-Request-Type") == "partial"
        and headers.get("HX-History-Restore-Request") != "true",
        into_dialog=headers.get("HX-Target", "").endswith("#ic-dialog"),
        path=urlsplit(headers.get("HX-Current-URL", "")).path,
    )


def render(page: str, fragment: str, /, *, status: int = 200, **context: Any) -> ScreenResponse:
    """Return a fragment where htmx requests one, else the page that includes the same fragment.

    :param page: name of the page's template.
    :param fragment: name of the fragment's template.
    """
    if htmx().partial:
        return ScreenResponse(render_template(f"identity_clients/{fragment}", **context), status)
    return ScreenResponse(render_page(page, context), status)


def render_page(name: str, context: Mapping[str, Any]) -> str:
    """Return a page within the layout of the host.

    The two are rendered separately, so that our `client` or `title` never hides a variable of the host's layout.
    """
    app, variables = current_app, dict(context)
    app.update_template_context(variables)
    page = app.jinja_env.get_template(f"identity_clients/{name}").make_module(variables)
    host_variables = {"ic_title": vars(page)["ic_title"], "ic_head": vars(page)["ic_head"], "ic_content": page}
    for processor in app.template_context_processors[None]:
        host_variables |= app.ensure_sync(processor)()
    return app.jinja_env.get_template("identity_clients/_frame.html").render(host_variables)


def close_dialog(html: str) -> ScreenResponse:
    """Return the response that closes the dialog, refreshes the page behind it and shows a toast.

    :param html: the fragment of the toast.
    """
    response = ScreenResponse(html)
    response.headers["HX-Retarget"] = "#ic-dialog"
    response.headers["HX-Reswap"] = "innerHTML swapEmpty:true"
    response.headers["HX-Trigger"] = "ic-changed"
    return response
