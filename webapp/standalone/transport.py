"""Refuse requests to other host names, and redirect http to https (C5, C6)."""

from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue

from ..host import check_trusted_host, services

# Monitors ask the process directly, not through the proxy that terminates TLS, and by any name.
MONITORED_PATHS = ("/healthz", "/readyz", "/metrics")


def init_app(app: Flask, *, development: bool) -> None:
    """Check the `Host` header of every request; outside development also redirect http to https."""
    app.before_request(_check_host)
    if not development:
        app.before_request(_to_https)


def _check_host() -> None:
    # A monitor asks by address, or without `Host` over HTTP/1.0 (D8).
    if request.path not in MONITORED_PATHS:
        check_trusted_host()


def _to_https() -> ResponseReturnValue | None:
    # A redirect would make clients send their credentials twice; the endpoint and the API themselves refuse plain http.
    own = services().settings
    is_for_clients = request.path.startswith((f"{own.endpoint_prefix}/", f"{own.api_prefix}/"))
    if request.is_secure or is_for_clients or request.path in MONITORED_PATHS:
        return None
    return redirect(request.url.replace("http://", "https://", 1), 308)
