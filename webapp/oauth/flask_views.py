"""The endpoint's views as views of Flask, whose responses the hooks of the host cannot change."""

from collections.abc import Callable
from functools import wraps

from flask import Response, request
from flask.typing import RouteCallable

from ..final_response import FinalResponse
from ..host import Services, request_id, services
from ..http_request import restore_body
from .response import JsonResponse, View, error_response, handle


def flask_view(view: View) -> RouteCallable:
    """Return a view of the endpoint as a view of Flask, with the same name."""

    @wraps(view)
    def respond() -> Response:
        restore_body()
        response = FinalResponse(*handle(view, request.environ, services()))
        response.headers["X-Request-ID"] = request_id()  # by which the request log finds it
        return response

    return respond


def flask_document(document: Callable[[Services], JsonResponse]) -> RouteCallable:
    """Return a public document, which depends on no request, as a view of Flask with the same name."""

    @wraps(document)
    def respond() -> Response:
        try:
            return FinalResponse(*document(services()))
        except Exception as error:
            return handle_error(error)

    return respond


def handle_error(error: Exception) -> Response:
    """Return the response where Flask or a hook of the host raised an error before the view."""
    return FinalResponse(*error_response(error, request_id()))
