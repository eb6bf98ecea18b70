"""The policy of the security team: own files, and inline scripts that carry the nonce of their page."""

from secrets import token_urlsafe

from flask import g


def nonce():
    if "nonce" not in g:
        g.nonce = token_urlsafe(16)
    return g.nonce


def add_headers(response):
    response.headers["Content-Security-Policy"] = (
        f"default-src 'self'; script-src 'self' 'nonce-{nonce()}'; img-src 'self' data:; object-src 'none';"
        " base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    return response


def init_app(app):
    app.after_request(add_headers)
    app.jinja_env.globals["nonce"] = nonce
