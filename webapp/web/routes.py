"""The table of contents of the screens: every URL, one line each, with who may use it."""

from functools import partial

from flask import Blueprint
from flask.typing import RouteCallable
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, default_exceptions

from ..core.errors import Busy, NotFound, Throttled
from ..core.migrate import folder
from ..host import refuse_other_hosts
from . import (
    actions,
    activity,
    assets,
    deletion,
    details,
    edit,
    guard,
    networks,
    new,
    preview,
    requests,
    responses,
    secret,
    secret_actions,
    words,
)
from . import list as client_list
from .guard import Access
from .template_loader import UnindentingLoader

ROUTES: tuple[tuple[str, str, RouteCallable, tuple[str, ...], Access], ...] = (
    ("", "list", client_list.list_clients, ("GET",), Access.VIEW),
    ("/new", "new", new.new_client, ("GET", "POST"), Access.MANAGE),
    ("/new/form", "new_form", new.new_client_form, ("POST",), Access.MANAGE),
    ("/check", "check", new.check_field, ("POST",), Access.MANAGE),
    ("/check/roles", "check_roles", new.check_roles, ("POST",), Access.MANAGE),
    ("/static/<digest>/<path:filename>", "asset", assets.asset, ("GET",), Access.PUBLIC),
    ("/activity", "activity", activity.activity, ("GET",), Access.VIEW),
    ("/activity.csv", "activity_csv", activity.activity_csv, ("GET",), Access.VIEW),
    ("/<key>", "details", details.details, ("GET",), Access.VIEW),
    ("/<key>/menu", "menu", client_list.menu, ("GET",), Access.VIEW),
    ("/<key>/edit", "edit", edit.edit_client, ("GET", "POST"), Access.MANAGE),
    ("/<key>/edit/form", "edit_form", edit.edit_client_form, ("POST",), Access.MANAGE),
    ("/<key>/enable", "enable", actions.enable, ("GET", "POST"), Access.MANAGE),
    ("/<key>/networks", "networks", networks.networks, ("GET", "POST"), Access.MANAGE),
    ("/<key>/networks/check", "networks_check", networks.check_address, ("GET",), Access.VIEW),
    ("/<key>/preview", "preview", preview.preview, ("GET",), Access.VIEW),
    ("/<key>/requests", "requests", requests.requests, ("GET",), Access.VIEW),
    ("/<key>/disable", "disable", actions.disable, ("GET", "POST"), Access.MANAGE),
    ("/<key>/activity", "client_activity", activity.client_activity, ("GET",), Access.VIEW),
    ("/<key>/delete", "delete", deletion.delete, ("GET", "POST"), Access.MANAGE),
    ("/<key>/secret", "secret", secret.change_secret, ("GET", "POST"), Access.MANAGE),
    ("/<key>/secret/form", "secret_form", secret.change_secret_form, ("POST",), Access.MANAGE),
    ("/<key>/secrets/<secret_id>/end", "end_secret", secret_actions.end, ("GET", "POST"), Access.MANAGE),
    ("/<key>/secrets/<secret_id>/pause", "pause_secret", secret_actions.pause, ("GET", "POST"), Access.MANAGE),
    (
        "/<key>/secrets/<secret_id>/resume",
        "resume_secret",
        secret_actions.resume,
        ("GET", "POST"),
        Access.MANAGE,
    ),
    ("/<key>/secrets/<secret_id>/end-date", "end_date", secret_actions.end_date, ("GET", "POST"), Access.MANAGE),
    ("/<key>/leaked", "leaked", secret.leaked, ("GET", "POST"), Access.MANAGE),
    ("/<key>/revoke-tokens", "revoke_tokens", deletion.revoke_tokens, ("GET", "POST"), Access.MANAGE),
)
ACCESS = {endpoint: access for _, endpoint, _, _, access in ROUTES}


def make_blueprint() -> Blueprint:
    """Return the screens as a blueprint; a host may give it another prefix and another name."""
    blueprint = Blueprint("identity_clients", __name__)
    blueprint.jinja_loader = UnindentingLoader(folder("templates"))
    for rule, endpoint, view, methods, _ in ROUTES:
        blueprint.add_url_rule(rule, endpoint, view, methods=methods)
    words.init_blueprint(blueprint)
    blueprint.url_value_preprocessor(guard.limit_body)
    blueprint.before_request(refuse_other_hosts)
    blueprint.before_request(partial(guard.guard, ACCESS))
    blueprint.after_request(responses.finish)
    blueprint.context_processor(responses.template_context)
    blueprint.register_error_handler(CSRFError, partial(guard.csrf_refused, ACCESS))
    blueprint.register_error_handler(NotFound, responses.not_found)
    blueprint.register_error_handler(Throttled, responses.throttled)
    blueprint.register_error_handler(Busy, responses.busy)
    blueprint.register_error_handler(HTTPException, responses.http_error)
    for code in default_exceptions:
        # By code as well, since the host's own handler for a code would come before ours for all (W12).
        blueprint.register_error_handler(code, responses.http_error)
    blueprint.register_error_handler(Exception, responses.unexpected)
    return blueprint
