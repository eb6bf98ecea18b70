"""Sessions: who is signed in, and for how long (W2, W3, W4)."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import flask_login
from flask import Flask, Request, g, redirect, request, session, url_for
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask.typing import ResponseReturnValue
from flask_wtf.csrf import generate_csrf
from itsdangerous import BadSignature

from ..core.tokens.signing import CLOCK_SKEW
from ..host import BACKGROUND_HEADER, services
from . import users
from .models import MasUser

IDLE_LIMIT_SECONDS = 15 * 60
ABSOLUTE_LIMIT_SECONDS = 8 * 60 * 60


@dataclass(frozen=True, eq=False)
class SignedInUser(flask_login.UserMixin):  # type: ignore[misc] # Flask-Login has no types
    """The signed-in user, as the layout and the default actor loader of Identity Clients read it."""

    id: str
    label: str
    email: str
    account_id: str
    account_name: str
    roles: frozenset[str]
    identity_clients_enabled: bool
    signed_in_at: datetime
    session_token: str

    def get_id(self) -> str:
        """Return the value that Flask-Login keeps in the session: a replaceable token, never the user's key (W2)."""
        return self.session_token

    @property
    def initials(self) -> str:
        """Return one or two letters for the avatar in the bar."""
        words = self.label.split()
        return "".join(word[0] for word in (words[:1] + words[1:][-1:])).upper()


class _SessionInterface(SecureCookieSessionInterface):
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        # Requests of machines carry no cookie, and looking for one would take 6 us.
        if "HTTP_COOKIE" not in request.environ:
            return self.session_class()
        serializer, cookie = self.get_signing_serializer(app), request.cookies.get(self.get_cookie_name(app))
        if serializer is None or not cookie:
            return self.session_class()
        try:
            # Without Flask's `max_age`, which also refuses the cookie of a host whose clock is a second ahead.
            return self.session_class(serializer.loads(cookie))
        except BadSignature:
            return self.session_class()


def init_app(app: Flask) -> None:
    """Set up Flask-Login: load the user of a session, and redirect signed-out people to the sign-in page."""
    app.session_interface = _SessionInterface()
    manager = flask_login.LoginManager()
    # Its context processor would read the user from the database on error pages too.
    manager.init_app(app, add_context_processor=False)
    manager.login_view = "mas.sign_in"
    manager.user_loader(_load)
    manager.unauthorized_handler(_to_sign_in)


def begin(user: MasUser) -> None:
    """Sign a user in, in a new session with a new CSRF secret (W4)."""
    now = int(time.time())
    session.clear()
    g.pop("csrf_token", None)  # Flask-WTF caches the token of the old session
    session["signed_in_at"] = session["seen_at"] = now
    flask_login.login_user(_signed_in(user, now))
    # Otherwise two concurrent first requests would each generate one, and one of them would be lost.
    generate_csrf()


def end() -> None:
    """End the session of this browser."""
    flask_login.logout_user()
    session.clear()


def _load(session_token: str) -> SignedInUser | None:
    """Return the user of a valid session, and extend the session (W3); None if it has expired.

    A session with times from the future has expired as well, so that none outlives its limits where a clock that was
    ahead has been corrected. Hosts may differ by `CLOCK_SKEW`.
    """
    now = int(time.time())
    signed_in_at, seen_at = session.get("signed_in_at", 0), session.get("seen_at", 0)
    user, skew = None, CLOCK_SKEW.total_seconds()
    if -skew <= now - seen_at < IDLE_LIMIT_SECONDS and -skew <= now - signed_in_at < ABSOLUTE_LIMIT_SECONDS:
        user = users.user_of_session(services().engine, session_token)
    if user is None:
        session.clear()
        return None
    if request.headers.get(BACKGROUND_HEADER) != "true":
        session["seen_at"] = now
    return _signed_in(user, signed_in_at)


def _signed_in(user: MasUser, signed_in_at: int) -> SignedInUser:
    return SignedInUser(
        id=user.id,
        label=user.name,
        email=user.email,
        account_id=user.account_id,
        account_name=user.account.name,
        roles=user.roles,
        identity_clients_enabled=user.account.identity_clients_enabled,
        signed_in_at=datetime.fromtimestamp(signed_in_at, UTC),
        session_token=user.session_token,
    )


def _to_sign_in() -> ResponseReturnValue:
    """Redirect to the sign-in page, with the requested page in `next` (W11)."""
    reads = request.method in ("GET", "HEAD")
    next_path = request.script_root + request.full_path.rstrip("?") if reads else url_for("mas.home")
    return redirect(flask_login.utils.login_url("mas.sign_in", next_url=next_path), 303)
