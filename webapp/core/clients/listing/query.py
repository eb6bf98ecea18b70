"""The query of the list: search, filters, order and page, as the URL carries them."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Self

from ...database.models import OWNER_MAX, TAG_MAX
from ...query_arguments import searchable
from ..attention import FILTERS
from ..roles import RoleCatalogue
from .order import DEFAULT_SORT, SORTS, TIMES

SEARCH_MAX = 200
MOVES_MONEY = "*money"
"""The value of the filter by role for any role that moves money; it is no role's key."""
STATUSES = ("enabled", "disabled")


@dataclass(frozen=True, slots=True)
class ListQuery:
    """The search, filters, order and page of the list, as in the query string.

    :param q: a part of the client ID, the name, the description, the owner or a tag, in any letter case.
    :param status: `enabled`, `disabled`, or empty for both.
    :param role: the key of an API role that the clients must have, `MOVES_MONEY`, or empty.
    :param roles: the API roles that `role` stands for, one of which the clients must have.
    :param tag: a tag that the clients must have, or empty.
    :param owner: the owner whose clients they must be, in any letter case, or empty.
    :param attention: one of `attention.FILTERS`, or empty.
    :param sort: one of `SORTS`; a minus sign reverses the order.
    :param after: the cursor of the row that the page follows.
    :param before: the cursor of the row that the page precedes.
    """

    q: str = ""
    status: str = ""
    role: str = ""
    roles: tuple[str, ...] = ()
    tag: str = ""
    owner: str = ""
    attention: str = ""
    sort: str = DEFAULT_SORT
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str], catalogue: RoleCatalogue) -> Self:
        """Return the query of a query string; an invalid value becomes the default (I4)."""
        status, role, attention, sort = (arguments.get(name, "") for name in ("status", "role", "attention", "sort"))
        roles = _roles(role, catalogue)
        return cls(
            q=_text(arguments, "q", SEARCH_MAX),
            status=status if status in STATUSES else "",
            role=role if roles else "",
            roles=roles,
            tag=_text(arguments, "tag", TAG_MAX).lower(),
            owner=_text(arguments, "owner", OWNER_MAX),
            attention=attention if attention in FILTERS else "",
            sort=sort if sort in SORTS else DEFAULT_SORT,
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the query string arguments of this query, without defaults."""
        return {
            field.name: value
            for field in fields(self)
            if field.name != "roles"
            if (value := getattr(self, field.name)) and (field.name, value) != ("sort", DEFAULT_SORT)
        }

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        return replace(self, after="", before="").arguments()

    def sorted_by(self, name: str) -> Self:
        """Return the first page of the same search sorted by a column, reversed if it is sorted by it already.

        Text is sorted from A first, times from the newest.
        """
        first, second = (f"-{name}", name) if name in TIMES else (name, f"-{name}")
        return replace(self, sort=second if self.sort == first else first, after="", before="")

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same search at another page, by the cursor that it follows or precedes."""
        return replace(self, after=after, before=before)


def _roles(role: str, catalogue: RoleCatalogue) -> tuple[str, ...]:
    if role == MOVES_MONEY:
        return tuple(sorted(catalogue.money_roles))
    return (role,) if role in catalogue else ()


def _text(arguments: Mapping[str, str], name: str, length_max: int) -> str:
    return searchable(unicodedata.normalize("NFC", arguments.get(name, "").strip()), length_max)
