"""Access control before every view of the screens: host name, sign-in, role, feature and origin."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from urllib.parse import urlsplit

from flask import Response, abort, current_app, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import UnsupportedMediaType

from ...core.audit.actions import RefusalReason
from ...core.database.models import utc_now
from ...core.i18n import lazy_gettext
from ...core.tokens.signing import CLOCK_SKEW
from ...host import (
    BACKGROUND_HEADER,
    Actor,
    check_configuration,
    check_trusted_host,
    current_actor,
    may_view,
    permissions_of,
    services,
    sign_in_url,
    unauthorized_response,
)
from ...http_request import read_body, restore_body
from . import responses
from .htmx import htmx, render
from .refusals import record_refused_attempt
from .response_kinds import ScreenResponse

LOG = logging.getLogger(__name__)
BODY_LIMIT_BYTES = 64 * 1024
FORM_PARTS_LIMIT = 50
FORM_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


class Access(Enum):
    """Which permission a URL needs (A1, A2); those from CREATE to DELETE are names of `settings.PERMISSIONS`."""

    PUBLIC = "none"
    VIEW = "view"
    CHANGE = "any permission to change clients"
    CREATE = "create"
    EDIT = "edit"
    SECRETS = "secrets"
    DELETE = "delete"
    MANAGE = "a role that manages the whole account"

    def allows(self, actor: Actor) -> bool:
        """Return whether the actor has this permission."""
        match self:
            case Access.PUBLIC:
                return True
            case Access.VIEW:
                return may_view(actor)
            case Access.CHANGE:
                return bool(permissions_of(actor))
            case Access.MANAGE:
                return actor.may_manage
        return self.value in permissions_of(actor)


_NEEDED = {
    Access.VIEW: lazy_gettext("You need a role that may change clients."),
    Access.CHANGE: lazy_gettext("You need a role that may change clients."),
    Access.CREATE: lazy_gettext("You need a role that may create clients."),
    Access.EDIT: lazy_gettext("You need a role that may edit clients."),
    Access.SECRETS: lazy_gettext("You need a role that may change secrets."),
    Access.DELETE: lazy_gettext("You need a role that may delete clients."),
    Access.MANAGE: lazy_gettext("You need a role that manages all clients of the account."),
}
"""The sentence for a person who may view clients, but lacks this permission."""


def check_access(permissions: Mapping[str, Access]) -> ResponseReturnValue | None:
    """Return the response that refuses the current request, or None if its view may answer. Change nothing.

    :param permissions: the permission that each endpoint needs; an endpoint without one is refused (A1).
    :raises BadRequest: the `Host` header is not trusted (C5).
    :raises Forbidden: the endpoint has no permission, or the request comes from another site (W9).
    :raises UnsupportedMediaType: the body of a POST is no form (I5).
    :raises SettingsError: a setting was changed after `init_app`.
    """
    check_configuration()
    check_trusted_host()
    access = permissions.get((request.endpoint or "").rpartition(".")[2])
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
    if not access.allows(found) or (writes and not Access.CHANGE.allows(found)):
        record_refused_attempt(RefusalReason.FORBIDDEN)
        return _no_access(found, access)
    if not found.feature_enabled:
        record_refused_attempt(RefusalReason.FEATURE_OFF)
        return render("components/not_enabled.html", "components/_not_enabled.html", status=403, actor=found)
    if writes and request.mimetype not in FORM_TYPES:
        raise UnsupportedMediaType
    return None


def limit_body(_endpoint: str | None, _values: Mapping[str, object] | None) -> None:
    """Read the body within our limits (D1), before a hook of the host parses the form, such as its CSRF protection.

    :raises RequestEntityTooLarge: the body is longer than the limit.
    """
    if request.method not in ("GET", "HEAD"):
        restore_body()
        read_body(request.environ, BODY_LIMIT_BYTES)
        request.max_form_parts = FORM_PARTS_LIMIT


def actor() -> Actor:
    """Return the signed-in person; for views, which run only where there is one.

    :raises Forbidden: no person is signed in.
    """
    found = current_actor()
    if found is None:
        abort(403)
    return found


def signed_out() -> ResponseReturnValue:
    """Return the response to a request without a signed-in person, so that nothing typed is lost (W11)."""
    posted = request.method not in ("GET", "HEAD")
    next_path = url_for(".list") if posted else request.script_root + request.full_path.rstrip("?")
    url = sign_in_url(next_path)
    if url is None and (response := unauthorized_response()) is not None:
        if request.headers.get("HX-Request") != "true":
            return response
        url = response.location
    if request.headers.get("HX-Request") == "true":
        if posted or url is None:
            name = "components/_signed_out_dialog.html" if htmx().into_dialog else "components/_signed_out.html"
            return ScreenResponse(render_template(f"identity_clients/{name}", sign_in_url=url), 401)
        if request.headers.get(BACKGROUND_HEADER) == "true":  # a redirect would discard what is being typed in a dialog
            return ScreenResponse(
                render_template("identity_clients/components/_refresh_stopped.html", sign_in_url=url), 401
            )
        response = ScreenResponse("", 401)
        response.headers["HX-Redirect"] = url
        return response
    if url is None:
        return responses.error_response(401)
    return redirect(url, 303)


def _no_access(found: Actor, access: Access) -> Response:
    """Return a 403 that says which role is missing: one for this action, or one for the screens altogether."""
    settings = services().settings
    return render(
        "components/no_access.html",
        "components/_no_access.html",
        status=403,
        actor=found,
        needed=str(_NEEDED[access]) if may_view(found) else "",
        other_roles=bool(settings.viewer_roles or settings.permissions_by_role),
    )


def sign_in_is_recent() -> bool:
    """Return whether the sign-in is recent enough to change secrets; True where the host gives no time (W5).

    One in the future is not recent: it comes from a clock that was ahead.
    """
    signed_in_at = actor().signed_in_at
    limit = timedelta(minutes=services().settings.recent_sign_in_minutes)
    return signed_in_at is None or -CLOCK_SKEW <= utc_now() - signed_in_at <= limit


def _refuse_other_sites() -> None:
    """Refuse a POST from a page of another origin (W9).

    :raises Forbidden: the request comes from another origin.
    """
    fetch_site = request.headers.get("Sec-Fetch-Site")
    if fetch_site is not None:
        if fetch_site in ("cross-site", "same-site"):
            record_refused_attempt(RefusalReason.OTHER_SITE)
            abort(403)
        return
    source = request.headers.get("Origin") or request.headers.get("Referer")
    if source is not None:
        parts = urlsplit(source)
        sent_from, own = f"{parts.scheme}://{parts.netloc}", request.host_url.rstrip("/")
        if sent_from != own:
            LOG.warning(
                "A form was refused: its page has the origin %.100r, this application %.100r."
                " A proxy in front must pass Host and X-Forwarded-Proto.",
                sent_from,
                own,
            )
            record_refused_attempt(RefusalReason.OTHER_SITE)
            abort(403)


def handle_csrf_error(permissions: Mapping[str, Access], _error: Exception) -> ResponseReturnValue:
    """Answer a POST that the CSRF protection of the host refused before its view: with the same form (W10).

    The view answers a request without CSRF token: its form is invalid, and is shown again with a new token.
    """
    name = current_app.config["WTF_CSRF_FIELD_NAME"]
    request.form = ImmutableMultiDict(item for item in request.form.items(multi=True) if item[0] != name)
    try:
        return check_access(permissions) or current_app.dispatch_request()
    except Exception as error:
        # Flask calls no error handler for an exception that an error handler raises.
        return current_app.handle_user_exception(error)
