"""Which requests are for us at all: of our own names, and over https (C5, C6)."""

from flask import Flask, redirect, request
from flask.typing import ResponseReturnValue

from ..host import check_trusted_host

# Where credentials are sent a redirect would only send them again: the endpoint refuses these itself.
CREDENTIALS_BELOW = "/connect/"
# Monitors ask the process itself, past the proxy that ends TLS.
FOR_MONITORS = ("/healthz", "/readyz")


def init_app(app: Flask, *, development: bool) -> None:
    """Refuse foreign names; outside development lead plain http to https."""
    app.before_request(check_trusted_host)
    if not development:
        app.before_request(_to_https)


def _to_https() -> ResponseReturnValue | None:
    if request.is_secure or request.path.startswith(CREDENTIALS_BELOW) or request.path in FOR_MONITORS:
        return None
    return redirect(request.url.replace("http://", "https://", 1), 308)
