"""Every URL of the identity endpoint, one line each."""

from typing import NoReturn

from flask import Blueprint, current_app
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from werkzeug.exceptions import NotFound, default_exceptions

from ..host import check_configuration, check_trusted_host
from ..settings import Settings
from .flask_views import flask_document, flask_view, handle_error
from .introspection import introspect
from .metadata import JWKS_PATH, METADATA_PATHS, jwks, metadata, metadata_paths
from .response import View
from .revocation import revoke
from .token import token

CLIENT_VIEWS: dict[str, View] = {"token": token, "introspect": introspect, "revoke": revoke}
"""Where clients authenticate. Their routes match every method, so that a wrong one is refused in JSON (P1, P13)."""


class EveryMethod(set[str]):
    """Contains every method, but iterates over POST only, which is what `flask routes` and extensions list."""

    def __contains__(self, method: object) -> bool:
        return True


def make_blueprint(settings: Settings) -> Blueprint:
    """Return the endpoint's blueprint, named `identity_clients_endpoint` unless a setting renames the screens'."""
    blueprint = Blueprint(f"{settings.blueprint_name}_endpoint", __name__)
    paths = (settings.token_path, settings.introspection_path, settings.revocation_path)
    for rule, (endpoint, view) in zip(paths, CLIENT_VIEWS.items(), strict=True):
        blueprint.add_url_rule(rule, endpoint, flask_view(view), methods=["POST"], provide_automatic_options=False)
    # Every other path there, so that machines get a JSON 404 and not a page of the host.
    other_paths = f"{settings.endpoint_prefix}/<path:path>"
    blueprint.add_url_rule(other_paths, "unknown", not_found, methods=["POST"], provide_automatic_options=False)
    blueprint.add_url_rule(METADATA_PATHS[0], "metadata", flask_document(metadata))
    for path in metadata_paths(settings)[1:]:
        blueprint.add_url_rule(path, "metadata")
    blueprint.add_url_rule(JWKS_PATH, "jwks", flask_document(jwks))
    blueprint.before_request(check_configuration)
    if settings.trusted_hosts:
        blueprint.before_request(check_trusted_host)
    blueprint.record(_match_every_method)
    blueprint.record(lambda state: _exempt_from_csrf(state.app))
    blueprint.before_app_request(lambda: _exempt_from_csrf(current_app))
    blueprint.register_error_handler(Exception, handle_error)
    for code in default_exceptions:
        # By code too, since Flask prefers the host's handler for a code to the blueprint's for all exceptions.
        blueprint.register_error_handler(code, handle_error)
    return blueprint


def not_found(path: str) -> NoReturn:
    """Respond with 404 to an unknown path below the prefix, such as `/connect/token/`."""
    raise NotFound


def _match_every_method(state: BlueprintSetupState) -> None:
    for endpoint in (*CLIENT_VIEWS, "unknown"):
        for rule in state.app.url_map.iter_rules(f"{state.name}.{endpoint}"):
            rule.methods = EveryMethod({"POST"})


def _exempt_from_csrf(app: App) -> None:
    """Exempt the client routes, and no other, from the host's `CSRFProtect`, in whatever order the two start (E1)."""
    exempt = getattr(app.extensions.get("csrf"), "exempt", None)
    if exempt is not None:
        for view in CLIENT_VIEWS.values():
            exempt(view)
