"""Enable and disable: a question that says what will happen, then the deed."""

from datetime import datetime, timedelta

from flask import redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..core.changes import get_client
from ..core.clients import set_enabled
from ..core.database import reading
from ..core.errors import StaleVersion
from ..core.models import TOKEN_DURATION_MAX_MINUTES, IdentityClient, utc_now
from ..host import author_of, services
from .forms import VersionForm
from .guard import actor
from .htmx import close_dialog, htmx, render
from .list import parse_key
from .writing import writing


def enable(key: str) -> ResponseReturnValue:
    """Let the client ask for tokens again."""
    return _switch(key, enabled=True)


def disable(key: str) -> ResponseReturnValue:
    """Refuse the client's token requests from now on."""
    return _switch(key, enabled=False)


def _switch(key: str, *, enabled: bool) -> ResponseReturnValue:
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
    form = VersionForm(version=client.version)
    if not form.is_submitted():
        return _question(client, form, enabled=enabled)
    if not form.validate():
        return _question(client, form, enabled=enabled, status=422)
    try:
        with writing() as session:
            client = set_enabled(
                session, author=author_of(actor()), key=client.id, version=form.version.data, enabled=enabled
            )
    except StaleVersion as stale:
        fresh = VersionForm(formdata=None, version=stale.current.version)
        return _question(stale.current, fresh, enabled=enabled, status=409)
    done = "enabled" if enabled else "disabled"
    if htmx().partial:
        return close_dialog(render_template("identity_clients/_switched.html", client=client))
    return redirect(url_for(".details", key=client.id, done=done), 303)


def _question(client: IdentityClient, form: VersionForm, *, enabled: bool, status: int = 200) -> ResponseReturnValue:
    return render(
        "switch.html",
        "_switch_form.html" if request.method == "POST" else "_switch_dialog.html",
        status=status,
        client=client,
        form=form,
        enabled=enabled,
        stale=status == 409,
        last_token_ends_at=_last_token_ends_at(client),
    )


def _last_token_ends_at(client: IdentityClient) -> datetime:
    """Return the moment by which every token issued until now has run out.

    A client that was edited within the longest life of a token may have had a longer duration before.
    """
    longest = timedelta(minutes=TOKEN_DURATION_MAX_MINUTES)
    now = utc_now()
    if now - client.updated_at < longest:
        return now + longest
    return now + timedelta(minutes=client.token_duration_minutes)
