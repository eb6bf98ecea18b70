"""The token endpoint as WSGI middleware in front of Flask, whose contexts, routing and hooks cost more than a token.

It calls the same view as the blueprint, and a test compares the responses of the two.
"""

import time
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import BadRequest

from ..host import Services
from ..http_request import is_secure, is_trusted_host, request_id_of
from ..oauth.response import error_response, handle
from ..oauth.token import token
from . import logs
from .error_pages import STRICT_TRANSPORT_SECURITY, log_request


class TokenFastPath:
    """Middleware that responds to requests for the token endpoint, and passes all others on.

    :param app: the application behind it.
    """

    def __init__(self, app: WSGIApplication, services: Services) -> None:
        self.app = app
        self._services = services
        self._path = services.settings.token_path

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Respond to a request."""
        if environ["PATH_INFO"] != self._path:
            return self.app(environ, start_response)
        began, settings = time.perf_counter(), self._services.settings
        reset_token = logs.current_environ.set(environ)
        if is_trusted_host(environ, settings):
            response = handle(token, environ, self._services)
        else:
            response = error_response(BadRequest(), request_id_of(environ))
        log_request(environ, settings, response.status, began)
        logs.current_environ.reset(reset_token)
        headers = [*response.headers.items(), ("Content-Length", str(len(response.body)))]
        headers.append(("X-Request-ID", request_id_of(environ)))
        if is_secure(environ, settings):
            headers.append(("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY))
        start_response(_status_line(response.status), headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [response.body]


@cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
