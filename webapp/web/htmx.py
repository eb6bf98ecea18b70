"""The one reader of htmx's request headers, and the one place that picks page or fragment (W13)."""

from dataclasses import dataclass
from typing import Any

from flask import Response, make_response, render_template, request


@dataclass(frozen=True, slots=True)
class HtmxHeaders:
    """What htmx says of a request.

    :param partial: a fragment is wanted: htmx asks, for a part of the page, and not to restore the history.
    :param into_dialog: the answer goes into the place where dialogs open.
    """

    partial: bool
    into_dialog: bool


def htmx() -> HtmxHeaders:
    """Read the headers of the request at work."""
    headers = request.headers
    return HtmxHeaders(
        partial=headers.get("HX-Request") == "true"
        and headers.get("HX-Request-Type") == "partial"
        and headers.get("HX-History-Restore-Request") != "true",
        into_dialog=headers.get("HX-Target", "").endswith("#ic-dialog"),
    )


def render(page: str, fragment: str, /, *, status: int = 200, **context: Any) -> Response:
    """Answer with a fragment where htmx wants one, else with the page that includes the same fragment.

    :param page: name of the page's template.
    :param fragment: name of the fragment's template.
    """
    name = fragment if htmx().partial else page
    return make_response(render_template(f"identity_clients/{name}", **context), status)


def close_dialog(html: str) -> Response:
    """Answer a form in a dialog: close it, refresh what stands behind it, and show what this fragment says."""
    response = make_response(html)
    response.headers["HX-Retarget"] = "#ic-dialog"
    response.headers["HX-Reswap"] = "innerHTML swapEmpty:true"
    response.headers["HX-Trigger"] = "ic-changed"
    return response
