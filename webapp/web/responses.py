"""What every answer of the screens carries, and the answers to errors (W12 to W16)."""

import gzip
import logging
from typing import Any

from flask import Response, g, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ..core.errors import Busy, NotFound, Throttled
from ..core.words import lazy_gettext as _
from ..host import request_id, services
from . import presenters
from .assets import HTMX, asset_url
from .htmx import htmx, render

LOG = logging.getLogger(__name__)
COMPRESS_FROM_BYTES = 500
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'"
)
FILE_HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}
HEADERS = FILE_HEADERS | {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), clipboard-read=(), clipboard-write=(self)",
}
# Title, and what to do next. Words for the statuses that a person can meet.
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


def template_context() -> dict[str, Any]:
    """Return what every template of ours may use besides its own parameters."""
    return {
        "asset_url": asset_url,
        "htmx_file": HTMX,
        "host_loads_htmx": services().settings.host_loads_htmx,
        "platform_name": services().settings.platform_name,
        "actor": g.get("identity_clients_actor"),  # as the guard found it: an error page asks nobody anew (D8)
        "partial": htmx().partial,
        "times": presenters.Times(services().settings.time_zone),
    }


def finish(response: Response) -> Response:
    """Add the headers of W13 to W16, and compress unless the answer carries a secret."""
    is_file = "Cache-Control" in response.headers
    for name, value in (FILE_HEADERS if is_file else HEADERS).items():
        response.headers.setdefault(name, value)
    if is_file:
        return response
    response.headers.setdefault("X-Request-ID", request_id())
    response.headers["Cache-Control"] = "no-store"
    response.vary.update(("HX-Request", "HX-Request-Type", "Cookie"))
    _compress(response)
    return response


def carries_secret(response: Response) -> Response:
    """Mark an answer that shows a secret: kept nowhere, and never compressed (S6, W14)."""
    response.headers["Pragma"] = "no-cache"
    return response


def _compress(response: Response) -> None:
    if "Pragma" in response.headers or response.is_streamed or "Content-Encoding" in response.headers:
        return
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if request.accept_encodings.best_match(["gzip"]) and len(body) >= COMPRESS_FROM_BYTES:
        response.set_data(gzip.compress(body, 6, mtime=0))
        response.headers["Content-Encoding"] = "gzip"


def error_response(status: int, *, retry_after_seconds: int | None = None) -> Response:
    """Answer with our own small fragment for htmx, with a page otherwise (W12)."""
    title, advice = ERROR_TEXTS.get(status, ERROR_TEXTS[500 if status >= 500 else 400])
    response = render(
        "components/error.html",
        "components/_error_dialog.html" if htmx().into_dialog else "components/_error.html",
        status=status,
        title=title,
        advice=advice,
        request_id=request_id() if status >= 500 else "",  # every 404 is the same bytes (A3)
    )
    if retry_after_seconds is not None:
        response.headers["Retry-After"] = str(retry_after_seconds)
    return response


def not_found(_error: NotFound) -> ResponseReturnValue:
    """Answer for a client that this account has not; another's looks the same (A3)."""
    return error_response(404)


def throttled(error: Throttled) -> ResponseReturnValue:
    """Answer where a quota is used up (D5)."""
    return error_response(429, retry_after_seconds=error.retry_after_seconds)


def busy(error: Busy) -> ResponseReturnValue:
    """Answer where the database is locked or out of reach (D8), or too many hashes are computed (D7)."""
    return error_response(503, retry_after_seconds=error.retry_after_seconds)


def http_error(error: HTTPException) -> ResponseReturnValue:
    """Answer for any status that Flask raises within the screens."""
    if error.response is not None:
        return error.response
    response = error_response(error.code or 500)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def unexpected(error: Exception) -> ResponseReturnValue:
    """Log a fault of ours without the values at hand, and say nothing of it (L5)."""
    LOG.error("unexpected error", exc_info=error, extra={"request_id": request_id()})
    g.setdefault("identity_clients_actor", None)  # the loader may be what failed: the page does not ask it again
    return error_response(500)
