"""Add, edit, test and remove targets, and send messages again."""

from functools import partial

from flask import Response, request, url_for
from flask.typing import ResponseReturnValue

from ...core.database.models import NotificationTarget
from ...core.database.unit_of_work import read_session
from ...core.errors import FieldError, InvalidFields, NotFound
from ...core.i18n import gettext
from ...core.notifications import log
from ...core.notifications.kinds import CHECKPOINT, KIND_LABELS, KINDS, Channel, EventKind, attention_reason
from ...core.notifications.targets import StaleTarget, get_target, shown_address
from ...core.secrets.generation import Secret
from ...host import author_of, services
from ...http_request import parse_key
from ..http.access import actor, sign_in_is_recent
from ..http.handover import show_secret
from ..http.htmx import htmx, render
from ..http.recent_sign_in import sign_in_again
from ..http.transactions import transaction
from ..i18n.times import Times
from .forms import TargetActionForm, TargetForm
from .page import show_done

_CHOSEN_FOR_NEW = frozenset(
    {EventKind.SECRET_LEAKED, EventKind.MONEY_ROLE_ADDED, "attention.ending", "attention.refused"}
)


def add(channel: str) -> ResponseReturnValue:
    """Show the form; on POST add a target. The response for a webhook shows its secret, once."""
    if channel not in list(Channel):
        raise NotFound
    form = TargetForm(kinds=_CHOSEN_FOR_NEW)
    is_webhook = channel == Channel.WEBHOOK
    # Translators: a field; the address of the receiver of webhook messages.
    form.address.label.text = gettext("URL") if is_webhook else gettext("E-mail address")
    if not form.is_submitted():
        return _show(form, channel, None)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_show, form, channel, None))
    if not form.validate():
        return _show(form, channel, None, status=422)
    try:
        with transaction() as session:
            target, secret = services().targets.add(
                session,
                author=author_of(actor()),
                channel=Channel(channel),
                address=form.address.data or "",
                kinds=form.kinds.data,
            )
    except InvalidFields as invalid:
        form.add_errors(invalid.errors)
        return _show(form, channel, None, status=422)
    return show_done("added") if secret is None else _hand_over(target, secret, new=True)


def edit(target_id: str) -> ResponseReturnValue:
    """Show the form; on POST save which messages a target gets."""
    target = _load(target_id)
    form = TargetForm(version=target.version, kinds=target.kinds)
    if not form.is_submitted():
        return _show(form, target.channel, target)
    if not form.validate():
        return _show(form, target.channel, target, status=422)
    try:
        with transaction() as session:
            services().targets.edit(
                session,
                author=author_of(actor()),
                target_id=target.id,
                version=form.version.data,
                kinds=form.kinds.data,
            )
    except FieldError as error:
        form.add_errors([error])
        return _show(form, target.channel, target, status=422)
    except StaleTarget as stale:
        form.version.data, form.message = stale.current.version, _stale_text(stale)
        return _show(form, target.channel, stale.current, status=409, stored=stale.current.kinds)
    return show_done("saved")


def remove(target_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST remove a target."""
    target = _load(target_id)
    form = TargetActionForm(version=target.version)
    if not form.validate_on_submit():
        return _confirm("remove", form, target)
    try:
        with transaction() as session:
            services().targets.remove(
                session, author=author_of(actor()), target_id=target.id, version=form.version.data
            )
    except StaleTarget as stale:
        form.version.data, form.message = stale.current.version, _stale_text(stale)
        return _confirm("remove", form, stale.current, status=409)
    return show_done("removed")


def change_secret(target_id: str) -> ResponseReturnValue:
    """Ask for confirmation; on POST give a webhook a new secret, which this response alone shows."""
    target = _load(target_id)
    if target.channel != Channel.WEBHOOK:
        raise NotFound
    form = TargetActionForm(version=target.version)
    if form.is_submitted() and not sign_in_is_recent():
        return sign_in_again(form, partial(_confirm, "secret", form, target))
    if not form.validate_on_submit():
        return _confirm("secret", form, target)
    try:
        with transaction() as session:
            target, secret = services().targets.change_secret(
                session, author=author_of(actor()), target_id=target.id, version=form.version.data
            )
    except StaleTarget as stale:
        form.version.data, form.message = stale.current.version, _stale_text(stale)
        return _confirm("secret", form, stale.current, status=409)
    return _hand_over(target, secret, new=False)


def test(target_id: str) -> ResponseReturnValue:
    """Send a test message to a target. The page of a GET is for browsers without script."""
    target = _load(target_id)
    form = TargetActionForm(version=target.version)
    if not form.validate_on_submit():
        return _confirm("test", form, target)
    with transaction() as session:
        log.send_test(session, author=author_of(actor()), target_id=target.id, rate_limits=services().rate_limits)
    return show_done("test")


def send_again(message_id: str) -> ResponseReturnValue:
    """Send a message again. The page of a GET is for browsers without script."""
    with read_session(services().engine) as session:
        message = log.get_message(session, account_id=actor().account_id, key=parse_key(message_id))
    form = TargetActionForm()
    if not form.validate_on_submit():
        return _confirm("again", form, message.target)
    with transaction() as session:
        log.send_again(session, author=author_of(actor()), key=message.id, rate_limits=services().rate_limits)
    return show_done("again")


def _load(target_id: str) -> NotificationTarget:
    with read_session(services().engine) as session:
        return get_target(session, account_id=actor().account_id, target_id=parse_key(target_id))


def _show(
    form: TargetForm,
    channel: str,
    target: NotificationTarget | None,
    *,
    status: int = 200,
    stored: frozenset[str] = frozenset(),
) -> Response:
    groups = {
        # Translators: a group of notifications, as a heading.
        gettext("Changes of clients"): list(EventKind),
        # Translators: a group of notifications, as a heading.
        gettext("Clients that need attention"): [kind for kind in KINDS if attention_reason(kind) is not None],
        gettext("Activity"): [CHECKPOINT],
    }
    return render(
        "notifications/target.html",
        "notifications/_target_form.html" if request.method == "POST" else "notifications/_target_dialog.html",
        status=status,
        form=form,
        channel=channel,
        target=target,
        groups=groups,
        labels=KIND_LABELS,
        stored=[kind for kind in KINDS if kind in stored],
    )


def _confirm(action: str, form: TargetActionForm, target: NotificationTarget, *, status: int | None = None) -> Response:
    """Return the page or dialog of an action; after a POST that changed nothing, with the reason.

    :param action: `remove`, `secret`, `test` or `again`.
    """
    again = request.method == "POST" and not htmx().into_dialog
    return render(
        "notifications/confirm.html",
        "notifications/_confirm_form.html" if again else "notifications/_confirm_dialog.html",
        status=status or (422 if request.method == "POST" else 200),
        action=action,
        form=form,
        address=shown_address(target),
    )


def _hand_over(target: NotificationTarget, secret: Secret, *, new: bool) -> Response:
    return show_secret(
        "notifications/_webhook_secret.html",
        title=gettext("Save the webhook secret"),
        done_url=url_for(".notifications"),
        address=shown_address(target),
        secret=secret.reveal(),
        new=new,
    )


def _stale_text(stale: StaleTarget) -> str:
    return gettext(
        "%(who)s changed this at %(time)s. Your changes are not saved yet: compare, then press the button again.",
        who=stale.current.updated_by,
        time=Times(services().settings.time_zone).clock(stale.current.updated_at),
    )
