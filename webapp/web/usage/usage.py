"""The usage of a client (L2): a section of its page that refreshes itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from ...core.client_changes import get_client
from ...core.database.models import IdentityClient, TokenRequest, TokenRequestCount, utc_now
from ...core.database.outcomes import Outcome
from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext
from ...core.usage import queries
from ...core.usage.request_log import key_of
from ...host import services
from ...http_request import parse_key
from ..http.access import actor
from ..http.htmx import render
from ..i18n.times import Times
from .chart import Bars, draw
from .outcomes import label_of, result

DAYS = 30
SHOWN = 7


@dataclass(frozen=True, slots=True)
class Day:
    """The token requests of one day (UTC)."""

    date: date
    issued: int
    refused: int


@dataclass(frozen=True, slots=True)
class Usage:
    """The usage of a client in the last 30 days.

    :param days: every day, oldest first.
    :param peak: the day with most refusals, or without refusals the day with most tokens; None without requests.
    :param peak_reason: the most frequent reason of the refusals of that day; empty without refusals.
    :param requests: the latest requests that are kept, newest first.
    """

    days: Sequence[Day]
    peak: Day | None
    peak_reason: str
    requests: Sequence[TokenRequest]

    @property
    def issued(self) -> int:
        """The number of issued tokens."""
        return sum(day.issued for day in self.days)

    @property
    def refused(self) -> int:
        """The number of refused requests."""
        return sum(day.refused for day in self.days)

    @property
    def has_chart(self) -> bool:
        """Whether a chart says more than a sentence: the bars of a single day would stand alone on an empty axis."""
        return sum(bool(day.issued or day.refused) for day in self.days) > 1

    @property
    def issued_bars(self) -> Bars:
        """The chart of the issued tokens."""
        return draw([day.issued for day in self.days])

    @property
    def refused_bars(self) -> Bars:
        """The chart of the refusals; it has its own scale, since they are few beside the tokens."""
        return draw([day.refused for day in self.days])

    @property
    def marks(self) -> Sequence[date]:
        """The days that are labelled below the chart."""
        return [self.days[place].date for place in (0, DAYS // 3, DAYS // 3 * 2, DAYS - 1)]


def usage_of(session: Session, client: IdentityClient) -> Usage:
    """Return the usage of a client, read by two statements."""
    own = (session, client.account_id, client.id)
    by_day = {
        day: list(those) for day, those in groupby(queries.daily_counts(*own, days=DAYS), key=lambda count: count.day)
    }
    today = utc_now().date()
    days = [_day(day, by_day.get(day, ())) for day in (today - timedelta(days=ago) for ago in reversed(range(DAYS)))]
    peak = max(days, key=lambda day: (day.refused, day.issued))
    return Usage(
        days,
        peak if peak.refused or peak.issued else None,
        _main_reason(by_day.get(peak.date, ())),
        queries.recent_requests(*own),
    )


def usage(key: str) -> Response:
    """Show the usage of a client: to htmx the section of its page."""
    with read_session(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        used = usage_of(session, client)
    return render("usage/usage.html", "usage/_requests_section.html", client=client, **context(used))


def context(used: Usage) -> dict[str, Any]:
    """Return the parameters of the templates of token requests."""
    return {"usage": used, "result": result, "shown": SHOWN, "key_of": key_of, "range_of": range_of}


def range_of(day: date) -> dict[str, str]:
    """Return the filters of the request log for a day of UTC, in the time zone of the screens."""
    zone = Times(services().settings.time_zone).zone
    start = datetime.combine(day, time.min, UTC)
    last_minute = start + timedelta(days=1, minutes=-1)
    return {name: f"{at.astimezone(zone):%Y-%m-%dT%H:%M}" for name, at in (("since", start), ("until", last_minute))}


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
        reason = label_of(outcome)
        # Translators: reason is one of the outcomes of token requests.
        return reason if number == refused.total() else gettext("mostly %(reason)s", reason=reason)
    return ""
