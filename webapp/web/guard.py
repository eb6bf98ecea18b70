"""Who may pass: sign-in, role, feature, origin. Runs before every view of the screens."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from urllib.parse import urlsplit

from flask import abort, current_app, g, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import UnsupportedMediaType

from ..core.accounts import set_account
from ..core.audit import Refusal
from ..core.database import unit_of_work
from ..core.models import utc_now
from ..host import BACKGROUND_HEADER, Actor, current_actor, put_body_back, read_body, services, sign_in_url
from . import responses
from .htmx import htmx, render
from .writing import note_refusal

LOG = logging.getLogger(__name__)
BODY_LIMIT_BYTES = 64 * 1024
FORM_PARTS_LIMIT = 50
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


class Access(Enum):
    """Who may use a URL (A1, A2). A POST needs MANAGE whatever its list says."""

    PUBLIC = "anybody"
    VIEW = "managers, and the roles that a setting names for viewing"
    MANAGE = "managers"


def guard(lists: Mapping[str, Access]) -> ResponseReturnValue | None:
    """Let a request through to its view, or answer in its place.

    :param lists: for each endpoint who may use it; one that is not there is refused (A1).
    """
    access = lists.get((request.endpoint or "").rpartition(".")[2])
    if access is Access.PUBLIC:
        return None
    if access is None:
        abort(403)
    found = current_actor()
    if found is None:
        return signed_out()
    writes = request.method not in ("GET", "HEAD")
    if writes:
        _refuse_other_sites()
    manages = found.may_manage
    views = manages or not found.roles.isdisjoint(services().settings.viewer_roles)
    if not (manages if writes or access is Access.MANAGE else views):
        note_refusal(Refusal.FORBIDDEN)
        return render("components/no_access.html", "components/_no_access.html", status=403, actor=found)
    if not found.feature_enabled:
        note_refusal(Refusal.FEATURE_OFF)
        return render("components/not_enabled.html", "components/_not_enabled.html", status=403, actor=found)
    if writes:
        if request.mimetype not in FORM_TYPES:
            raise UnsupportedMediaType
        with unit_of_work(services().engine) as session:
            # The token endpoint has nobody to ask, so it is told on the way (A4, A7).
            set_account(
                session,
                found.account_id,
                feature_enabled=found.feature_enabled,
                grantable_roles=found.grantable_roles,
            )
    return None


def limit_body(_endpoint: str | None, _values: Mapping[str, object] | None) -> None:
    """Read what was sent, within our limits (D1), before a hook of the host can: its CSRF layer parses every form.

    :raises RequestEntityTooLarge: it is longer.
    """
    if request.method not in ("GET", "HEAD"):
        put_body_back()
        read_body(request.environ, BODY_LIMIT_BYTES)
        request.max_form_parts = FORM_PARTS_LIMIT


def actor() -> Actor:
    """Return who is signed in; for views, which the guard reaches only with an actor."""
    found = current_actor()
    if found is None:
        abort(403)
    return found


def signed_out() -> ResponseReturnValue:
    """Answer somebody who is not signed in, so that nothing typed is lost (W11)."""
    posted = request.method not in ("GET", "HEAD")
    next_path = url_for(".list") if posted else request.script_root + request.full_path.rstrip("?")
    url = sign_in_url(next_path)
    if request.headers.get("HX-Request") == "true":
        if posted or url is None:
            name = "components/_signed_out_dialog.html" if htmx().into_dialog else "components/_signed_out.html"
            return make_response(render_template(f"identity_clients/{name}", sign_in_url=url), 401)
        if request.headers.get(BACKGROUND_HEADER) == "true":  # nobody asked: whoever types in a dialog stays there
            return make_response(
                render_template("identity_clients/components/_refresh_stopped.html", sign_in_url=url), 401
            )
        response = make_response("", 401)
        response.headers["HX-Redirect"] = url
        return response
    if url is None:
        return responses.error_response(401)
    return redirect(url, 303)


def sign_in_is_recent() -> bool:
    """Tell whether the sign-in is recent enough to touch secrets; where the host cannot tell, it is (W5)."""
    signed_in_at = actor().signed_in_at
    most = timedelta(minutes=services().settings.recent_sign_in_minutes)
    return signed_in_at is None or utc_now() - signed_in_at <= most


def _refuse_other_sites() -> None:
    """Refuse a POST that another site's page sent (W9).

    :raises Forbidden: it comes from another origin.
    """
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site in ("cross-site", "same-site"):
            note_refusal(Refusal.OTHER_SITE)
            abort(403)
        return
    source = request.headers.get("Origin") or request.headers.get("Referer")
    if source is not None:
        parts = urlsplit(source)
        theirs, ours = f"{parts.scheme}://{parts.netloc}", request.host_url.rstrip("/")
        if theirs != ours:
            LOG.warning(
                "A form was refused: its page was at %.100r, and this host takes itself for %.100r."
                " Where a proxy stands in front, it has to pass Host and X-Forwarded-Proto.",
                theirs,
                ours,
            )
            note_refusal(Refusal.OTHER_SITE)
            abort(403)


def csrf_refused(lists: Mapping[str, Access], _error: Exception) -> ResponseReturnValue:
    """Answer where a host's own CSRF layer refused: with the same form, typed values kept (W10).

    The view itself builds that form; `forms.ScreenForm` reads the mark and never validates. What it raises is answered
    as ever: within a handler of errors, which this is, Flask would not ask another one.
    """
    view = current_app.view_functions[request.endpoint or ""]
    g.identity_clients_csrf_refused = True
    try:
        return guard(lists) or current_app.ensure_sync(view)(**(request.view_args or {}))
    except Exception as error:
        return current_app.handle_user_exception(error)
