"""What became of a client's token requests (L2): a section of its page, which refreshes itself, and a page of all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from ..core import usage
from ..core.authentication import Reason
from ..core.changes import get_client
from ..core.database import reading
from ..core.models import IdentityClient, TokenRequest, TokenRequestCount, utc_now
from ..core.usage import Outcome
from ..core.words import gettext, lazy_gettext
from ..host import services
from .chart import Bars, draw
from .guard import actor
from .htmx import render
from .loading import parse_key

DAYS = 30
SHOWN = 7
_RESULTS: dict[str, str] = {
    Outcome.ISSUED: lazy_gettext("issued"),
    Outcome.THROTTLED: lazy_gettext("too many attempts"),
    Outcome.SCOPE_MALFORMED: lazy_gettext("scope malformed"),
    Outcome.SCOPE_NOT_ALLOWED: lazy_gettext("scope not allowed"),
    Outcome.NO_ROLES: lazy_gettext("no roles left"),
    Outcome.PLAIN_HTTP: lazy_gettext("sent without https"),
    Reason.MALFORMED: lazy_gettext("malformed secret"),
    Reason.UNKNOWN: lazy_gettext("not this client ID"),
    Reason.WRONG_SECRET: lazy_gettext("wrong secret"),
    Reason.ENDED_SECRET: lazy_gettext("secret ended"),
    Reason.PAUSED_SECRET: lazy_gettext("secret paused"),
    Reason.DELETED: lazy_gettext("client deleted"),
    Reason.DISABLED: lazy_gettext("client disabled"),
    Reason.ACCOUNT_OFF: lazy_gettext("account switched off"),
    Reason.ADDRESS_NOT_ALLOWED: lazy_gettext("address not allowed"),
}


@dataclass(frozen=True, slots=True)
class Day:
    """The token requests of one day (UTC)."""

    date: date
    issued: int
    refused: int


@dataclass(frozen=True, slots=True)
class Usage:
    """How a client was used lately.

    :param days: the oldest first, each of them there.
    :param peak: the day with most refusals, or where there are none with most tokens; None: there were no requests.
    :param peak_reason: why most were refused on that day, in words; empty if none was.
    :param requests: the latest, the newest first, as many as are kept.
    """

    days: Sequence[Day]
    peak: Day | None
    peak_reason: str
    requests: Sequence[TokenRequest]

    @property
    def issued(self) -> int:
        """How many tokens it got."""
        return sum(day.issued for day in self.days)

    @property
    def refused(self) -> int:
        """How many of its requests were refused."""
        return sum(day.refused for day in self.days)

    @property
    def issued_bars(self) -> Bars:
        """The chart of the tokens that it got."""
        return draw([day.issued for day in self.days])

    @property
    def refused_bars(self) -> Bars:
        """The chart of the refusals, on a scale of its own: they are few beside the tokens."""
        return draw([day.refused for day in self.days])

    @property
    def marks(self) -> Sequence[date]:
        """The days that are named below the chart."""
        return [self.days[place].date for place in (0, DAYS // 3, DAYS // 3 * 2, DAYS - 1)]


def usage_of(session: Session, client: IdentityClient) -> Usage:
    """Return how a client was used, by two statements."""
    own = (session, client.account_id, client.id)
    by_day = {day: list(those) for day, those in groupby(usage.per_day(*own, days=DAYS), key=lambda count: count.day)}
    today = utc_now().date()
    days = [_day(day, by_day.get(day, ())) for day in (today - timedelta(days=ago) for ago in reversed(range(DAYS)))]
    peak = max(days, key=lambda day: (day.refused, day.issued))
    return Usage(
        days,
        peak if peak.refused or peak.issued else None,
        _main_reason(by_day.get(peak.date, ())),
        usage.recent(*own),
    )


def result(request: TokenRequest) -> str:
    """Return what became of a token request, in words; the caller was told less (P7)."""
    if request.outcome == Outcome.THROTTLED and request.secret_label:
        return gettext("too many tokens")
    return _in_words(request.outcome)


def requests(key: str) -> Response:
    """Show all token requests that are kept; to htmx, again and again, the section of the client's page."""
    with reading(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        used = usage_of(session, client)
    return render("usage/requests.html", "usage/_requests_section.html", client=client, **context(used))


def context(used: Usage) -> dict[str, Any]:
    """Return what the templates of token requests take."""
    return {"usage": used, "result": result, "shown": SHOWN, "kept_max": usage.LATEST_MAX}


def _day(day: date, counts: Iterable[TokenRequestCount]) -> Day:
    by_outcome: Counter[str] = Counter()
    for count in counts:
        by_outcome[count.outcome] += count.count
    issued = by_outcome[Outcome.ISSUED]
    return Day(day, issued, by_outcome.total() - issued)


def _main_reason(counts: Iterable[TokenRequestCount]) -> str:
    refused: Counter[str] = Counter()
    for count in counts:
        if count.outcome != Outcome.ISSUED:
            refused[count.outcome] += count.count
    for outcome, number in refused.most_common(1):
        words = _in_words(outcome)
        return words if number == refused.total() else gettext("mostly %(reason)s", reason=words)
    return ""


def _in_words(outcome: str) -> str:
    return str(_RESULTS[outcome]) if outcome in _RESULTS else outcome
