"""One application for many tests, since registering its routes takes 60 ms, longer than most tests need."""

from collections.abc import Callable

from flask import Flask, has_app_context
from sqlalchemy import Engine

from webapp import Actor
from webapp.extension import make_services
from webapp.host import EXTENSION
from webapp.settings import Settings


class SharedApplication:
    """An application in which the product is set up once, and whose state each test replaces.

    It has handled a request, so Flask raises an error where a test adds a route or a hook, which would affect later
    tests.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._config = dict(app.config)
        self._views = dict(app.view_functions)
        self._extensions = set(app.extensions)
        app.test_client().get("/")

    def restart(self, engine: Engine, load_actor: Callable[[], Actor | None] = lambda: None) -> Flask:
        """Return the application on this engine, with the configuration and state of a process that starts."""
        self._app.config.clear()
        self._app.config.update(self._config, IDENTITY_CLIENTS_ENGINE=engine)
        self._app.view_functions = dict(self._views)
        self._app.extensions[EXTENSION] = make_services(
            Settings.from_config(self._app.config), self._app.config, load_actor, []
        )
        return self._app

    def check(self) -> None:
        """Close connections. Raise an AssertionError if a test leaves state behind that would affect later tests."""
        self._app.extensions[EXTENSION].close_connections()
        assert set(self._app.extensions) == self._extensions, "a test that adds an extension needs its own application"
        assert not has_app_context(), "a streamed response is neither read nor closed"
