"""Change secret, and Replace leaked secret."""

from functools import partial
from typing import Any

from flask import Response, url_for
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.database.models import ClientSecret, IdentityClient, utc_now
from ...core.database.unit_of_work import read_session
from ...core.errors import FieldError
from ...core.i18n import gettext
from ...core.secrets.client_secrets import by_age, find_credential, not_ended
from ...core.secrets.errors import TwoActiveSecrets
from ...core.secrets.generation import Secret
from ...core.secrets.service import Overlap, may_have_secrets
from ...core.tokens.revocation import last_token_ends_at
from ...host import author_of, services
from ..http.access import actor, sign_in_is_recent
from ..http.confirmation import render_confirmation
from ..http.forms import VersionForm
from ..http.htmx import htmx
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import REPLACED
from ..http.transactions import transaction
from ..i18n.times import Times
from .end_dates import end_date_context, parse_moment
from .form_views import show_generated_secret, show_secret_form
from .forms import ChangeForm
from .handover import hand_over
from .table import is_relied_on, last_used


def change_secret(key: str) -> ResponseReturnValue:
    """Show the form; on POST set the new secret and show it in this one response (S6, S7)."""
    client = load_client(key)
    form = ChangeForm(client)
    if not form.is_submitted():
        with read_session(services().engine) as session:
            if not may_have_secrets(session, client):
                return render_confirmation("secrets/change_refused.html", client, form)
        return _show(form, client)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_show, form, client))
    if not form.is_ready():
        return _show(form, client, status=422)
    active = not_ended(client, utc_now())
    try:
        overlap, ends_at = form.chosen_overlap(), parse_moment(form.ends_at.data or "")
        with transaction() as session:
            client, _ = services().secrets.change(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                secret=form.secret,
                overlap=overlap,
                end_older=len(active) > 1 and form.end_older.data == active[0].label,
                revoke_tokens=form.revoke.data,
                ends_at=ends_at,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _show(form, stale.current, status=409)
    except TwoActiveSecrets as error:
        message = gettext("Two secrets work already. Agree to end secret %(label)s now.", label=error.secret.label)
        form.add_errors([FieldError("end_older", message)])
        return _show(form, client, status=422)
    except FieldError as error:
        form.add_errors([error])
        return _show(form, client, status=422)
    previous = find_credential(client.secrets, active[-1].id) if active else None
    note = _note_on_previous(previous)
    return hand_over(client, Secret(form.secret), title=gettext("Secret changed"), note=note)


def change_secret_form(key: str) -> Response:
    """Render the form's secret again after Generate; nothing is saved."""
    client = load_client(key)
    form = ChangeForm(client)
    return show_generated_secret(form, partial(_show, form, client))


def replace_leaked_secret(key: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST end every secret, revoke the tokens and show a generated secret (S6)."""
    client = load_client(key)
    form = VersionForm(version=client.version)
    if not form.is_submitted():
        return _confirm_leaked(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_confirm_leaked, client, form))
    if not form.validate():
        return _confirm_leaked(client, form, status=422)
    try:
        with transaction() as session:
            client, secret = services().secrets.replace_leaked(
                session, author=author_of(actor()), key=client.id, version=form.version.data
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _confirm_leaked(stale.current, form, status=409)
    except FieldError as refused:
        form.add_errors([refused])
        return _confirm_leaked(client, form, status=422)
    note = gettext("The former secrets have ended, and the tokens issued until now are revoked.")
    return hand_over(client, secret, title=gettext("Leaked secret replaced"), note=note, done=REPLACED)


def _note_on_previous(previous: ClientSecret | None) -> str:
    """Return the sentence of the handover page on when the previous secret ends; empty if it does not."""
    if previous is None or previous.ends_at is None:
        return ""
    if previous.ends_at <= utc_now():
        return gettext("Requests with secret %(label)s are refused from now.", label=previous.label)
    if previous.paused_at is not None:
        return gettext("Secret %(label)s stays paused until it ends.", label=previous.label)
    moment = Times(services().settings.time_zone).moment(previous.ends_at)
    # Translators: label is the letter of a secret, moment a date with time.
    return gettext("Secret %(label)s works until %(moment)s.", label=previous.label, moment=moment)


def _show(form: ChangeForm, client: IdentityClient, *, status: int = 200, **options: Any) -> Response:
    now = utc_now()
    active = not_ended(client, now)
    old = active[-1] if active else None
    newest = by_age(client.secrets)[-1]
    return show_secret_form(
        "change",
        form,
        status=status,
        key=client.id,
        client=client,
        old=old,
        older=active[0] if len(active) > 1 else None,
        ends={overlap.value: overlap.after(now) for overlap in Overlap},
        recent=is_relied_on(old, now),
        tokens_end_at=last_token_ends_at(client, now),
        stale=status == 409,
        latest_secret=newest if newest.created_at == client.updated_at else None,
        remake_url=url_for(".secret_form", key=client.id),
        **end_date_context(),
        **{"propose": not htmx().partial, **options},
    )


def _confirm_leaked(client: IdentityClient, form: VersionForm, *, status: int = 200) -> Response:
    return render_confirmation(
        "secrets/confirm_leaked.html",
        client,
        form,
        status=status,
        last=last_used(client),
        tokens_end_at=last_token_ends_at(client, utc_now()),
    )
