"""Choose the ranges of the indexes that a query reads, and read them.

Every filter reads ranges of an index in the order of time. A condition that no index serves is tested on a bounded
number of their rows for one page, which then says how far back it looked.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta, tzinfo
from typing import NamedTuple

from sqlalchemy.orm import Session

from ...database.models import IdentityClient, TokenRequest
from ...database.outcomes import Outcome
from .positions import Position
from .query import REASONS, REFUSED, RequestQuery
from .statements import Conditions, Range, build_statements, parameters_of

SCAN_MAX, MERGED_SCAN_MAX = 20_000, 5_000
"""How many rows one page tests for what no index serves: of one range, and of several that are merged; about 20 ms."""
_MINUTE = timedelta(minutes=1)


class Found(NamedTuple):
    """The result of one read.

    :param rows: in the direction of the read, up to one more than a page has.
    :param stopped_at: the last row that was tested, if the read ended there; None: it found all rows or reached the
        end.
    """

    rows: Sequence[TokenRequest]
    stopped_at: Position | None


class Search:
    """The search of one query.

    :param account_id: the account whose requests are searched.
    :param zone: the time zone of the query's times.
    :param client: restricts the search to this client of the account.
    :param size: how many requests a page has.
    """

    def __init__(
        self,
        session: Session,
        query: RequestQuery,
        *,
        account_id: str,
        zone: tzinfo,
        client: IdentityClient | None,
        size: int,
    ) -> None:
        self.size = size
        self._session = session
        self._ranges, self._conditions = _choose_ranges(account_id, query, client)
        self._times: dict[str, datetime] = {}
        if query.since:
            self._times["since"] = query.since.replace(tzinfo=zone)
        if query.until:
            self._times["until"] = query.until.replace(tzinfo=zone) + _MINUTE

    def read(self, position: Position | None, *, backwards: bool = False) -> Found:
        """Return the rows that follow a position, towards older ones, or backwards towards newer ones.

        :param position: None: begin with the newest row.
        """
        bounds = self._times if position is None else {**self._times, **position._asdict()}
        statements = build_statements(
            tuple(self._ranges[0]),
            len(self._ranges),
            tuple(self._conditions),
            tuple(bounds),
            backwards=backwards,
            row_by_row=self._session.get_bind().dialect.name == "sqlite",
        )
        parameters = parameters_of(
            self._ranges,
            self._conditions,
            bounds,
            rows_max=self.size + 1,
            scan_max=SCAN_MAX if len(self._ranges) == 1 else MERGED_SCAN_MAX,
        )
        rows = self._session.scalars(statements.rows, parameters).all()
        if statements.last_tested is None or len(rows) > self.size:
            return Found(rows, None)
        last = self._session.execute(statements.last_tested, parameters).first()
        return Found(rows, Position(*last) if last else None)


def _choose_ranges(
    account_id: str, query: RequestQuery, client: IdentityClient | None
) -> tuple[Sequence[Range], Conditions]:
    """Return the ranges that contain the requests of a query, and the conditions that the ranges do not ensure."""
    own = {"account_id": account_id}
    outcomes = {"": (Outcome.ISSUED, *REASONS), REFUSED: REASONS}.get(query.outcome, (query.outcome,))
    conditions: dict[str, Collection[object]] = {}
    if client is not None:
        conditions["client_key"] = (client.id,)
    if query.outcome:
        conditions["outcome"] = outcomes
    if query.secret:
        conditions["secret_label"] = (query.secret,)
    if query.address:
        conditions["address"] = (query.address,)
    if query.request_id:
        return [{**own, "request_id": query.request_id}], conditions
    if query.address:
        del conditions["address"]
        return [{**own, "address": query.address}], conditions
    if client is not None and query.outcome in ("", Outcome.ISSUED):
        # Refusals are few, so that their own ranges find them faster.
        del conditions["client_key"]
        return [{"client_key": client.id}], conditions
    conditions.pop("outcome", None)
    return [{**own, "outcome": outcome} for outcome in outcomes], conditions
