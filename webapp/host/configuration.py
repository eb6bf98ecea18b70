"""Check that settings and routes of the host are still those that `init_app` expects."""

import logging
from collections.abc import Mapping
from typing import Any

from flask import Flask, current_app

from ..settings import PREFIX, Settings, SettingsError
from .application import services

LOG = logging.getLogger(__name__)


def check_configuration() -> None:
    """Refuse to work with a configuration that has changed since `init_app` read it, or with a URL that is not ours.

    :raises SettingsError: a setting was added, changed or removed, or the host has a route with one of our URLs;
        the error is logged too.
    """
    if "routes" not in services().done:
        try:
            check_routes(current_app, services().settings)
        except SettingsError as clash:
            LOG.error("%s", clash)
            raise
        services().done.add("routes")
    read, present = services().configured, own_configuration(current_app.config)
    for name in sorted(read.keys() | present.keys()):
        if name not in read or name not in present or read[name] != present[name]:
            error = SettingsError(f"{name} was changed after init_app, which reads the settings. Set it before.")
            LOG.error("%s", error)
            raise error


def check_routes(app: Flask, settings: Settings) -> None:
    """Check that no route of the host has one of our URLs: the one registered first would hide the other.

    :raises SettingsError: there is one.
    """
    prefix_settings = {
        f"{settings.blueprint_name}.": "URL_PREFIX",
        f"{settings.blueprint_name}_endpoint.": "ENDPOINT_PREFIX",
        f"{settings.blueprint_name}_api.": "API_PREFIX",
    }
    ours = tuple(prefix_settings)
    rules = [*app.url_map.iter_rules()]
    taken = {rule.rule: rule for rule in rules if not rule.endpoint.startswith(ours)}
    for rule in rules:
        if not rule.endpoint.startswith(ours):
            continue
        other = taken.get(rule.rule) or taken.get(f"{rule.rule}/")
        if other is None:
            continue
        setting = next(setting for name, setting in prefix_settings.items() if rule.endpoint.startswith(name))
        advice = f"Set {PREFIX}{setting}, or remove it."
        if rule.rule.startswith("/.well-known/"):
            advice = "Remove it, or serve Identity Clients from an application and a host name of its own."
        raise SettingsError(f"The application has a route {other.rule} too, of its endpoint {other.endpoint}. {advice}")


def own_configuration(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of a Flask configuration that are settings of Identity Clients."""
    return {name: value for name, value in config.items() if name.startswith(PREFIX)}
