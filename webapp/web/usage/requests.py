"""The token requests of a client (L2): a section of its page that refreshes itself, and a page of all."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from ...core.client_changes import get_client
from ...core.database.models import IdentityClient, TokenRequest, TokenRequestCount, utc_now
from ...core.database.outcomes import AuthenticationFailure, Outcome
from ...core.database.unit_of_work import read_session
from ...core.i18n import gettext, lazy_gettext
from ...core.usage import queries
from ...host import services
from ..http.access import actor
from ..http.htmx import render
from ..http.loading import parse_key
from .chart import Bars, draw

DAYS = 30
SHOWN = 7
_OUTCOME_LABELS: dict[str, str] = {
    # Translators: the outcome of a token request, as are the next ones.
    Outcome.ISSUED: lazy_gettext("issued"),
    Outcome.THROTTLED: lazy_gettext("too many attempts"),
    Outcome.SCOPE_MALFORMED: lazy_gettext("scope malformed"),
    Outcome.SCOPE_NOT_ALLOWED: lazy_gettext("scope not allowed"),
    Outcome.NO_ROLES: lazy_gettext("no roles left"),
    Outcome.RESOURCE_NOT_ALLOWED: lazy_gettext("resource not allowed"),
    Outcome.PLAIN_HTTP: lazy_gettext("sent without https"),
    AuthenticationFailure.MALFORMED: lazy_gettext("malformed secret"),
    AuthenticationFailure.UNKNOWN: lazy_gettext("not this client ID"),
    AuthenticationFailure.WRONG_SECRET: lazy_gettext("wrong secret"),
    AuthenticationFailure.ENDED_SECRET: lazy_gettext("secret ended"),
    AuthenticationFailure.PAUSED_SECRET: lazy_gettext("secret paused"),
    AuthenticationFailure.WRONG_KEY: lazy_gettext("no key of this client"),
    AuthenticationFailure.ENDED_KEY: lazy_gettext("key ended"),
    AuthenticationFailure.PAUSED_KEY: lazy_gettext("key paused"),
    # Translators: an assertion is a signed statement by which a client authenticates (RFC 7523), here and below.
    AuthenticationFailure.ASSERTION_ALGORITHM: lazy_gettext("assertion signed by another algorithm"),
    AuthenticationFailure.ASSERTION_MALFORMED: lazy_gettext("assertion lacks iss, sub, jti or a time"),
    AuthenticationFailure.ASSERTION_AUDIENCE: lazy_gettext("assertion for another audience"),
    AuthenticationFailure.ASSERTION_EXPIRED: lazy_gettext("assertion expired"),
    AuthenticationFailure.ASSERTION_EARLY: lazy_gettext("assertion not valid yet"),
    AuthenticationFailure.ASSERTION_LONG: lazy_gettext("assertion valid too long"),
    AuthenticationFailure.ASSERTION_USED: lazy_gettext("assertion used before"),
    AuthenticationFailure.DELETED: lazy_gettext("client deleted"),
    AuthenticationFailure.DISABLED: lazy_gettext("client disabled"),
    AuthenticationFailure.ACCOUNT_OFF: lazy_gettext("account switched off"),
    AuthenticationFailure.ADDRESS_NOT_ALLOWED: lazy_gettext("address not allowed"),
    AuthenticationFailure.WHITE_SPACE: lazy_gettext("white space around the client ID"),
}


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


def result(request: TokenRequest) -> str:
    """Return the outcome of a token request as text; the response to the caller gives less detail (P7)."""
    if request.outcome == Outcome.THROTTLED and request.secret_label:
        return gettext("too many tokens")
    return _label_of(request.outcome)


def requests(key: str) -> Response:
    """Show all token requests that are kept; to htmx the section of the client's page."""
    with read_session(services().engine) as session:
        client = get_client(session, account_id=actor().account_id, key=parse_key(key))
        used = usage_of(session, client)
    return render("usage/requests.html", "usage/_requests_section.html", client=client, **context(used))


def context(used: Usage) -> dict[str, Any]:
    """Return the parameters of the templates of token requests."""
    return {"usage": used, "result": result, "shown": SHOWN, "kept_max": queries.LATEST_MAX}


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
        reason = _label_of(outcome)
        # Translators: reason is one of the outcomes of token requests.
        return reason if number == refused.total() else gettext("mostly %(reason)s", reason=reason)
    return ""


def _label_of(outcome: str) -> str:
    return str(_OUTCOME_LABELS.get(outcome, outcome))
