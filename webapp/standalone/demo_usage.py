"""Token requests of the past month for the demo data, as the identity endpoint would have recorded them."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from heapq import nlargest
from operator import attrgetter

from sqlalchemy.orm import Session

from ..core.database.models import IdentityClient
from ..core.database.outcomes import AuthenticationFailure, Outcome
from ..core.usage.counts import RequestCount, RequestCountKey
from ..core.usage.queries import LATEST_MAX
from ..core.usage.stored_requests import RecordedRequest
from ..core.usage.writer import write_requests

DAYS = 30
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """A system that requests tokens with one secret or key of a client.

    :param label: of the secret or key.
    :param weekday: requests on a working day, approximately; a third of that at the weekend.
    :param last_minutes_ago: the time of the last request; with `hour`, on that day at the latest.
    :param hour: the hour (UTC) of all requests; None for the whole day.
    :param since_days_ago: the day of the first request.
    """

    address: str
    weekday: int
    last_minutes_ago: int
    label: str = "A"
    scope: str = ""
    hour: int | None = None
    since_days_ago: int = DAYS - 1


@dataclass(frozen=True, slots=True)
class Refusals:
    """Refused token requests, a few minutes apart.

    :param minutes_ago: the time of the last one.
    """

    outcome: AuthenticationFailure | Outcome
    count: int
    minutes_ago: int
    address: str
    label: str | None = None
    scope: str = ""


def record(
    session: Session, client: IdentityClient, callers: Iterable[Caller], refusals: Iterable[Refusals], now: datetime
) -> None:
    """Add the token requests of a client: counts, the latest in full, and the last use of its secrets and keys."""
    now = now.replace(microsecond=0)
    chance = random.Random(client.client_id)  # noqa: S311 - not for secrets
    counts: dict[RequestCountKey, RequestCount] = {}
    requests = [
        RecordedRequest(client.id, at, Outcome.ISSUED, caller.label, caller.address, caller.scope)
        for caller in callers
        for at in _moments(caller, now, chance)
    ]
    for some in refusals:
        for number in range(some.count):
            at = now - timedelta(minutes=some.minutes_ago + number * 4, seconds=chance.randrange(60))
            requests.append(RecordedRequest(client.id, at, some.outcome, some.label, some.address, some.scope))
    for request in sorted(requests, key=attrgetter("at")):
        key = RequestCountKey(request.at.date(), client.id, request.secret_label or "", request.outcome)
        counts.setdefault(key, RequestCount()).add(request.at, request.address)
    if counts:
        latest = nlargest(LATEST_MAX, requests, key=attrgetter("at"))
        write_requests(session.connection(), counts, reversed(latest))


def _moments(caller: Caller, now: datetime, chance: random.Random) -> Iterator[datetime]:
    last = asked = now - timedelta(minutes=caller.last_minutes_ago)
    if caller.hour is not None:
        last = asked.replace(hour=caller.hour, minute=30)
        last -= _DAY if last > asked else timedelta(0)
    for days_ago in range(caller.since_days_ago + 1):
        day = last.date() - days_ago * _DAY
        about = caller.weekday if day.weekday() < 5 else caller.weekday // 3
        for _ in range(chance.randint(about * 7 // 8, about * 9 // 8)):
            hour = chance.randrange(24) if caller.hour is None else caller.hour
            at = datetime.combine(day, time(hour, chance.randrange(60), chance.randrange(60)), UTC)
            if at < last:
                yield at
    yield last
