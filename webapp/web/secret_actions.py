"""What is done to one secret: end, pause, resume, end date. Each asks first; nothing is done unread (S7, S8)."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Response
from flask.typing import ResponseReturnValue
from sqlalchemy.orm import Session

from ..core import rotation
from ..core.client_secrets import last_live
from ..core.errors import (
    FieldError,
    LastSecret,
    LastSecretEnds,
    NeedsConfirmation,
    SecretHasEnded,
    StaleVersion,
)
from ..core.models import ClientSecret, IdentityClient, SecretState, utc_now
from ..core.rotation import END_DATE_MAX_DAYS
from ..core.secret_controls import SecretAction, objections
from ..core.words import gettext
from ..host import author_of, services
from .client_form import sign_in_again
from .done import done
from .forms import EndDateForm, ReadForm
from .guard import actor, sign_in_is_recent
from .loading import find_secret, load_client
from .presenters import Times
from .question import ask
from .writing import writing

_QUESTIONS = {
    SecretAction.END: "secrets/confirm_end.html",
    SecretAction.PAUSE: "secrets/confirm_pause.html",
    SecretAction.RESUME: "secrets/confirm_resume.html",
    SecretAction.SET_END_DATE: "secrets/end_date.html",
}
_FIELD_FORMAT = "%Y-%m-%dT%H:%M"


def end(key: str, secret_id: str) -> ResponseReturnValue:
    """End a secret now."""
    return _act(key, secret_id, SecretAction.END, rotation.end_secret, "secret-ended")


def pause(key: str, secret_id: str) -> ResponseReturnValue:
    """Let a secret verify nothing until it is resumed."""
    return _act(key, secret_id, SecretAction.PAUSE, rotation.pause_secret, "secret-paused")


def resume(key: str, secret_id: str) -> ResponseReturnValue:
    """Let a paused secret verify again."""

    def deed(session: Session, *, confirmed: bool, **options: Any) -> IdentityClient:
        return rotation.resume_secret(session, **options)

    return _act(key, secret_id, SecretAction.RESUME, deed, "secret-resumed")


def end_date(key: str, secret_id: str) -> ResponseReturnValue:
    """Let a secret end by itself at a moment, or at none."""
    client = load_client(key)
    secret = find_secret(client, secret_id)
    form = EndDateForm(version=client.version, ends_at=_for_field(secret.ends_at))
    if not form.is_submitted():
        return _ask(client, secret, form, SecretAction.SET_END_DATE)
    try:
        ends_at = None if form.clear.data else _moment(form.ends_at.data or "")
    except FieldError as error:
        form.add_errors([error])
        return _ask(client, secret, form, SecretAction.SET_END_DATE, status=422)
    return _do(
        client,
        secret,
        form,
        SecretAction.SET_END_DATE,
        lambda session, **options: rotation.set_end_date(session, ends_at=ends_at, **options),
        "end-date-cleared" if ends_at is None else "end-date-set",
        ends_at=ends_at,
    )


def _act(
    key: str, secret_id: str, action: SecretAction, deed: Callable[..., IdentityClient], what: str
) -> ResponseReturnValue:
    client = load_client(key)
    secret = find_secret(client, secret_id)
    form = ReadForm(version=client.version)
    if not form.is_submitted():
        return _ask(client, secret, form, action, found=objections(client, secret, action, utc_now()))
    return _do(client, secret, form, action, deed, what)


def _do(
    client: IdentityClient,
    secret: ClientSecret,
    form: ReadForm,
    action: SecretAction,
    deed: Callable[..., IdentityClient],
    what: str,
    *,
    ends_at: datetime | None = None,
) -> ResponseReturnValue:
    """Answer a POST.

    :param deed: the function of core, which takes its author, the client's key and version, the secret's key, and
        whether its consequences were read.
    :param what: a key of `done.DONE`.
    """
    found = objections(client, secret, action, utc_now(), ends_at=ends_at)

    def again(status: int) -> Response:
        return _ask(client, secret, form, action, status=status, found=found)

    if not sign_in_is_recent():
        return sign_in_again(form, again)
    if not form.validate():
        return again(422)
    try:
        with writing() as session:
            client = deed(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                secret_id=secret.id,
                confirmed=bool(found) and form.confirmed.data == _mark(found),
            )
    except StaleVersion as stale:
        client, form.version.data = stale.current, stale.current.version
        secret = find_secret(client, str(secret.id))
        found = objections(client, secret, action, utc_now(), ends_at=ends_at)
        return again(409)
    except (LastSecret, SecretHasEnded):
        return again(409)
    except NeedsConfirmation:
        return again(422)
    except FieldError as error:
        form.add_errors([error])
        return again(422)
    return done(client, what)


def _ask(
    client: IdentityClient,
    secret: ClientSecret,
    form: ReadForm,
    action: SecretAction,
    *,
    status: int = 200,
    found: Sequence[NeedsConfirmation] = (),
) -> Response:
    now = utc_now()
    ended = secret.state_at(now) is SecretState.ENDED
    if ended or (action in (SecretAction.END, SecretAction.PAUSE) and secret is last_live(client, now)):
        return ask("secrets/action_refused.html", client, form, status=status, secret=secret, ended=ended)
    return ask(
        _QUESTIONS[action],
        client,
        form,
        status=status,
        secret=secret,
        objections=found,
        mark=_mark(found),
        days=END_DATE_MAX_DAYS,
        least=_for_field(now + timedelta(minutes=1)),
        most=_for_field(now + timedelta(days=END_DATE_MAX_DAYS)),
    )


def _mark(found: Sequence[NeedsConfirmation]) -> str:
    """Return a name for what was read, so that something else, or another moment, is asked for again."""
    return "_".join(
        f"{objection.ends_at.astimezone(UTC):{_FIELD_FORMAT}}" if isinstance(objection, LastSecretEnds) else "used"
        for objection in found
    )


def _for_field(at: datetime | None) -> str:
    return "" if at is None else f"{at.astimezone(_zone()):{_FIELD_FORMAT}}"


def _moment(text: str) -> datetime | None:
    """Return the moment that was typed in the zone of the screens; None if nothing was.

    Of a time that there is twice, as clocks go back, it is the first.

    :raises FieldError: it is no date with a time, or one that clocks jump over.
    """
    if not text.strip():
        return None
    try:
        typed = datetime.fromisoformat(text.strip())
        local = typed.replace(tzinfo=_zone(), fold=0)
        moment = local.astimezone(UTC)
        exists = moment.astimezone(_zone()).replace(tzinfo=None, fold=0) == typed
    except (ValueError, OverflowError):
        raise FieldError("ends_at", gettext("Enter a date and a time, such as 2027-01-31T18:00.")) from None
    if typed.tzinfo is not None:
        raise FieldError("ends_at", gettext("Enter a date and a time, such as 2027-01-31T18:00."))
    if not exists:
        raise FieldError("ends_at", gettext("Clocks go forward past this time. Choose an earlier or a later one."))
    return moment


def _zone() -> Any:
    return Times(services().settings.time_zone).zone
