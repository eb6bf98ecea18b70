"""Redirects after signing in, to pages of this application only (W6)."""

import re
from urllib.parse import unquote, urlsplit

from flask import current_app, request, url_for
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def safe_next(target: str | None) -> str:
    """Return the target if it is a page of this application, else the start page.

    It must begin with exactly one slash, contain no scheme, host, backslash or control character, as written and after
    one decoding, and match a route for GET.
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
