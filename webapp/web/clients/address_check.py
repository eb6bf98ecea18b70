"""Check whether a client may call from one address, and how often that address called (A8)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, request

from ...core.addresses import canonical_address, is_allowed
from ...core.database.models import IdentityClient, utc_now
from ...core.i18n import gettext, ngettext
from ...core.usage.recent_addresses import RecentAddresses
from ...host import services
from ..http.htmx import render
from ..i18n.times import Times
from .networks import TYPED_MAX, load_with_addresses, networks_context

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Check:
    """The result of checking one address.

    :param typed: the text as it was typed.
    :param address: the address in canonical form, or empty if the text is none.
    :param passes: whether the client may call from it now.
    :param asked: a sentence on how often it called.
    """

    typed: str
    address: str = ""
    passes: bool = False
    asked: str = ""


def check_address(key: str) -> Response:
    """Show whether the client may call from an address, and how often that address called."""
    client, seen = load_with_addresses(key)
    typed = request.args.get("address", "").strip()[:TYPED_MAX]
    return render(
        "clients/address_check.html",
        "clients/_address_check.html",
        client=client,
        **networks_context(client, seen),
        check=_check(client, seen, typed) if typed else None,
    )


def _check(client: IdentityClient, seen: RecentAddresses, typed: str) -> Check:
    address = canonical_address(typed)
    if address is None:
        return Check(typed)
    return Check(
        typed, address, is_allowed(client.allowed_networks, address), _call_count_text(seen, address, utc_now())
    )


def _call_count_text(seen: RecentAddresses, address: str, now: datetime) -> str:
    """Return a sentence on how often an address called, in the time of which all requests are known."""
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
