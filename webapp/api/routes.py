"""The blueprint of the management API."""

from collections.abc import Iterable
from typing import NoReturn

from flask import Blueprint, Response, current_app
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from flask.typing import RouteCallable
from werkzeug.exceptions import NotFound, default_exceptions

from ..host import check_configuration, check_trusted_host
from ..settings import Settings
from . import reference
from .operations import make_view
from .resources import RESOURCES
from .responses import problem_response


class EveryMethod(set[str]):
    """Contains every method, but iterates over those that a resource has, which `flask routes` lists."""

    def __contains__(self, method: object) -> bool:
        return True


def make_blueprint(settings: Settings) -> Blueprint:
    """Return the blueprint of the API, named `identity_clients_api` unless a setting renames that of the screens."""
    blueprint = Blueprint(f"{settings.blueprint_name}_api", __name__, url_prefix=settings.api_prefix)
    views = []
    for path, endpoint, operations in RESOURCES:
        view = make_view(f"api_{endpoint}", operations)
        blueprint.add_url_rule(path, endpoint, view, methods=[*operations], provide_automatic_options=False)
        views.append(view)
    blueprint.add_url_rule("/openapi.json", "openapi", reference.openapi_document)
    blueprint.add_url_rule("/reference", "reference", reference.reference_page)
    blueprint.add_url_rule("/reference/<digest>.css", "stylesheet", reference.stylesheet)
    # Unknown paths get a 404 in JSON instead of a page of the host.
    blueprint.add_url_rule("/<path:path>", "unknown", _not_found, methods=["GET"], provide_automatic_options=False)
    blueprint.before_request(check_configuration)
    if settings.trusted_hosts:
        blueprint.before_request(check_trusted_host)
    blueprint.record(_match_every_method)
    blueprint.record(lambda state: _exempt_from_csrf(state.app, views))
    blueprint.before_app_request(lambda: _exempt_from_csrf(current_app, views))
    blueprint.register_error_handler(Exception, _handle_error)
    for code in default_exceptions:
        # By code too, since Flask prefers the host's handler for a code to the blueprint's for all exceptions.
        blueprint.register_error_handler(code, _handle_error)
    return blueprint


def _not_found(path: str) -> NoReturn:
    """Respond with 404 to an unknown path."""
    raise NotFound


def _handle_error(error: Exception) -> Response:
    """Return the response where Flask or a hook of the host raised an error before the view."""
    return problem_response(error, {})


def _match_every_method(state: BlueprintSetupState) -> None:
    for endpoint in (*(endpoint for _, endpoint, _ in RESOURCES), "unknown"):
        for rule in state.app.url_map.iter_rules(f"{state.name}.{endpoint}"):
            rule.methods = EveryMethod(rule.methods or ())


def _exempt_from_csrf(app: App, views: Iterable[RouteCallable]) -> None:
    """Exempt our views from the host's `CSRFProtect` (E1): they know a caller by its token alone, never by a cookie."""
    exempt = getattr(app.extensions.get("csrf"), "exempt", None)
    if exempt is not None:
        for view in views:
            exempt(view)
