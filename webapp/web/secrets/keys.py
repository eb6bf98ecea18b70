"""Add a public key to a client (S11)."""

import re
from functools import partial

from flask import Response, request
from flask.typing import ResponseReturnValue

from ...core.client_changes import StaleVersion
from ...core.database.models import IdentityClient
from ...core.errors import FieldError
from ...core.secrets.client_secrets import AnyCredential
from ...core.secrets.errors import TooManyKeys
from ...core.secrets.keys import add_key as add_key_to_client
from ...core.secrets.public_keys import PrivateKeyGiven, contains_private_key
from ...host import author_of
from ..http.access import actor, sign_in_is_recent
from ..http.htmx import render
from ..http.loading import load_client
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import show_toast
from ..http.transactions import transaction
from .forms import AddKeyForm

_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9._-]")


def add_key(key: str) -> ResponseReturnValue:
    """Show the form; on POST add the public key. A private key is never sent back (S11)."""
    client = load_client(key)
    form = AddKeyForm(version=client.version)
    if not form.is_submitted():
        return _show(form, client)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_show, form, client))
    if not form.validate():
        return _show(form, client, status=422)
    try:
        with transaction() as session:
            client, _ = add_key_to_client(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                public_key=form.public_key.data or "",
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _show(form, stale.current, status=409)
    except TooManyKeys as error:
        return _show(form, client, status=422, oldest=error.secret)
    except FieldError as error:
        form.add_errors([error])
        return _show(form, client, status=422)
    return show_toast(client, "key-added")


def _show(
    form: AddKeyForm, client: IdentityClient, *, status: int = 200, oldest: AnyCredential | None = None
) -> Response:
    if contains_private_key(form.public_key.data or ""):
        form.public_key.data = ""
    return render(
        "secrets/add_key.html",
        "secrets/_add_key_form.html" if request.method == "POST" else "secrets/_add_key_dialog.html",
        status=status,
        client=client,
        form=form,
        stale=status == 409,
        oldest=oldest,
        file_name=f"{_NOT_IN_FILE_NAMES.sub('_', client.client_id)}-private-key.pem",
        private_key_message=PrivateKeyGiven().message,
    )
