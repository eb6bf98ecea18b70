"""The settings of the account that its administrators change."""

from functools import partial

from flask import Response, redirect, request, url_for
from flask.typing import ResponseReturnValue

from ...core.account_settings import (
    are_assertions_strict,
    is_management_api_enabled,
    keys_only_roles,
    set_keys_only,
    set_management_api,
    set_strict_assertions,
)
from ...core.database.unit_of_work import read_session
from ...host import author_of, services
from ..http.access import actor, sign_in_is_recent
from ..http.htmx import render
from ..http.recent_sign_in import sign_in_again
from ..http.toasts import TOASTS
from ..http.transactions import transaction
from .forms import SettingsForm


def settings() -> ResponseReturnValue:
    """Show the form; on POST save it. A switch that has no effect on this platform is left out, and stays as it is."""
    with read_session(services().engine) as session:
        form = SettingsForm(
            management_api=is_management_api_enabled(session, actor().account_id),
            keys_only=bool(keys_only_roles(session, actor().account_id)),
            strict_assertions=are_assertions_strict(session, actor().account_id),
        )
    if not form.is_submitted():
        return _show(form)
    if not sign_in_is_recent():
        return sign_in_again(form, partial(_show, form))
    if not form.validate():
        return _show(form, status=422)
    with transaction() as session:
        if services().settings.api_enabled:
            set_management_api(session, author=author_of(actor()), enabled=form.management_api.data)
        if money_roles := services().catalogue.money_roles:
            set_keys_only(session, author=author_of(actor()), money_roles=money_roles, enabled=form.keys_only.data)
        set_strict_assertions(session, author=author_of(actor()), enabled=form.strict_assertions.data)
    return redirect(url_for(".settings", done="settings"), 303)


def _show(form: SettingsForm, *, status: int = 200) -> Response:
    own = services().settings
    return render(
        "account/settings.html",
        "account/_settings_form.html",
        status=status,
        form=form,
        api_url=own.issuer + own.api_prefix if own.api_enabled else "",
        issuer=own.issuer,
        moves_money=bool(services().catalogue.money_roles),
        message=TOASTS.get(request.args.get("done", "")),
    )
