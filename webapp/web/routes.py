"""Every URL of the screens, one line each, with the permission that it needs."""

from functools import partial

from flask import Blueprint
from flask.typing import RouteCallable
from flask_wtf.csrf import CSRFError
from werkzeug.exceptions import HTTPException, default_exceptions

from ..core.errors import NotFound, RateLimited, Unavailable
from ..core.paths import resource_folder
from .account import settings
from .audit import activity, export
from .clients import address_check, bulk, delete, details, edit, enable, networks, new, review
from .clients import export as clients_export
from .clients import list as client_list
from .http import access, responses, static_files
from .http.access import Access
from .http.template_loader import UnindentingLoader
from .i18n import language
from .notifications import page, targets
from .secrets import actions, change, keys, postman
from .usage import preview, request_log, revoke_tokens, token_trial, usage

GET, POST, FORM = ("GET",), ("POST",), ("GET", "POST")
VIEW, CHANGE = Access.VIEW, Access.CHANGE
CREATE, EDIT, SECRETS, DELETE = Access.CREATE, Access.EDIT, Access.SECRETS, Access.DELETE
MANAGE = Access.MANAGE
ROUTES: tuple[tuple[str, str, RouteCallable, tuple[str, ...], Access], ...] = (
    # rule below the prefix, endpoint, view, methods, access
    ("", "list", client_list.list_clients, GET, VIEW),
    ("/new", "new", new.new_client, FORM, CREATE),
    ("/new/form", "new_form", new.new_client_form, POST, CREATE),
    ("/clients.csv", "clients_csv", clients_export.clients_csv, GET, VIEW),
    ("/review", "review", review.review, GET, VIEW),
    ("/review/print", "review_print", review.review_print, GET, VIEW),
    ("/review.csv", "review_csv", review.review_csv, GET, VIEW),
    ("/bulk", "bulk", bulk.bulk, FORM, EDIT),
    ("/check", "check", new.check_field, POST, CHANGE),
    ("/check/roles", "check_roles", new.check_roles, POST, CHANGE),
    ("/static/<digest>/<path:filename>", "asset", static_files.asset, GET, Access.PUBLIC),
    ("/activity", "activity", activity.activity, GET, VIEW),
    ("/activity.csv", "activity_csv", export.activity_csv, GET, VIEW),
    ("/requests", "account_requests", request_log.account_requests, GET, VIEW),
    ("/requests.csv", "requests_csv", request_log.requests_csv, GET, VIEW),
    ("/settings", "settings", settings.settings, FORM, MANAGE),
    ("/notifications", "notifications", page.notifications, GET, VIEW),
    ("/notifications/add/<channel>", "add_target", targets.add, FORM, EDIT),
    ("/notifications/<target_id>", "edit_target", targets.edit, FORM, EDIT),
    ("/notifications/<target_id>/remove", "remove_target", targets.remove, FORM, EDIT),
    ("/notifications/<target_id>/secret", "target_secret", targets.change_secret, FORM, EDIT),
    ("/notifications/<target_id>/test", "test_target", targets.test, FORM, EDIT),
    ("/notifications/messages/<message_id>", "send_again", targets.send_again, FORM, EDIT),
    ("/<key>", "details", details.details, GET, VIEW),
    ("/<key>/menu", "menu", client_list.menu, GET, VIEW),
    ("/<key>/edit", "edit", edit.edit_client, FORM, EDIT),
    ("/<key>/edit/form", "edit_form", edit.edit_client_form, POST, EDIT),
    ("/<key>/enable", "enable", enable.enable, FORM, EDIT),
    ("/<key>/disable", "disable", enable.disable, FORM, EDIT),
    ("/<key>/review", "review_one", review.review_one, FORM, EDIT),
    ("/<key>/delete", "delete", delete.delete, FORM, DELETE),
    ("/<key>/networks", "networks", networks.networks, FORM, EDIT),
    ("/<key>/networks/check", "networks_check", address_check.check_address, GET, VIEW),
    ("/<key>/preview", "preview", preview.preview, GET, VIEW),
    ("/<key>/usage", "usage", usage.usage, GET, VIEW),
    ("/<key>/requests", "requests", request_log.client_requests, GET, VIEW),
    ("/<key>/requests/<number>", "request", request_log.request_details, GET, VIEW),
    ("/<key>/activity", "client_activity", activity.client_activity, GET, VIEW),
    ("/<key>/postman.json", "postman", postman.postman_collection, GET, VIEW),
    ("/<key>/test", "try_token", token_trial.try_token, FORM, CHANGE),
    ("/<key>/revoke-tokens", "revoke_tokens", revoke_tokens.revoke_tokens, FORM, SECRETS),
    ("/<key>/secret", "secret", change.change_secret, FORM, SECRETS),
    ("/<key>/secret/form", "secret_form", change.change_secret_form, POST, SECRETS),
    ("/<key>/secrets/<secret_id>/end", "end_secret", actions.end, FORM, SECRETS),
    ("/<key>/secrets/<secret_id>/pause", "pause_secret", actions.pause, FORM, SECRETS),
    ("/<key>/secrets/<secret_id>/resume", "resume_secret", actions.resume, FORM, SECRETS),
    ("/<key>/secrets/<secret_id>/end-date", "end_date", actions.end_date, FORM, SECRETS),
    ("/<key>/keys", "add_key", keys.add_key, FORM, SECRETS),
    ("/<key>/keys/<key_id>/end", "end_key", actions.end_key, FORM, SECRETS),
    ("/<key>/keys/<key_id>/pause", "pause_key", actions.pause_key, FORM, SECRETS),
    ("/<key>/keys/<key_id>/resume", "resume_key", actions.resume_key, FORM, SECRETS),
    ("/<key>/keys/<key_id>/end-date", "key_end_date", actions.key_end_date, FORM, SECRETS),
    ("/<key>/leaked", "leaked", change.replace_leaked_secret, FORM, SECRETS),
)
PERMISSIONS = {endpoint: access for _, endpoint, _, _, access in ROUTES}


def make_blueprint() -> Blueprint:
    """Return the blueprint of the screens; it may be registered under any prefix and name."""
    blueprint = Blueprint("identity_clients", __name__)
    blueprint.jinja_loader = UnindentingLoader(resource_folder("templates"))
    for rule, endpoint, view, methods, _ in ROUTES:
        blueprint.add_url_rule(rule, endpoint, view, methods=methods)
    language.init_blueprint(blueprint)
    blueprint.url_value_preprocessor(access.limit_body)
    blueprint.before_request(partial(access.check_access, PERMISSIONS))
    blueprint.after_request(responses.finish)
    blueprint.context_processor(responses.template_context)
    blueprint.register_error_handler(CSRFError, partial(access.handle_csrf_error, PERMISSIONS))
    blueprint.register_error_handler(NotFound, responses.not_found)
    blueprint.register_error_handler(RateLimited, responses.rate_limited)
    blueprint.register_error_handler(Unavailable, responses.busy)
    blueprint.register_error_handler(HTTPException, responses.http_error)
    for code in default_exceptions:
        # Flask prefers an error handler of the host for a code to ours for all HTTP errors (W12).
        blueprint.register_error_handler(code, responses.http_error)
    blueprint.register_error_handler(Exception, responses.unexpected)
    return blueprint
