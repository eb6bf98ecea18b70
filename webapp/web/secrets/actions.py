"""End, pause and resume one secret or key, and set its end date; each after a confirmation page (S7, S8)."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from flask import Response
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.database.models import ClientKey, IdentityClient, SecretState, utc_now
from ...core.errors import FieldError
from ...core.secrets.available_actions import SecretAction, required_confirmations
from ...core.secrets.client_secrets import AnyCredential, by_age, credentials_of, find_credential, last_live
from ...core.secrets.errors import ConfirmationRequired, LastLiveSecret, LastSecretWouldEnd, SecretHasEnded
from ...core.secrets.lifecycle import apply_secret_action
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor, sign_in_is_recent
from ..http.confirmation import render_confirmation
from ..http.forms import ConfirmedForm
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import ROTATED, show_toast
from ..http.transactions import transaction
from .end_dates import FIELD_FORMAT, end_date_context, field_value, parse_moment
from .forms import EndDateForm

_TEMPLATES = {
    SecretAction.END: "secrets/confirm_end.html",
    SecretAction.PAUSE: "secrets/confirm_pause.html",
    SecretAction.RESUME: "secrets/confirm_resume.html",
    SecretAction.SET_END_DATE: "secrets/end_date.html",
}
_DONE = {
    SecretAction.END: "ended",
    SecretAction.PAUSE: "paused",
    SecretAction.RESUME: "resumed",
    SecretAction.SET_END_DATE: "end-date-set",
}
_CLEARED = "end-date-cleared"


def end(key: str, secret_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST end a secret now."""
    return _confirm_and_apply(*_load_secret(key, secret_id), SecretAction.END)


def pause(key: str, secret_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST pause a secret."""
    return _confirm_and_apply(*_load_secret(key, secret_id), SecretAction.PAUSE)


def resume(key: str, secret_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST resume a paused secret."""
    return _confirm_and_apply(*_load_secret(key, secret_id), SecretAction.RESUME)


def end_date(key: str, secret_id: str) -> ResponseReturnValue:
    """Show the form; on POST set or remove the end date of a secret."""
    return _set_end_date(*_load_secret(key, secret_id))


def end_key(key: str, key_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST end a key now."""
    return _confirm_and_apply(*_load_key(key, key_id), SecretAction.END)


def pause_key(key: str, key_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST pause a key."""
    return _confirm_and_apply(*_load_key(key, key_id), SecretAction.PAUSE)


def resume_key(key: str, key_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST resume a paused key."""
    return _confirm_and_apply(*_load_key(key, key_id), SecretAction.RESUME)


def key_end_date(key: str, key_id: str) -> ResponseReturnValue:
    """Show the form; on POST set or remove the end date of a key."""
    return _set_end_date(*_load_key(key, key_id))


def _load_secret(key: str, secret_id: str) -> tuple[IdentityClient, AnyCredential]:
    client = load_client(key)
    return client, find_credential(client.secrets, parse_key(secret_id))


def _load_key(key: str, key_id: str) -> tuple[IdentityClient, AnyCredential]:
    client = load_client(key)
    return client, find_credential(client.keys, parse_key(key_id))


def _set_end_date(client: IdentityClient, secret: AnyCredential) -> ResponseReturnValue:
    form = EndDateForm(version=client.version, ends_at=field_value(secret.ends_at))
    if not form.is_submitted():
        return _confirm(client, secret, form, SecretAction.SET_END_DATE)
    try:
        ends_at = None if form.clear.data else parse_moment(form.ends_at.data or "")
    except FieldError as error:
        form.add_errors([error])
        return _confirm(client, secret, form, SecretAction.SET_END_DATE, status=422)
    return _apply(client, secret, form, SecretAction.SET_END_DATE, ends_at=ends_at)


def _confirm_and_apply(client: IdentityClient, secret: AnyCredential, action: SecretAction) -> ResponseReturnValue:
    form = ConfirmedForm(version=client.version)
    if not form.is_submitted():
        confirmations = required_confirmations(client, secret, action, utc_now())
        return _confirm(client, secret, form, action, confirmations=confirmations)
    return _apply(client, secret, form, action)


def _apply(
    client: IdentityClient,
    secret: AnyCredential,
    form: ConfirmedForm,
    action: SecretAction,
    *,
    ends_at: datetime | None = None,
) -> ResponseReturnValue:
    """Answer a POST: apply the action, or show the confirmation page again.

    :param ends_at: the end date to set, with SET_END_DATE.
    """
    confirmations = required_confirmations(client, secret, action, utc_now(), ends_at=ends_at)
    show = partial(_confirm, client, secret, form, action, confirmations=confirmations)
    if not sign_in_is_recent():
        return sign_in_again(form, show)
    if not form.validate():
        return show(status=422)
    try:
        with transaction() as session:
            client = apply_secret_action(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                secret_id=secret.id,
                action=action,
                ends_at=ends_at,
                secret_max_days=services().settings.secret_max_days,
                confirmed=bool(confirmations) and form.confirmed.data == _confirmation_id(confirmations),
            )
    except StaleVersion as stale:
        client, form.version.data = stale.current, stale.current.version
        secret = find_credential(credentials_of(client), secret.id)
        confirmations = required_confirmations(client, secret, action, utc_now(), ends_at=ends_at)
        return _confirm(client, secret, form, action, confirmations=confirmations, status=409)
    except (LastLiveSecret, SecretHasEnded):
        return show(status=409)
    except ConfirmationRequired:
        return show(status=422)
    except FieldError as error:
        form.add_errors([error])
        return show(status=422)
    if action is SecretAction.END and _is_rotated(client, secret):
        return show_toast(client, ROTATED)
    kind = "key" if isinstance(secret, ClientKey) else "secret"
    done = _CLEARED if action is SecretAction.SET_END_DATE and ends_at is None else _DONE[action]
    return show_toast(client, f"{kind}-{done}")


def _is_rotated(client: IdentityClient, ended: AnyCredential) -> bool:
    """Return whether only one newer secret works, or one newer key, after an old one ended."""
    last = last_live(client, utc_now())
    return last is not None and type(last) is type(ended) and by_age([last, ended])[0] is ended


def _confirm(
    client: IdentityClient,
    secret: AnyCredential,
    form: ConfirmedForm,
    action: SecretAction,
    *,
    confirmations: Sequence[ConfirmationRequired] = (),
    status: int = 200,
) -> Response:
    """Render the confirmation page of an action, or the page that says why the action is refused."""
    now = utc_now()
    ended = secret.state_at(now) is SecretState.ENDED
    if ended or (action in (SecretAction.END, SecretAction.PAUSE) and secret is last_live(client, now)):
        return render_confirmation(
            "secrets/action_refused.html", client, form, status=status, secret=secret, ended=ended
        )
    return render_confirmation(
        _TEMPLATES[action],
        client,
        form,
        status=status,
        secret=secret,
        confirmations=confirmations,
        confirmation_id=_confirmation_id(confirmations),
        **end_date_context(secret),
    )


def _confirmation_id(confirmations: Sequence[ConfirmationRequired]) -> str:
    """Return an identifier of what was confirmed, so that another consequence, or another end, is asked for again."""
    return "_".join(
        f"{confirmation.ends_at.astimezone(UTC):{FIELD_FORMAT}}"
        if isinstance(confirmation, LastSecretWouldEnd)
        else "used"
        for confirmation in confirmations
    )
