"""Delete, which its user confirms by typing the client ID; and Revoke tokens."""

import re

from flask import Response, redirect, render_template, url_for
from flask.typing import ResponseReturnValue

from ..core.clients import delete_client
from ..core.errors import FieldError, StaleVersion
from ..core.models import IdentityClient, utc_now
from ..core.revocation import last_token_ends_at
from ..core.revocation import revoke_tokens as revoke
from ..host import author_of
from .client_form import sign_in_again
from .done import DONE, done
from .forms import DeleteForm, ScreenForm
from .guard import actor, sign_in_is_recent
from .htmx import close_dialog, htmx
from .loading import load_client
from .question import ask
from .secret_table import is_relied_on, last_used
from .writing import writing

# What a pattern of HTML reads as more than itself.
_SPECIAL = re.compile(r"[\^$\\.*+?()\[\]{}|/]")


def delete(key: str) -> ResponseReturnValue:
    """Ask for the client ID; on POST delete the client, whose page is then no more."""
    client = load_client(key)
    form = DeleteForm(version=client.version)
    if not form.is_submitted():
        return _ask_delete(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _ask_delete(client, form, **options))
    if not form.validate():
        return _ask_delete(client, form, status=422)
    try:
        with writing() as session:
            delete_client(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                typed_client_id=form.confirm.data or "",
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _ask_delete(stale.current, form, status=409)
    except FieldError as error:
        form.add_errors([error])
        return _ask_delete(client, form, status=422)
    if not htmx().partial:
        return redirect(url_for(".list", done="deleted"), 303)
    if htmx().path == url_for(".details", key=client.id):
        response = Response()
        response.headers["HX-Redirect"] = url_for(".list", done="deleted")
        return response
    return close_dialog(
        render_template("identity_clients/clients/_deleted_toast.html", client=client, message=DONE["deleted"])
    )


def revoke_tokens(key: str) -> ResponseReturnValue:
    """Ask; on POST revoke every token that the client got until now (T13)."""
    client, form = load_client(key), ScreenForm()
    if not form.is_submitted():
        return _ask_revoke(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _ask_revoke(client, form, **options))
    if not form.validate():
        return _ask_revoke(client, form, status=422)
    with writing() as session:
        revoke(session, author=author_of(actor()), key=client.id)
    return done(client, "tokens-revoked")


def _ask_delete(client: IdentityClient, form: DeleteForm, *, status: int = 200) -> Response:
    last, now = last_used(client), utc_now()
    return ask(
        "clients/confirm_delete.html",
        client,
        form,
        status=status,
        last=last,
        recent=is_relied_on(last, now),
        pattern=r"\s*" + _SPECIAL.sub(r"\\\g<0>", client.client_id) + r"\s*",
        tokens_end_at=last_token_ends_at(client, now),
    )


def _ask_revoke(client: IdentityClient, form: ScreenForm, *, status: int = 200) -> Response:
    tokens_end_at = last_token_ends_at(client, utc_now())
    return ask("usage/confirm_revoke_tokens.html", client, form, status=status, tokens_end_at=tokens_end_at)
