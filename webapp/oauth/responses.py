"""The endpoint as Flask sees it: its answers as responses that the host's hooks leave as they are."""

from collections.abc import Iterable
from functools import wraps
from wsgiref.types import WSGIEnvironment

from flask import Response, request
from flask.typing import RouteCallable

from ..host import services
from ..http_request import restore_body
from .answers import Answer, View, answer_to, answered

_FOREIGN_HEADERS = ("set-cookie", "access-control-")


class JsonResponse(Response):
    """An answer whose headers are settled last, after every hook of the host and its session (P13, W15, W16)."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.body, answer.status, content_type=answer.headers["Content-Type"])
        self._last_headers = list(answer.headers.items())
        self._last_names = frozenset(map(str.lower, answer.headers))

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return what to send, with no cookie, no cross-origin grant, and our headers as they are.

        The list is built in one pass, since `Headers` looks through all of them for each that it sets: 2 us, not 6.
        """
        kept = [
            (name, value)
            for name, value in self.headers
            if (lower := name.lower()) not in self._last_names and not lower.startswith(_FOREIGN_HEADERS)
        ]
        return self.get_app_iter(environ), self.status, kept + self._last_headers


def flask_view(view: View) -> RouteCallable:
    """Return a view of ours as one of Flask's, under the same name."""

    @wraps(view)
    def respond() -> Response:
        restore_body()
        return JsonResponse(answered(view, request.environ, services()))

    return respond


def respond_to(error: Exception) -> Response:
    """Answer where a hook of the host, or Flask itself, ended the request before our view."""
    return JsonResponse(answer_to(error, request.environ))
