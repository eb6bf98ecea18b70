"""The one reader of htmx's request headers, and the one place that picks page or fragment (W13)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from flask import Response, current_app, make_response, render_template, request


@dataclass(frozen=True, slots=True)
class HtmxHeaders:
    """What htmx says of a request.

    :param partial: a fragment is wanted: htmx asks, for a part of the page, and not to restore the history.
    :param into_dialog: the answer goes into the place where dialogs open.
    :param path: of the page from which it asks, empty if it does not tell.
    """

    partial: bool
    into_dialog: bool
    path: str


def htmx() -> HtmxHeaders:
    """Read the headers of the request at work."""
    headers = request.headers
    return HtmxHeaders(
        partial=headers.get("HX-Request") == "true"
        and headers.get("HX-Request-Type") == "partial"
        and headers.get("HX-History-Restore-Request") != "true",
        into_dialog=headers.get("HX-Target", "").endswith("#ic-dialog"),
        path=urlsplit(headers.get("HX-Current-URL", "")).path,
    )


def render(page: str, fragment: str, /, *, status: int = 200, **context: Any) -> Response:
    """Answer with a fragment where htmx wants one, else with the page that includes the same fragment.

    :param page: name of the page's template.
    :param fragment: name of the fragment's template.
    """
    if htmx().partial:
        return make_response(render_template(f"identity_clients/{fragment}", **context), status)
    return make_response(render_page(page, context), status)


def render_page(name: str, context: Mapping[str, Any]) -> str:
    """Return a page of ours within the host's frame.

    They are rendered apart, so that a name of ours, such as `client` or `title`, never hides one of the host's.
    """
    app, ours = current_app, dict(context)
    app.update_template_context(ours)
    part = app.jinja_env.get_template(f"identity_clients/{name}").make_module(ours)
    hosts = {"ic_title": vars(part)["ic_title"], "ic_head": vars(part)["ic_head"], "ic_content": part}
    for processor in app.template_context_processors[None]:
        hosts |= app.ensure_sync(processor)()
    return app.jinja_env.get_template("identity_clients/_frame.html").render(hosts)


def close_dialog(html: str) -> Response:
    """Answer a form in a dialog: close it, refresh what stands behind it, and show what this fragment says."""
    response = make_response(html)
    response.headers["HX-Retarget"] = "#ic-dialog"
    response.headers["HX-Reswap"] = "innerHTML swapEmpty:true"
    response.headers["HX-Trigger"] = "ic-changed"
    return response
