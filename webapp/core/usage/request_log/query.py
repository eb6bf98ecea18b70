"""The filters and the page of a request log, as the URL carries them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from ...addresses import canonical_address
from ...credentials import CLIENT_ID_MAX
from ...database.outcomes import AuthenticationFailure, Outcome
from ...query_arguments import parse_minute, searchable

REFUSED = "refused"
"""The value of `RequestQuery.outcome` for all of `REASONS`."""
REASONS: tuple[str, ...] = (*(each for each in AuthenticationFailure), *(each for each in Outcome if each != "issued"))
"""Every outcome but an issued token."""
_REQUEST_ID = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_LABEL = re.compile(r"[A-Z]{1,8}|[0-9]{1,8}", re.ASCII)


@dataclass(frozen=True, slots=True)
class RequestQuery:
    """The filters and the page.

    :param client: a whole client ID, present or former, in any letter case.
    :param outcome: `issued`, `refused`, one of `REASONS`, or empty.
    :param secret: the label of the secret or key with which the client authenticated.
    :param address: the caller's address in canonical form.
    :param request_id: the ID of the HTTP request.
    :param since: the first minute, in the time zone of the screens and naive.
    :param until: the last minute.
    :param after: the cursor after which the page begins, towards older requests.
    :param before: the cursor before which the page ends.
    """

    client: str = ""
    outcome: str = ""
    secret: str = ""
    address: str = ""
    request_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Return the query for the arguments of a URL; an invalid value becomes the default (I4)."""
        outcome = arguments.get("outcome", "")
        return cls(
            client=searchable(arguments.get("client", "").strip(), CLIENT_ID_MAX),
            outcome=outcome if outcome in (Outcome.ISSUED, REFUSED, *REASONS) else "",
            secret=_matching(_LABEL, arguments.get("secret", "")),
            address=canonical_address(arguments.get("address", "").strip()[:64]) or "",
            request_id=_matching(_REQUEST_ID, arguments.get("request_id", "").strip()),
            since=parse_minute(arguments.get("since", ""), of_day="00:00"),
            until=parse_minute(arguments.get("until", ""), of_day="23:59"),
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the arguments of a URL for the same query, without those that are empty."""
        return {**self.filters(), **{name: value for name in ("after", "before") if (value := getattr(self, name))}}

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        names = ("client", "outcome", "secret", "address", "request_id")
        times = {name: f"{at:%Y-%m-%dT%H:%M}" for name in ("since", "until") if (at := getattr(self, name))}
        return {name: str(value) for name in names if (value := getattr(self, name))} | times

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same query for another page."""
        return replace(self, after=after, before=before)

    @property
    def is_reversed(self) -> bool:
        """Whether the range of time ends before it begins."""
        return self.since is not None and self.until is not None and self.since > self.until


def _matching(pattern: re.Pattern[str], text: str) -> str:
    """Return a text that matches a pattern; an empty one for any other."""
    return text if pattern.fullmatch(text) else ""
