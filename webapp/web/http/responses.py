"""Headers and compression of every response of the screens, and the responses to errors (W12 to W16)."""

import gzip
import logging
from typing import Any

from flask import Response, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ...core.errors import NotFound, NotWritable, RateLimited, Unavailable
from ...core.i18n import lazy_gettext as _
from ...host import permissions_of, request_id, services
from ...security_headers import FILE_HEADERS, PAGE_HEADERS
from ..i18n import times
from ..i18n.credential_names import credential_name, credential_title
from .htmx import htmx, render
from .response_kinds import SCREEN_HEADER, ResponseKind, ScreenResponse, kind_of
from .static_files import HTMX, asset_url
from .urls import url_builder

LOG = logging.getLogger(__name__)
COMPRESS_FROM_BYTES = 500
# Title, and what to do next.
ERROR_TEXTS = {
    400: (_("That request could not be read"), _("Go back and try again.")),
    401: (_("You are signed out"), _("Sign in, then open this page again.")),
    403: (_("That was refused"), _("Reload the page and try again from there.")),
    404: (_("There is no such page"), _("It may have been moved, or the address is wrong.")),
    405: (_("That page cannot be used this way"), _("Open it from the list of clients.")),
    413: (_("That is too much text"), _("Shorten what you typed, then try again.")),
    415: (_("That request could not be read"), _("Send the form from its own page.")),
    429: (_("Too many attempts"), _("Wait a little, then try again.")),
    500: (
        _("Something went wrong on our side"),
        _("Nothing was changed. Try again; if it happens again, tell support."),
    ),
    503: (_("The service is busy"), _("Nothing was changed. Try again in a few seconds.")),
}
NOT_WRITABLE_TEXT = (
    _("Nothing can be saved now"),
    _("Nothing was changed: the platform cannot write to its database. Tell support, then try again later."),
)


def template_context() -> dict[str, Any]:
    """Return the variables of every template besides its parameters."""
    return {
        "asset_url": asset_url,
        "url_builder": url_builder,
        "htmx_file": HTMX,
        "host_loads_htmx": services().settings.host_loads_htmx,
        "platform_name": services().settings.platform_name,
        "actor": (actor := g.get("identity_clients_actor")),  # an error page must not need the database (D8)
        "permissions": permissions_of(actor),
        "partial": htmx().partial,
        "current_path": htmx().path,
        "credential_name": credential_name,
        "credential_title": credential_title,
        "times": times.Times(services().settings.time_zone),
    }


def finish(response: Response) -> Response:
    """Add the headers of W13 to W16, and compress a page."""
    kind = kind_of(response)
    for name, value in (FILE_HEADERS if kind is ResponseKind.STATIC_FILE else PAGE_HEADERS).items():
        response.headers.setdefault(name, value)
    if kind is ResponseKind.STATIC_FILE:
        return response
    if isinstance(response, ScreenResponse):
        response.headers[SCREEN_HEADER] = "1"
    response.headers.setdefault("X-Request-ID", request_id())
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("HX-Request", "HX-Request-Type", "Cookie"))
    if kind is ResponseKind.SECRET:
        response.headers["Pragma"] = "no-cache"
    elif kind is ResponseKind.PAGE:
        _compress(response)
    return response


def _compress(response: Response) -> None:
    if response.is_streamed or "Content-Encoding" in response.headers:
        return
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if request.accept_encodings.best_match(["gzip"]) and len(body) >= COMPRESS_FROM_BYTES:
        response.set_data(gzip.compress(body, 6, mtime=0))
        response.headers["Content-Encoding"] = "gzip"


def error_response(
    status: int, *, text: tuple[str, str] | None = None, retry_after_seconds: int | None = None
) -> Response:
    """Return an error as a small fragment for htmx, otherwise as a page (W12).

    :param text: the title and the advice; None: those of the status.
    """
    title, advice = text or ERROR_TEXTS.get(status, ERROR_TEXTS[500 if status >= 500 else 400])
    response = render(
        "components/error.html",
        "components/_error_dialog.html" if htmx().into_dialog else "components/_error.html",
        status=status,
        title=title,
        advice=advice,
        request_id=request_id() if status >= 500 else "",  # every 404 has the same bytes (A3)
    )
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def not_found(_error: NotFound) -> ResponseReturnValue:
    """Answer a request for a client that the account does not have (A3)."""
    return error_response(404)


def rate_limited(error: RateLimited) -> ResponseReturnValue:
    """Answer a request beyond a rate limit or quota (D5)."""
    return error_response(429, retry_after_seconds=error.retry_after_seconds)


def busy(error: Unavailable) -> ResponseReturnValue:
    """Answer where the database cannot be used (D8), or too many hashes are computed (D7)."""
    text = NOT_WRITABLE_TEXT if isinstance(error, NotWritable) else None
    return error_response(503, text=text, retry_after_seconds=error.retry_after_seconds)


def http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer an HTTP error raised by Flask, Werkzeug or a view."""
    if error.response is not None:
        return error.response
    response = error_response(error.code or 500)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def unexpected(error: Exception) -> ResponseReturnValue:
    """Log an unexpected exception, and answer 500 without details (L5)."""
    LOG.error("unexpected error", exc_info=error, extra={"request_id": request_id()})
    g.setdefault("identity_clients_actor", None)  # the actor loader may have raised; do not call it again
    return error_response(500)
