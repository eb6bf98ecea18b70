"""Revoke the issued tokens of a client."""

from flask import Response
from flask.typing import ResponseReturnValue

from ...core.client_changes import revoke_tokens as revoke
from ...core.database.models import IdentityClient, utc_now
from ...core.errors import FieldError
from ...core.tokens.revocation import last_token_ends_at
from ...host import author_of
from ..http.access import actor, sign_in_is_recent
from ..http.confirmation import render_confirmation
from ..http.forms import ScreenForm
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import show_toast
from ..http.transactions import transaction


def revoke_tokens(key: str) -> ResponseReturnValue:
    """Show the confirmation; on POST revoke every token issued to the client until now (T13)."""
    client, form = load_client(key), ScreenForm()
    if not form.is_submitted():
        return _ask_revoke(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _ask_revoke(client, form, **options))
    if not form.validate():
        return _ask_revoke(client, form, status=422)
    try:
        with transaction() as session:
            revoke(session, author=author_of(actor()), key=client.id)
    except FieldError as refused:
        form.add_errors([refused])
        return _ask_revoke(client, form, status=422)
    return show_toast(client, "tokens-revoked")


def _ask_revoke(client: IdentityClient, form: ScreenForm, *, status: int = 200) -> Response:
    tokens_end_at = last_token_ends_at(client, utc_now())
    return render_confirmation(
        "usage/confirm_revoke_tokens.html", client, form, status=status, tokens_end_at=tokens_end_at
    )
