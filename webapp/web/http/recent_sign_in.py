"""Ask for a new sign-in before a change of secrets, where the last one is too old (W5)."""

from collections.abc import Callable

from flask import Response, render_template, url_for

from ...core.audit.actions import RefusalReason
from ...core.i18n import gettext
from ...host import sign_in_url
from .forms import ScreenForm
from .htmx import htmx
from .refusals import record_refused_attempt
from .response_kinds import ScreenResponse


def sign_in_again(form: ScreenForm, show: Callable[..., Response]) -> Response:
    """Return a 401 that asks for a new sign-in and keeps what was typed; nothing is saved.

    htmx gets a notice for the message area of its dialog, a plain POST the page with the form.

    :param show: renders the form; takes `status`.
    """
    record_refused_attempt(RefusalReason.SIGN_IN_TOO_OLD)
    url = sign_in_url(url_for(".list"))
    if htmx().partial:
        return ScreenResponse(render_template("identity_clients/components/_sign_in_again.html", sign_in_url=url), 401)
    form.message = gettext(
        "For a change to secrets your sign-in must be recent. Sign in in a new tab, then press %(button)s again.",
        button=form.button,
    )
    return show(status=401)
