"""From where a client may call (A8): the list on its page, the check of one address, and the form that changes it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from ..core.allowed_networks import Consequences, NetworksUnconfirmed, consequences, set_networks
from ..core.changes import get_client
from ..core.database import reading
from ..core.errors import FieldError, InvalidFields, StaleVersion
from ..core.models import IdentityClient, utc_now
from ..core.networks import AllowedNetwork, canonical_address, check_networks, is_allowed, networks_text
from ..core.seen_addresses import SeenAddresses, seen_addresses
from ..core.words import gettext, ngettext
from ..host import author_of, services
from .forms import NetworksForm
from .guard import actor
from .htmx import close_dialog, htmx, render
from .loading import parse_key
from .presenters import Times
from .writing import writing

TYPED_MAX = 200
DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Check:
    """What is said of one address.

    :param typed: as it was typed.
    :param address: the address, or empty if that is none.
    :param passes: whether the client may call from it now.
    :param asked: how often it did, in words.
    """

    typed: str
    address: str = ""
    passes: bool = False
    asked: str = ""


def networks(key: str) -> ResponseReturnValue:
    """Show the list as a form, with the line added or removed that the address names; on POST save it."""
    client, seen = _client(key)
    form = NetworksForm(version=client.version, allowed_networks=_proposed(client))
    if not form.is_submitted():
        return _show(form, client, _judge(form, client, seen))
    if not form.validate():
        return _show(form, client, _judge(form, client, seen), status=422)
    try:
        with writing() as session:
            client = set_networks(
                session,
                author=author_of(actor()),
                key=client.id,
                version=form.version.data,
                text=form.text,
                confirmed=(form.confirmed.data or "").split(),
            )
    except InvalidFields as invalid:
        form.add_errors(invalid.errors)
        return _show(form, client, None, status=422)
    except NetworksUnconfirmed as unconfirmed:
        return _show(form, client, unconfirmed.consequences, status=422)
    except StaleVersion as stale:
        return _show_stale(form, stale.current, seen)
    if htmx().partial:
        return close_dialog(render_template("identity_clients/clients/_networks_saved_toast.html", client=client))
    return redirect(url_for(".details", key=client.id, done="networks"), 303)


def check_address(key: str) -> Response:
    """Tell whether the client may call from an address, and how often that address asked."""
    client, seen = _client(key)
    typed = request.args.get("address", "").strip()[:TYPED_MAX]
    return render(
        "clients/address_check.html",
        "clients/_address_check.html",
        client=client,
        **context(client, seen),
        check=_check(client, seen, typed) if typed else None,
    )


def context(client: IdentityClient, seen: SeenAddresses) -> dict[str, Any]:
    """Return what the section of the client's page takes.

    `last_seen` holds the time for each network; where it has none, `never_seen` says no more than is known: requests
    are kept for a while only.
    """
    retention = timedelta(days=services().settings.token_request_retention_days)
    is_all_known = seen.complete_since is None and utc_now() - client.created_at < retention
    return {
        "last_seen": {allowed.network: seen.last_seen(allowed) for allowed in client.allowed_networks},
        "never_seen": gettext("Never") if is_all_known else gettext("Not lately"),
    }


def _client(key: str) -> tuple[IdentityClient, SeenAddresses]:
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        return client, seen_addresses(session, client)


def _proposed(client: IdentityClient) -> str:
    removed, added = request.args.get("remove"), request.args.get("address", "").strip()[:TYPED_MAX]
    kept = networks_text([allowed for allowed in client.allowed_networks if allowed.network != removed])
    return "\n".join(filter(None, (kept, added)))


def _judge(form: NetworksForm, client: IdentityClient, seen: SeenAddresses) -> Consequences | None:
    """Return what would follow from the list as it stands in the form; what is wrong with it is put on the field."""
    try:
        wanted = check_networks(form.text)
    except FieldError as error:
        form.add_errors([error])
        return None
    return consequences(client, wanted, seen, utc_now())


def _show(
    form: NetworksForm,
    client: IdentityClient,
    follows: Consequences | None,
    *,
    status: int = 200,
    stored: Sequence[AllowedNetwork] = (),
) -> Response:
    return render(
        "clients/networks.html",
        "clients/_networks_form.html" if request.method == "POST" else "clients/_networks_dialog.html",
        status=status,
        client=client,
        form=form,
        consequences=follows,
        stored=stored,
    )


def _show_stale(form: NetworksForm, current: IdentityClient, seen: SeenAddresses) -> Response:
    fresh = NetworksForm(formdata=None, version=current.version, allowed_networks=form.text)
    fresh.message = gettext(
        "%(who)s changed this client at %(time)s. Nothing of yours is saved yet:"
        " compare it with the list as it is now, then press Save again.",
        who=current.updated_by,
        time=Times(services().settings.time_zone).clock(current.updated_at),
    )
    return _show(fresh, current, _judge(fresh, current, seen), status=409, stored=current.allowed_networks)


def _check(client: IdentityClient, seen: SeenAddresses, typed: str) -> Check:
    address = canonical_address(typed)
    if address is None:
        return Check(typed)
    return Check(typed, address, is_allowed(client.allowed_networks, address), _asked(seen, address, utc_now()))


def _asked(seen: SeenAddresses, address: str, now: datetime) -> str:
    """Say how often an address asked, for as long as all requests are known."""
    known_since = seen.complete_since
    if known_since and known_since > now - DAY:
        number, called_at = seen.count(address), seen.callers.get(address)
        if not number and called_at:
            return gettext(
                "None of the latest %(kept)s requests came from it. It last called %(time)s.",
                kept=len(seen.requests),
                time=Times(services().settings.time_zone).ago(called_at),
            )
        return ngettext(
            "%(number)s of the latest %(kept)s requests came from it.",
            "%(number)s of the latest %(kept)s requests came from it.",
            number,
            kept=len(seen.requests),
        )
    today, week = seen.count(address, now - DAY), seen.count(address, now - 7 * DAY)
    if week > today and (known_since is None or known_since <= now - 7 * DAY):
        return ngettext(
            "It asked %(number)s time in the last 7 days.", "It asked %(number)s times in the last 7 days.", week
        )
    if today:
        return ngettext(
            "It asked %(number)s time in the last 24 hours.", "It asked %(number)s times in the last 24 hours.", today
        )
    if known_since is None or known_since <= now - 7 * DAY:
        return gettext("It did not ask in the last 7 days.")
    return gettext("It did not ask in the last 24 hours.")
