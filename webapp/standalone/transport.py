"""Refuse requests to other host names, and redirect http to https (C5, C6)."""

from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue

from ..host import check_trusted_host, services

# Monitors ask the process directly, not through the proxy that terminates TLS.
NO_REDIRECT_PATHS = ("/healthz", "/readyz")


def init_app(app: Flask, *, development: bool) -> None:
    """Check the `Host` header of every request; outside development also redirect http to https."""
    app.before_request(check_trusted_host)
    if not development:
        app.before_request(_to_https)


def _to_https() -> ResponseReturnValue | None:
    # A redirect would make clients send their credentials twice; the endpoint itself refuses plain http.
    is_endpoint = request.path.startswith(f"{services().settings.endpoint_prefix}/")
    if request.is_secure or is_endpoint or request.path in NO_REDIRECT_PATHS:
        return None
    return redirect(request.url.replace("http://", "https://", 1), 308)
