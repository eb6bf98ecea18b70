"""Where to go after signing in (W6)."""

import re
from urllib.parse import unquote, urlsplit

from flask import current_app, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def safe_next(target: str | None) -> str:
    """Return the page that was asked for if it is one of this application, else the start page.

    It must begin with exactly one slash, name no scheme or host, hold no backslash or control character,
    as written and after one decoding, and be a page that a GET reaches.
    """
    start = url_for("mas.home")
    if not target or not all(_is_local(form) for form in (target, unquote(target))):
        return start
    path = unquote(urlsplit(target).path)
    if not path.startswith(f"{request.script_root}/"):
        return start
    try:
        adapter = current_app.create_url_adapter(request)
        endpoint = adapter.match(path.removeprefix(request.script_root), method="GET")[0] if adapter else None
    except (HTTPException, RequestRedirect):
        return start
    return start if endpoint in (None, "mas.sign_in") else target


def _is_local(target: str) -> bool:
    if not target.startswith("/") or target.startswith("//") or "\\" in target or _CONTROL.search(target):
        return False
    try:
        parts = urlsplit(target)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc
