"""A span for each request that the fast path answers, where the process runs under OpenTelemetry.

Flask's instrumentation makes those of all other requests. This one has no attribute that a caller chooses.
"""

from collections.abc import Iterable
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

try:
    from opentelemetry import propagate, trace
except ImportError:
    trace = None  # type: ignore[assignment]

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
_CONTEXT_HEADERS = frozenset({"HTTP_TRACEPARENT", "HTTP_TRACESTATE"})


def traced(app: WSGIApplication, path: str) -> WSGIApplication:
    """Return an application that makes a span of each request for a path, or the same one where nothing is traced.

    Whether something is traced is decided once, since `opentelemetry-instrument` sets the provider before any program.
    """
    if trace is None or isinstance(trace.get_tracer_provider(), (trace.ProxyTracerProvider, trace.NoOpTracerProvider)):
        return app
    tracer = trace.get_tracer("identity_clients")

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["PATH_INFO"] != path:
            return app(environ, start_response)
        method = environ["REQUEST_METHOD"] if environ["REQUEST_METHOD"] in _METHODS else "_OTHER"
        attributes = {"http.request.method": method, "http.route": path}
        carrier = {name[5:].lower(): value for name, value in environ.items() if name in _CONTEXT_HEADERS}
        with tracer.start_as_current_span(
            f"{method} {path}", propagate.extract(carrier), trace.SpanKind.SERVER, attributes
        ) as span:

            def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                code = int(status[:3])
                span.set_attribute("http.response.status_code", code)
                if code >= 500:
                    span.set_status(trace.StatusCode.ERROR)
                return start_response(status, headers, *error)

            return app(environ, start)

    return call
