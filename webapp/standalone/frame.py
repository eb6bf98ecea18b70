"""The frame around every page: the bar with the account and the user menu, and the navigation."""

from functools import cached_property

import flask_login
from flask import Flask, Response, current_app, request, url_for

from ..core.errors import Unavailable
from ..host import MANAGER_ROLES, services
from ..settings import PREFIX
from ..web.http import static_files
from .forms import SignOutForm
from .sessions import SignedInUser

STATIC = "standalone"


def init_app(app: Flask) -> None:
    """Serve the frame's stylesheet, and give every template `mas`."""
    app.add_url_rule("/static/<digest>/<path:filename>", "mas_asset", asset)
    app.context_processor(lambda: {"mas": Frame()})


def asset(digest: str, filename: str) -> Response:
    """Answer with a static file of the frame."""
    return static_files.answer(static_files.load(STATIC).get(filename), digest)


class Frame:
    """What the frame's templates ask for; nothing is looked up before they do."""

    @cached_property
    def user(self) -> SignedInUser | None:
        """Who is signed in; None as well while the database cannot tell, so that the error page still has a frame."""
        try:
            user = flask_login.current_user
            return user if user.is_authenticated else None
        except Unavailable:
            return None

    @property
    def may_use_identity_clients(self) -> bool:
        """Whether the navigation leads the person to Identity Clients: by role, and by the account's feature."""
        user, viewers = self.user, services().settings.viewer_roles
        return bool(user and user.identity_clients_enabled and user.roles & MANAGER_ROLES.union(viewers))

    @property
    def in_identity_clients(self) -> bool:
        """Whether the page is one of Identity Clients."""
        return request.blueprint == "identity_clients"

    @property
    def platform_name(self) -> str:
        """The platform's name."""
        return services().settings.platform_name

    @property
    def development(self) -> bool:
        """Whether this is the development mode, which the bar says."""
        return bool(current_app.config.get(f"{PREFIX}DEVELOPMENT"))

    def sign_out_form(self) -> SignOutForm:
        """Return the form behind Sign out."""
        return SignOutForm()

    def asset_url(self, filename: str) -> str:
        """Return the address of a file of the frame."""
        return url_for("mas_asset", digest=static_files.load(STATIC)[filename].digest, filename=filename)

    def identity_clients_asset_url(self, filename: str) -> str:
        """Return the address of a file of Identity Clients, whose style the sign-in page borrows."""
        return url_for("identity_clients.asset", digest=static_files.assets()[filename].digest, filename=filename)
