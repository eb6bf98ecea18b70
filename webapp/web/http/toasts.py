"""Messages after a change: a toast in the response to htmx, otherwise a notice on the page that follows."""

from flask import redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from ...core.database.models import IdentityClient, utc_now
from ...core.i18n import gettext, lazy_gettext
from ...core.secrets.client_secrets import last_live, live_secrets
from ..i18n.credential_names import credential_name
from .htmx import close_dialog, htmx

# The keys appear in URLs.
TOASTS = {
    "edited": lazy_gettext("Saved. Changes apply to the client’s next token."),
    "enabled": lazy_gettext("Enabled. The client can ask for tokens again."),
    "networks": lazy_gettext("Saved. The list applies to the client’s next token request."),
    "disabled": lazy_gettext("Disabled. The client gets no new tokens."),
    # Translators: after a change of several clients.
    "bulk": lazy_gettext("Saved. Each change is in the activity."),
    "reviewed": lazy_gettext("Reviewed. The activity keeps what you found."),
    "deleted": lazy_gettext("Deleted. The client gets no new tokens, and its client ID stays taken."),
    "tokens-revoked": lazy_gettext("Tokens revoked. The client can ask for new ones."),
    "secret-ended": lazy_gettext("Secret ended. Requests with it are refused from now."),
    "secret-paused": lazy_gettext("Secret paused. Requests with it are refused until you resume it."),
    "secret-resumed": lazy_gettext("Secret resumed. The client gets tokens with it again."),
    "secret-end-date-set": lazy_gettext("End date set. The secret ends by itself."),
    "secret-end-date-cleared": lazy_gettext("End date removed. The secret works until you end it."),
    "created-with-key": lazy_gettext("Client created and enabled. It can ask for tokens with its key from now."),
    "key-added": lazy_gettext("Key added. The client can ask for tokens with it from now."),
    "key-ended": lazy_gettext("Key ended. Requests with it are refused from now."),
    "key-paused": lazy_gettext("Key paused. Requests with it are refused until you resume it."),
    "key-resumed": lazy_gettext("Key resumed. The client gets tokens with it again."),
    "key-end-date-set": lazy_gettext("End date set. The key ends by itself."),
    "key-end-date-cleared": lazy_gettext("End date removed. The key works until you end it."),
    "settings": lazy_gettext("Saved. The settings apply from the next request on."),
}

ROTATED = "rotated"
"""The key of the message after the old one of two secrets or keys ended."""
REPLACED = "leaked-replaced"
"""The key of the message after a leaked secret was replaced."""


def message_about(client: IdentityClient, what: str) -> str | None:
    """Return the text of a message on the page of a client, or None for an unknown key.

    The secret or key that a text names is the one that works now, never a value of the request.

    :param what: a key of `TOASTS`, `ROTATED` or `REPLACED`.
    """
    now = utc_now()
    if what == ROTATED and (last := last_live(client, now)):
        return gettext("Rotation finished: only %(credential)s works now.", credential=credential_name(last.label))
    if what == REPLACED and (live := live_secrets(client, now)):
        return gettext(
            "Leaked secret replaced: the former ones have ended, and %(credential)s works.",
            credential=credential_name(live[-1].label),
        )
    return TOASTS.get(what)


def show_toast(client: IdentityClient, what: str) -> ResponseReturnValue:
    """Return the response to a POST that changed a client.

    :param what: a key that `message_about` knows.
    """
    if htmx().partial:
        return close_dialog(
            render_template(
                "identity_clients/components/_toast.html", client=client, message=message_about(client, what)
            )
        )
    return redirect(url_for(".details", key=client.id, done=what), 303)
