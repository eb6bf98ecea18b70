"""Show the targets of an account's notifications, and the log of its messages."""

from collections.abc import Collection

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext, lazy_gettext
from ...core.notifications.kinds import KIND_LABELS, KINDS
from ...core.notifications.log import list_messages, state_of
from ...core.notifications.targets import list_targets, shown_address
from ...host import services
from ..http.access import actor
from ..http.forms import ScreenForm
from ..http.htmx import close_dialog, htmx, render

# The keys appear in URLs.
DONE = {
    "added": lazy_gettext("Added. Messages are sent there from now."),
    "saved": lazy_gettext("Saved. The choice applies to the next message."),
    "removed": lazy_gettext("Removed. Nothing more is sent there."),
    "secret": lazy_gettext("Secret changed. For 24 hours the old one signs as well."),
    "test": lazy_gettext("The test message is on its way. The log shows whether it is delivered."),
    "again": lazy_gettext("The message is sent again. The log shows whether it is delivered."),
}


def notifications() -> Response:
    """Show the targets, and a page of the messages."""
    account_id = actor().account_id
    with read_session(services().engine) as session:
        targets = list_targets(session, account_id)
        page = list_messages(session, account_id=account_id, after=request.args.get("after", ""))
    return render(
        "notifications/notifications.html",
        "notifications/_notifications.html",
        targets=targets,
        failing=[shown_address(target) for target in targets if target.given_up_at is not None],
        page=page,
        form=ScreenForm(),
        sends_mail=services().targets.sends_mail,
        labels=KIND_LABELS,
        kinds_text=kinds_text,
        shown_address=shown_address,
        state_of=state_of,
        message=DONE.get(request.args.get("done", "")),
    )


def kinds_text(kinds: Collection[str]) -> str:
    """Return the kinds that a target gets, as text."""
    if frozenset(kinds).issuperset(KINDS):
        # Translators: an address gets every kind of notification.
        return gettext("Every message")
    return "; ".join(str(KIND_LABELS.get(kind, kind)) for kind in KINDS if kind in kinds)


def show_done(what: str) -> ResponseReturnValue:
    """Return the response to a POST that changed something.

    :param what: a key of `DONE`.
    """
    if htmx().partial:
        return close_dialog(render_template("identity_clients/notifications/_toast.html", message=DONE[what]))
    return redirect(url_for(".notifications", done=what), 303)
