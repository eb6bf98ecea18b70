"""Error pages, security headers and the request log of the stand-alone application (L5, W15, W16)."""

import logging
import time
from wsgiref.types import WSGIEnvironment

from flask import Flask, Response, g, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from ..core.errors import NotWritable, Unavailable
from ..core.i18n import lazy_gettext as _
from ..host import request_id, services
from ..http_request import address_of
from ..security_headers import PAGE_HEADERS
from ..settings import Settings

LOG = logging.getLogger(__name__)

STRICT_TRANSPORT_SECURITY = "max-age=31536000; includeSubDomains"
# For each status the title, and what to do next.
ERRORS = {
    400: (_("That request could not be read"), _("Go back, reload the page, then try again.")),
    403: (_("That was refused"), _("You may not do this. Ask one of your Merchant Admins.")),
    404: (_("There is no such page"), _("It may have been moved, or the address is wrong.")),
    405: (_("That page cannot be used this way"), _("Open it from the start page.")),
    413: (_("That is too much text"), _("Shorten what you typed, then try again.")),
    414: (_("That address is too long"), _("Open the page from the start page.")),
    415: (_("That request could not be read"), _("Send the form from its own page.")),
    429: (_("Too many attempts"), _("Wait a little, then try again.")),
    500: (_("Something went wrong on our side"), _("Try again. If it happens again, tell support the request below.")),
    503: (_("The service is busy"), _("Try again in a few seconds.")),
}
NOT_WRITABLE = (
    _("Nothing can be saved now"),
    _("The platform cannot write to its database. Tell support; try again later."),
)


def init_app(app: Flask) -> None:
    """Register the headers, the error pages and the request log."""
    app.before_request(_begin)
    app.after_request(_finish)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Unavailable, _unavailable)


def _begin() -> None:
    g.mas_began = time.perf_counter()


def _finish(response: Response) -> Response:
    """Add the headers that the blueprints have not set, and log the request."""
    environ = request.environ
    wanted = {"X-Content-Type-Options": "nosniff", "X-Request-ID": request_id()}
    if response.mimetype == "text/html" or not 200 <= response.status_code < 300:
        wanted |= PAGE_HEADERS | {"Cache-Control": "no-store"}
    if environ["wsgi.url_scheme"] == "https":
        wanted["Strict-Transport-Security"] = STRICT_TRANSPORT_SECURITY
    # `Headers.setdefault` would search all headers, and raise and catch an error for each that is missing.
    present = {name.lower() for name, _ in response.headers}
    for name, value in wanted.items():
        if name.lower() not in present:
            response.headers.add(name, value)
    log_request(environ, services().settings, response.status_code, g.get("mas_began", time.perf_counter()))
    return response


def log_request(environ: WSGIEnvironment, settings: Settings, status: int, began: float) -> None:
    """Log one request without its query string, which may contain a credential (L4).

    An issued token is logged at level DEBUG only, since it is recorded for its client (L2).

    :param began: `time.perf_counter()` when the request arrived.
    """
    level = logging.DEBUG if status == 200 and environ["PATH_INFO"] == settings.token_path else logging.INFO
    if not LOG.isEnabledFor(level):
        return
    LOG.log(
        level,
        "request",
        extra={
            "method": environ["REQUEST_METHOD"],
            "path": environ["PATH_INFO"],
            "status": status,
            "milliseconds": round((time.perf_counter() - began) * 1000, 1),
            "address": address_of(environ, settings),
        },
    )


def _http_error(error: HTTPException) -> ResponseReturnValue:
    """Return the error page of an HTTP error. It says what to do, and nothing about the cause (L5)."""
    if error.response is not None:
        return make_response(error.response)
    response = _error_page(error.code or 500)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _unavailable(error: Unavailable) -> ResponseReturnValue:
    """Return 503: the database cannot be used (D8), or too many hashes are being computed (D7)."""
    response = _error_page(503, NOT_WRITABLE if isinstance(error, NotWritable) else None)
    response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _error_page(status: int, text: tuple[str, str] | None = None) -> Response:
    title, advice = text or ERRORS.get(status, ERRORS[500 if status >= 500 else 400])
    page = render_template("mas/error.html", title=title, advice=advice, request_id=request_id())
    return make_response(page, status)
