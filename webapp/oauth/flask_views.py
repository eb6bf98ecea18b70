"""The endpoint's views as views of Flask, whose responses the hooks of the host cannot change."""

from collections.abc import Callable, Iterable
from functools import wraps
from wsgiref.types import WSGIEnvironment

from flask import Response, request
from flask.typing import RouteCallable

from ..host import Services, request_id, services
from ..http_request import restore_body
from .response import JsonResponse, View, error_response, handle

_FOREIGN_HEADERS = ("set-cookie", "access-control-")


class FinalResponse(Response):
    """A response of Flask that sets the endpoint's headers last, after every hook and the session (P13, W15, W16)."""

    def __init__(self, response: JsonResponse) -> None:
        super().__init__(response.body, response.status, content_type=response.headers["Content-Type"])
        self._final_headers = list(response.headers.items())
        self._final_names = frozenset(map(str.lower, response.headers))

    def get_wsgi_response(self, environ: WSGIEnvironment) -> tuple[Iterable[bytes], str, list[tuple[str, str]]]:
        """Return body, status and headers, without cookies and cross-origin headers of the host.

        The list is built in one pass, since `Headers.set` searches all headers each time: 2 us in place of 6.
        """
        kept = [
            (name, value)
            for name, value in self.headers
            if (lower := name.lower()) not in self._final_names and not lower.startswith(_FOREIGN_HEADERS)
        ]
        return self.get_app_iter(environ), self.status, kept + self._final_headers


def flask_view(view: View) -> RouteCallable:
    """Return a view of the endpoint as a view of Flask, with the same name."""

    @wraps(view)
    def respond() -> Response:
        restore_body()
        response = FinalResponse(handle(view, request.environ, services()))
        response.headers["X-Request-ID"] = request_id()  # by which the request log finds it
        return response

    return respond


def flask_document(document: Callable[[Services], JsonResponse]) -> RouteCallable:
    """Return a public document, which depends on no request, as a view of Flask with the same name."""

    @wraps(document)
    def respond() -> Response:
        try:
            return FinalResponse(document(services()))
        except Exception as error:
            return handle_error(error)

    return respond


def handle_error(error: Exception) -> Response:
    """Return the response where Flask or a hook of the host raised an error before the view."""
    return FinalResponse(error_response(error, request_id()))
