"""The door for token requests, before Flask: its contexts, routing and hooks cost more than the token.

Whatever it answers, the same view would have answered behind Flask: a host that embeds us has only that.
"""

import time
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from werkzeug.exceptions import BadRequest

from ..host import Services
from ..http_request import is_secure, is_trusted_host, request_id_of
from ..oauth.answers import answer_to, answered
from ..oauth.metadata import TOKEN_PATH
from ..oauth.token import token
from . import logs
from .responses import STRICT_TRANSPORT_SECURITY, log_request


class TokenFastPath:
    """Answers what goes to the token endpoint, and passes everything else on.

    :param others: the application behind it.
    """

    def __init__(self, others: WSGIApplication, services: Services) -> None:
        self._others = others
        self._services = services

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["PATH_INFO"] != TOKEN_PATH:
            return self._others(environ, start_response)
        began, ours = time.perf_counter(), self._services
        before = logs.at_work.set(environ)
        if is_trusted_host(environ, ours.settings):
            answer = answered(token, environ, ours)
        else:
            answer = answer_to(BadRequest(), environ)
        log_request(environ, ours.settings, answer.status, began)
        logs.at_work.reset(before)
        headers = [*answer.headers.items(), ("Content-Length", str(len(answer.body)))]
        headers.append(("X-Request-ID", request_id_of(environ)))
        if is_secure(environ, ours.settings):
            headers.append(("Strict-Transport-Security", STRICT_TRANSPORT_SECURITY))
        start_response(_status_line(answer.status), headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [answer.body]


@cache
def _status_line(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"
