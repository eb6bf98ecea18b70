"""The language of the pages: the one that the user chose, or else the browser's first of ours."""

import flask_babel
from babel import negotiate_locale
from flask import Flask, Response, request
from werkzeug import Response as BaseResponse

from ..web.i18n.language import current_language, follow_requests

COOKIE = "identity-clients-language"
COOKIE_MAX_AGE_SECONDS = 365 * 24 * 3600
LANGUAGE_NAMES = {"en": "English", "de": "Deutsch"}
"""Each language by its code, named in itself; the first is the default."""
DEFAULT = "en"
_LOCALES = {"en": "en_GB", "de": "de"}
_BLUEPRINTS = (None, "mas", "identity_clients")  # the API and the identity endpoint speak English


def init_app(app: Flask) -> None:
    """Set up Flask-Babel, from which Identity Clients reads the language as in every host."""
    flask_babel.Babel(app, locale_selector=lambda: _LOCALES[current()])
    follow_requests(app)
    app.after_request(_add_headers)


def current() -> str:
    """Return the code of the language of this request: that of the cookie, or else of `Accept-Language`."""
    chosen = request.cookies.get(COOKIE)
    if chosen in LANGUAGE_NAMES:
        return chosen
    accepted = [tag.lower() for tag, quality in request.accept_languages if quality > 0]
    return negotiate_locale(accepted, LANGUAGE_NAMES, sep="-") or DEFAULT


def remember(response: BaseResponse, code: str) -> None:
    """Set the cookie with the language that the user chose."""
    response.set_cookie(
        COOKIE, code, max_age=COOKIE_MAX_AGE_SECONDS, secure=request.is_secure, httponly=True, samesite="Lax"
    )


def _add_headers(response: Response) -> Response:
    """Add to a page its language, and that it depends on the browser's languages and the cookie."""
    if response.mimetype == "text/html" and request.blueprint in _BLUEPRINTS:
        response.headers["Content-Language"] = current_language().tag
        response.vary.update(("Accept-Language", "Cookie"))
    return response
