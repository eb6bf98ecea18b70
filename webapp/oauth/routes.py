"""The table of contents of the endpoint: every URL, one line each."""

from flask import Blueprint, current_app
from flask.blueprints import BlueprintSetupState
from flask.sansio.app import App
from werkzeug.exceptions import default_exceptions

from ..host import check_trusted_host
from ..settings import Settings
from .answers import View
from .introspection import introspect
from .metadata import (
    INTROSPECTION_PATH,
    JWKS_PATH,
    METADATA_PATH,
    REVOCATION_PATH,
    TOKEN_PATH,
    inserted_metadata_path,
    jwks,
    metadata,
)
from .responses import flask_view, respond_to
from .revocation import revoke
from .token import token

BLUEPRINT = "identity_clients_endpoint"
CLIENT_ROUTES: tuple[tuple[str, str, View], ...] = (
    (TOKEN_PATH, "token", token),
    (INTROSPECTION_PATH, "introspect", introspect),
    (REVOCATION_PATH, "revoke", revoke),
)
"""Where clients authenticate. These answer every method, so that a wrong one is refused in JSON (P1, P13)."""


class EveryMethod(set[str]):
    """Holds every method there is, and lists POST: what routes show, and what the host's tools read."""

    def __contains__(self, method: object) -> bool:
        return True


def make_blueprint(settings: Settings) -> Blueprint:
    """Return the endpoint as a blueprint."""
    blueprint = Blueprint(BLUEPRINT, __name__)
    for rule, endpoint, view in CLIENT_ROUTES:
        blueprint.add_url_rule(rule, endpoint, flask_view(view), methods=["POST"], provide_automatic_options=False)
    blueprint.add_url_rule(METADATA_PATH, "metadata", flask_view(metadata))
    if (inserted := inserted_metadata_path(settings)) is not None:
        blueprint.add_url_rule(inserted, "metadata")
    blueprint.add_url_rule(JWKS_PATH, "jwks", flask_view(jwks))
    if settings.trusted_hosts:
        blueprint.before_request(check_trusted_host)
    blueprint.record(_answer_every_method)
    blueprint.record(lambda state: _exempt_from_csrf(state.app))
    blueprint.before_app_request(lambda: _exempt_from_csrf(current_app))
    blueprint.register_error_handler(Exception, respond_to)
    for code in default_exceptions:
        # By code, since the host's own handler for a code would come before ours for all.
        blueprint.register_error_handler(code, respond_to)
    return blueprint


def _answer_every_method(state: BlueprintSetupState) -> None:
    for _, endpoint, _ in CLIENT_ROUTES:
        for rule in state.app.url_map.iter_rules(f"{state.name}.{endpoint}"):
            rule.methods = EveryMethod({"POST"})


def _exempt_from_csrf(app: App) -> None:
    """Take the POSTs of machines, and no others, out of a host's `CSRFProtect`, whichever of us started first (E1)."""
    exempt = getattr(app.extensions.get("csrf"), "exempt", None)
    if exempt is not None:
        for _, _, view in CLIENT_ROUTES:
            exempt(view)
