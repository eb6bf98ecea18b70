"""Enable and disable: a question that says what will happen, then the deed. Enabling needs no question."""

from flask import Response
from flask.typing import ResponseReturnValue

from ..core.clients import set_enabled
from ..core.errors import StaleVersion
from ..core.models import IdentityClient, utc_now
from ..core.revocation import last_token_ends_at
from ..host import author_of
from .client_form import sign_in_again
from .done import done
from .forms import DisableForm, VersionForm
from .guard import actor, sign_in_is_recent
from .loading import load_client
from .question import ask
from .secret_table import last_used
from .writing import writing


def enable(key: str) -> ResponseReturnValue:
    """Let the client ask for tokens again."""
    client = load_client(key)
    form = VersionForm(version=client.version)
    if not form.is_submitted():
        return ask("clients/confirm_enable.html", client, form)
    if not form.validate():
        return ask("clients/confirm_enable.html", client, form, status=422)
    try:
        with writing() as session:
            client = set_enabled(
                session, author=author_of(actor()), key=client.id, version=form.version.data, enabled=True
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return ask("clients/confirm_enable.html", stale.current, form, status=409)
    return done(client, "enabled")


def disable(key: str) -> ResponseReturnValue:
    """Refuse the client's token requests from now on; on demand revoke its tokens as well."""
    client = load_client(key)
    form = DisableForm(version=client.version)
    if not form.is_submitted():
        return _ask_disable(client, form)
    if form.revoke.data and not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _ask_disable(client, form, **options))
    if not form.validate():
        return _ask_disable(client, form, status=422)
    try:
        with writing() as session:
            client = set_enabled(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                enabled=False,
                revoke_tokens=form.revoke.data,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _ask_disable(stale.current, form, status=409)
    return done(client, "disabled")


def _ask_disable(client: IdentityClient, form: DisableForm, *, status: int = 200) -> Response:
    return ask(
        "clients/confirm_disable.html",
        client,
        form,
        status=status,
        last=last_used(client),
        tokens_end_at=last_token_ends_at(client, utc_now()),
    )
