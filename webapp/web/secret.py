"""Change secret: the next one, and what becomes of the one before. And the one step for a secret that leaked."""

from typing import Any

from flask import Response, url_for
from flask.typing import ResponseReturnValue

from ..core import rotation
from ..core.client_secrets import by_age, not_ended
from ..core.errors import FieldError, StaleVersion, TwoSecrets
from ..core.models import ClientSecret, IdentityClient, utc_now
from ..core.revocation import last_token_ends_at
from ..core.rotation import Overlap
from ..core.secrets import Secret, generate_secret
from ..core.words import gettext
from ..host import author_of, services
from .client_form import remake_form, show_form, sign_in_again
from .forms import ChangeForm, VersionForm
from .guard import actor, sign_in_is_recent
from .handover import hand_over
from .htmx import htmx
from .loading import find_secret, load_client
from .presenters import Times
from .question import ask
from .secret_table import is_relied_on, last_used
from .writing import writing


def change_secret(key: str) -> ResponseReturnValue:
    """Show the form; on POST set the new secret, and hand it over in this one answer (S6, S7)."""
    client = load_client(key)
    form = ChangeForm(client)
    if not form.is_submitted():
        return _show(form, client)
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _show(form, client, **options))
    if not form.has_been_read(lambda: None):
        return _show(form, client, status=422)
    kept = not_ended(client, utc_now())
    try:
        overlap = form.chosen_overlap()
        with writing() as session:
            client, _ = rotation.change_secret(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                secret=form.secret,
                overlap=overlap,
                end_older=len(kept) > 1 and form.end_older.data == kept[0].label,
                revoke_tokens=form.revoke.data,
                hasher=services().hasher,
                refuse_weak=services().settings.refuse_weak_secrets,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _show(form, stale.current, status=409)
    except TwoSecrets as two:
        message = gettext("Two secrets work already. Agree to end secret %(label)s now.", label=two.secret.label)
        form.add_errors([FieldError("end_older", message)])
        return _show(form, client, status=422)
    except FieldError as error:
        form.add_errors([error])
        return _show(form, client, status=422)
    former = find_secret(client, str(kept[-1].id)) if kept else None
    return hand_over(client, Secret(form.secret), title=gettext("Secret changed"), note=_note(former))


def change_secret_form(key: str) -> Response:
    """Make the form again after Generate; nothing is saved."""
    client = load_client(key)
    form = ChangeForm(client)
    return remake_form(form, lambda **options: _show(form, client, **options))


def leaked(key: str) -> ResponseReturnValue:
    """Ask; on POST end every secret, revoke the tokens, and hand a new secret over, which nobody chooses."""
    client = load_client(key)
    form = VersionForm(version=client.version)
    if not form.is_submitted():
        return _ask_leaked(client, form)
    if not sign_in_is_recent():
        return sign_in_again(form, lambda **options: _ask_leaked(client, form, **options))
    if not form.validate():
        return _ask_leaked(client, form, status=422)
    secret = generate_secret(services().settings.secret_prefix)
    try:
        with writing() as session:
            client, _ = rotation.leaked(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                secret=secret.reveal(),
                hasher=services().hasher,
            )
    except StaleVersion as stale:
        form.version.data = stale.current.version
        return _ask_leaked(stale.current, form, status=409)
    note = gettext("The former secrets have ended, and the tokens issued until now are revoked.")
    return hand_over(client, secret, title=gettext("Leaked secret replaced"), note=note)


def _note(former: ClientSecret | None) -> str:
    """Return what the hand-over says of the secret before, as it is now."""
    if former is None or former.ends_at is None:
        return ""
    if former.ends_at <= utc_now():
        return gettext("Requests with secret %(label)s are refused from now.", label=former.label)
    if former.paused_at is not None:
        return gettext("Secret %(label)s stays paused until it ends.", label=former.label)
    moment = Times(services().settings.time_zone).moment(former.ends_at)
    return gettext("Secret %(label)s works until %(moment)s.", label=former.label, moment=moment)


def _show(form: ChangeForm, client: IdentityClient, *, status: int = 200, **options: Any) -> Response:
    now = utc_now()
    kept = not_ended(client, now)
    old = kept[-1] if kept else None
    newest = by_age(client.secrets)[-1]
    return show_form(
        "change",
        form,
        status=status,
        key=client.id,
        client=client,
        old=old,
        older=kept[0] if len(kept) > 1 else None,
        ends={overlap.value: overlap.after(now) for overlap in Overlap},
        recent=is_relied_on(old, now),
        tokens_end_at=last_token_ends_at(client, now),
        stale=status == 409,
        latest_secret=newest if newest.created_at == client.updated_at else None,
        remake_url=url_for(".secret_form", key=client.id),
        **{"propose": not htmx().partial, **options},
    )


def _ask_leaked(client: IdentityClient, form: VersionForm, *, status: int = 200) -> Response:
    return ask(
        "secrets/confirm_leaked.html",
        client,
        form,
        status=status,
        last=last_used(client),
        tokens_end_at=last_token_ends_at(client, utc_now()),
    )
