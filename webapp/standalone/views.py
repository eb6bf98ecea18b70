"""The pages of the stand-alone application: sign-in, sign-out, home, and the health checks."""

import logging
from secrets import compare_digest

import flask_login
from flask import Blueprint, Response, abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import UnsupportedMediaType

from ..core.audit.pages import list_events
from ..core.audit.query import AuditQuery
from ..core.clients import attention_queries
from ..core.database.models import utc_now
from ..core.database.readiness import check_ready
from ..core.database.unit_of_work import read_session, unit_of_work
from ..core.errors import DomainError, RateLimited
from ..core.i18n import lazy_gettext, ngettext
from ..core.secrets.argon2_pool import run_in_pool
from ..extension import IdentityClients
from ..host import client_address, services
from ..http_request import read_body
from ..web.audit.event_texts import describe_event
from ..web.clients.attention import strip_links
from ..web.i18n.times import Times
from . import language, sessions, users
from .forms import LanguageForm, SignInForm, SignOutForm
from .layout import Layout
from .models import MasUser
from .redirects import safe_next
from .settings import BODY_LIMIT_BYTES
from .sign_in_limits import SignInLimits

LOG = logging.getLogger(__name__)
LATEST_EVENTS = 8
"""The number of changes on the start page."""
FORM_TYPE = "application/x-www-form-urlencoded"
# The same for every reason, so that it does not reveal which users exist (D6).
SIGN_IN_FAILED = lazy_gettext("The e-mail address or the password is wrong. Check both, then try again.")
CSRF_EXPIRED = lazy_gettext("This page was open for too long. Press Sign in again.")


def make_blueprint(limits: SignInLimits) -> Blueprint:
    """Return the pages as the blueprint `mas`."""
    blueprint = Blueprint("mas", __name__)
    blueprint.add_url_rule("/", "home", home)
    blueprint.add_url_rule("/login", "sign_in", sign_in)
    blueprint.add_url_rule("/login", "sign_in_post", lambda: sign_in_post(limits), methods=["POST"])
    blueprint.add_url_rule("/logout", "sign_out", sign_out, methods=["POST"])
    blueprint.add_url_rule("/language", "language", choose_language, methods=["POST"])
    blueprint.add_url_rule("/healthz", "healthz", healthz)
    blueprint.add_url_rule("/readyz", "readyz", readyz)
    blueprint.add_url_rule("/metrics", "metrics", metrics)
    blueprint.before_request(_read_form)
    return blueprint


def _read_form() -> None:
    """Refuse a body that is not a form, or is too long, before anything parses it (D1)."""
    if request.method == "POST":
        read_body(request.environ, BODY_LIMIT_BYTES)
        if request.mimetype != FORM_TYPE:
            raise UnsupportedMediaType


@flask_login.login_required  # type: ignore[untyped-decorator] # Flask-Login has no types
def home() -> ResponseReturnValue:
    """Show the start page: what needs attention, and the last changes."""
    if not Layout().may_use_identity_clients:
        return render_template("mas/home.html", links=[], events=[])
    times, account_id = Times(services().settings.time_zone), flask_login.current_user.account_id
    with read_session(services().engine) as session:
        links = strip_links(attention_queries.summary(session, account_id))
        events = list_events(session, account_id=account_id, query=AuditQuery(), zone=times.zone).events[:LATEST_EVENTS]
    return render_template(
        "mas/home.html",
        links=[(link.text, url_for(f"identity_clients.{link.view}", **link.arguments)) for link in links],
        events=[describe_event(event, times=times, catalogue=services().catalogue) for event in events],
        times=times,
    )


def sign_in() -> ResponseReturnValue:
    """Show the sign-in form, also to a signed-in user, since some pages need a recent sign-in (W5)."""
    return _sign_in_page(SignInForm(formdata=None))


def sign_in_post(limits: SignInLimits) -> ResponseReturnValue:
    """Sign in, and redirect to the requested page."""
    form = SignInForm()
    if not form.validate():
        return _sign_in_page(form, CSRF_EXPIRED if form.csrf_token.errors else None), 422
    email, password, address = form.email.data or "", form.password.data or "", client_address()
    # Before the attempt is counted, so that one during an outage of the database is not.
    with read_session(services().engine) as session:
        found = users.find_user(session, email)

    def attempt() -> MasUser | None:
        limits.begin(email, address)
        return users.authenticate(found, password)

    try:
        # The whole attempt runs in the pool, so that one that the full pool refuses is not counted (D7).
        user = run_in_pool(attempt)
    except RateLimited as error:
        LOG.warning("sign-in throttled", extra={"address": address})
        page = make_response(_sign_in_page(form, _wait(error.retry_after_seconds)), 429)
        page.headers["Retry-After"] = str(error.retry_after_seconds)
        return page
    if user is None:
        limits.failed(address)
        LOG.warning("sign-in refused", extra={"address": address})
        return _sign_in_page(form, SIGN_IN_FAILED), 422
    limits.succeeded(email, address)
    sessions.begin(user)
    LOG.info("signed in", extra={"user_id": user.id, "address": address})
    return redirect(safe_next(request.args.get("next")), 303)


def _sign_in_page(form: SignInForm, refusal: str | None = None) -> str:
    return render_template("mas/sign_in.html", form=form, refusal=refusal, next=request.args.get("next"))


def _wait(seconds: int) -> str:
    minutes = max(1, round(seconds / 60))
    return ngettext(
        "Too many attempts. Wait %(number)s minute, then try again.",
        "Too many attempts. Wait %(number)s minutes, then try again.",
        minutes,
    )


def sign_out() -> ResponseReturnValue:
    """End all sessions of the user, and clear the browser's cache (W2, W7)."""
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


def choose_language() -> ResponseReturnValue:
    """Remember the language that the user chose, and return to the page (W7)."""
    form = LanguageForm()
    if not form.validate():
        abort(400)
    response = redirect(safe_next(form.next.data), 303)
    language.remember(response, form.language.data or language.DEFAULT)
    return response


def healthz() -> Response:
    """Return 200 while the process responds (D8)."""
    return _plain("ok", 200)


def readyz() -> Response:
    """Return 200 if the database and the signing keys are usable, else 503 without a reason (D8)."""
    try:
        check_ready(services().engine)
        with read_session(services().engine) as session:
            session.scalar(select(MasUser.id).limit(1))
        services().keys.published(utc_now())
    except (DomainError, SQLAlchemyError):
        return _plain("not ready", 503)
    return _plain("ok", 200)


def metrics() -> ResponseReturnValue:
    """Return the metrics for Prometheus: to everybody in development, else to bearers of `METRICS_TOKEN` only."""
    expected = current_app.config["METRICS_TOKEN"]
    if not services().settings.development:
        if not expected:
            abort(404)
        given = request.authorization
        if (
            given is None
            or given.type != "bearer"
            or not compare_digest((given.token or "").encode(), expected.encode())
        ):
            return Response("", 401, {"WWW-Authenticate": "Bearer"})
    registry = CollectorRegistry()
    registry.register(IdentityClients.metrics_collector(current_app))
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _plain(text: str, status: int) -> Response:
    return Response(f"{text}\n", status, mimetype="text/plain")
