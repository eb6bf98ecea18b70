"""The pages of the stand-alone MAS: sign-in, sign-out, home, and what a monitor asks for."""

import logging

import flask_login
from flask import Blueprint, Response, abort, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import UnsupportedMediaType

from ..core.database.models import utc_now
from ..core.database.unit_of_work import read_session, unit_of_work
from ..core.errors import DomainError, RateLimited
from ..core.secrets.argon2_pool import run_in_pool
from ..host import client_address, services
from ..http_request import read_body
from . import sessions, users
from .forms import SignInForm, SignOutForm
from .models import MasUser
from .redirects import safe_next
from .settings import BODY_LIMIT_BYTES
from .sign_in_limits import SignInLimits

LOG = logging.getLogger(__name__)
FORM_TYPE = "application/x-www-form-urlencoded"
# One text for every reason, so that nobody learns which names exist (D6).
REFUSED = "The e-mail address or the password is wrong. Check both, then try again."
STALE = "This page was open for too long. Press Sign in again."


def make_blueprint(throttle: SignInLimits) -> Blueprint:
    """Return the pages as a blueprint."""
    blueprint = Blueprint("mas", __name__)
    blueprint.add_url_rule("/", "home", home)
    blueprint.add_url_rule("/login", "sign_in", sign_in)
    blueprint.add_url_rule("/login", "sign_in_post", lambda: sign_in_post(throttle), methods=["POST"])
    blueprint.add_url_rule("/logout", "sign_out", sign_out, methods=["POST"])
    blueprint.add_url_rule("/healthz", "healthz", healthz)
    blueprint.add_url_rule("/readyz", "readyz", readyz)
    blueprint.before_request(_read_form)
    return blueprint


def _read_form() -> None:
    """Refuse a body that is no form or too long before anything reads it (D1)."""
    if request.method == "POST":
        read_body(request.environ, BODY_LIMIT_BYTES)
        if request.mimetype != FORM_TYPE:
            raise UnsupportedMediaType


@flask_login.login_required  # type: ignore[untyped-decorator] # Flask-Login has no types
def home() -> ResponseReturnValue:
    """Greet the person, and lead them to what they may use."""
    return render_template("mas/home.html")


def sign_in() -> ResponseReturnValue:
    """Show the sign-in form, to somebody signed in as well: a recent sign-in may be asked for (W5)."""
    return _sign_in_page(SignInForm(formdata=None))


def sign_in_post(throttle: SignInLimits) -> ResponseReturnValue:
    """Sign in, and go on to the page that was asked for."""
    form = SignInForm()
    if not form.validate():
        return _sign_in_page(form, STALE if form.csrf_token.errors else None), 422
    email, password, address = form.email.data or "", form.password.data or "", client_address()
    engine = services().engine

    def attempt() -> MasUser | None:
        throttle.begin(email, address)
        return users.authenticate(engine, email, password)

    try:
        # In a place for hashes from the beginning: an attempt that finds none must not count (D7).
        user = run_in_pool(attempt)
    except RateLimited as error:
        LOG.warning("sign-in throttled", extra={"address": address})
        page = make_response(_sign_in_page(form, _wait(error.retry_after_seconds)), 429)
        page.headers["Retry-After"] = str(error.retry_after_seconds)
        return page
    if user is None:
        throttle.failed(address)
        LOG.warning("sign-in refused", extra={"address": address})
        return _sign_in_page(form, REFUSED), 422
    throttle.succeeded(email, address)
    sessions.begin(user)
    LOG.info("signed in", extra={"user_id": user.id, "address": address})
    return redirect(safe_next(request.args.get("next")), 303)


def _sign_in_page(form: SignInForm, refusal: str | None = None) -> str:
    return render_template("mas/sign_in.html", form=form, refusal=refusal, next=request.args.get("next"))


def _wait(seconds: int) -> str:
    minutes = max(1, round(seconds / 60))
    return f"Too many attempts. Wait {minutes} {'minute' if minutes == 1 else 'minutes'}, then try again."


def sign_out() -> ResponseReturnValue:
    """End every session of the person, and let the browser forget the pages (W2, W7)."""
    user = flask_login.current_user
    if user.is_authenticated:
        if not SignOutForm().validate():
            abort(400)
        with unit_of_work(services().engine) as session:
            users.end_sessions(session.scalars(select(MasUser).where(MasUser.id == user.id)).one())
        LOG.info("signed out", extra={"user_id": user.id})
    sessions.end()
    response = redirect(url_for("mas.sign_in"), 303)
    response.headers["Clear-Site-Data"] = '"cache", "storage"'
    return response


def healthz() -> Response:
    """Tell that the process answers (D8)."""
    return _plain("ok", 200)


def readyz() -> Response:
    """Tell whether the database and the signing keys can be used, and nothing of why not (D8)."""
    try:
        with read_session(services().engine) as session:
            session.scalar(select(MasUser.id).limit(1))
        services().keys.published(utc_now())
    except (DomainError, SQLAlchemyError):
        return _plain("not ready", 503)
    return _plain("ok", 200)


def _plain(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
