"""The layout of every page: the bar with the account and the user menu, and the navigation."""

from collections.abc import Mapping
from functools import cached_property

import flask_login
from flask import Flask, Response, current_app, request, url_for

from ..core.errors import Unavailable
from ..host import MANAGER_ROLES, services
from ..settings import PREFIX
from ..web.http import static_files
from . import language
from .forms import LanguageForm, SignOutForm
from .sessions import SignedInUser

STATIC = "standalone"


def init_app(app: Flask) -> None:
    """Serve the layout's stylesheet, and add `mas` to the context of every template."""
    app.add_url_rule("/static/<digest>/<path:filename>", "mas_asset", asset)
    app.context_processor(lambda: {"mas": Layout()})


def asset(digest: str, filename: str) -> Response:
    """Return a static file of the layout."""
    return static_files.answer(static_files.load(STATIC).get(filename), digest)


class Layout:
    """The values that the layout's templates use, each looked up when a template uses it."""

    @cached_property
    def user(self) -> SignedInUser | None:
        """The signed-in user. None also while the database is unavailable, so that an error page can be rendered."""
        try:
            user = flask_login.current_user
            return user if user.is_authenticated else None
        except Unavailable:
            return None

    @property
    def may_use_identity_clients(self) -> bool:
        """Whether the navigation shows Identity Clients: user and account may use it."""
        user, viewers = self.user, services().settings.viewer_roles
        return bool(
            user
            and user.identity_clients_enabled
            and user.roles & MANAGER_ROLES.union(viewers, services().settings.permissions_by_role)
        )

    @property
    def in_identity_clients(self) -> bool:
        """Whether the current page belongs to Identity Clients."""
        return request.blueprint == "identity_clients"

    @property
    def platform_name(self) -> str:
        """The platform's name."""
        return services().settings.platform_name

    @property
    def development(self) -> bool:
        """Whether this is the development mode, which the bar shows."""
        return bool(current_app.config.get(f"{PREFIX}DEVELOPMENT"))

    def sign_out_form(self) -> SignOutForm:
        """Return the form of the Sign out button."""
        return SignOutForm()

    @property
    def language_names(self) -> Mapping[str, str]:
        """The languages by their codes."""
        return language.LANGUAGE_NAMES

    def language_form(self) -> LanguageForm:
        """Return the form of the languages in the user menu."""
        query = request.query_string.decode() if request.method == "GET" else ""
        here = f"{request.script_root}{request.path}"
        return LanguageForm(formdata=None, language=language.current(), next=f"{here}?{query}" if query else here)

    def asset_url(self, filename: str) -> str:
        """Return the URL of a static file of the layout."""
        return url_for("mas_asset", digest=static_files.load(STATIC)[filename].digest, filename=filename)

    def identity_clients_asset_url(self, filename: str) -> str:
        """Return the URL of a static file of Identity Clients, whose styles the sign-in page uses."""
        return url_for("identity_clients.asset", digest=static_files.assets()[filename].digest, filename=filename)
