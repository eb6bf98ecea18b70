"""The filters and the page of an audit log, as the URL carries them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from ..credentials import CLIENT_ID_MAX
from ..query_arguments import parse_day, searchable
from .actions import Action, Kind

ACTOR_ID_MAX = 200
ACTIONS = (
    Action.CREATED,
    Action.EDITED,
    Action.ENABLED,
    Action.DISABLED,
    Action.DELETED,
    Action.SECRET_CHANGED,
    Action.SECRET_ENDED,
    Action.SECRET_PAUSED,
    Action.SECRET_RESUMED,
    Action.END_DATE_SET,
    Action.CLIENT_KEY_ADDED,
    Action.CLIENT_KEY_ENDED,
    Action.CLIENT_KEY_PAUSED,
    Action.CLIENT_KEY_RESUMED,
    Action.CLIENT_KEY_END_DATE_SET,
    Action.NETWORKS_CHANGED,
    Action.REVIEWED,
    Action.TOKENS_REVOKED,
    Action.SECRET_TESTED,
    Action.NOTIFICATION_TARGET_ADDED,
    Action.NOTIFICATION_TARGET_CHANGED,
    Action.NOTIFICATION_TARGET_REMOVED,
    Action.WEBHOOK_SECRET_CHANGED,
    Action.REFUSED,
    Action.EXPORTED,
    Action.SETTINGS_CHANGED,
)
"""The actions in an account's audit log, in the order of the filter."""
KINDS: Mapping[str, tuple[Action, ...]] = {
    Kind.ROLES_CHANGED: (),
    Kind.SECRETS_CHANGED: (
        Action.SECRET_CHANGED,
        Action.SECRET_ENDED,
        Action.SECRET_PAUSED,
        Action.SECRET_RESUMED,
        Action.END_DATE_SET,
    ),
    Kind.KEYS_CHANGED: (
        Action.CLIENT_KEY_ADDED,
        Action.CLIENT_KEY_ENDED,
        Action.CLIENT_KEY_PAUSED,
        Action.CLIENT_KEY_RESUMED,
        Action.CLIENT_KEY_END_DATE_SET,
    ),
    Kind.STATUS_CHANGED: (Action.ENABLED, Action.DISABLED),
    Kind.CREATED_OR_DELETED: (Action.CREATED, Action.DELETED),
}
"""The actions of each kind of change."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """The filters and the page, as the URL carries them.

    :param person: the actor's id, or empty.
    :param client: part of a client's texts, as in the search of the list, or a whole former client ID; finds deleted
        clients too.
    :param action: one of `ACTIONS` or `KINDS`, or empty.
    :param since: the first day, in the time zone of the screens.
    :param until: the last day.
    :param after: the cursor of the newer event after which the page begins.
    :param before: the cursor of the older event before which the page ends.
    """

    person: str = ""
    client: str = ""
    action: str = ""
    since: date | None = None
    until: date | None = None
    after: str = ""
    before: str = ""

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, str]) -> Self:
        """Return the query for the arguments of a URL; an invalid value becomes the default (I4)."""
        action = arguments.get("action", "")
        return cls(
            person=searchable(arguments.get("person", ""), ACTOR_ID_MAX),
            client=searchable(arguments.get("client", "").strip(), CLIENT_ID_MAX),
            action=action if action in ACTIONS or action in KINDS else "",
            since=parse_day(arguments.get("since", "")),
            until=parse_day(arguments.get("until", "")),
            after=arguments.get("after", ""),
            before=arguments.get("before", ""),
        )

    def arguments(self) -> dict[str, str]:
        """Return the arguments of a URL for the same query, without those that are empty."""
        return {**self.filters(), **{name: value for name in ("after", "before") if (value := getattr(self, name))}}

    def filters(self) -> dict[str, str]:
        """Return the arguments without the page, as for an export."""
        names = ("person", "client", "action", "since", "until")
        return {name: str(value) for name in names if (value := getattr(self, name))}

    @property
    def is_reversed(self) -> bool:
        """Whether the range of days ends before it begins."""
        return self.since is not None and self.until is not None and self.since > self.until

    def with_cursor(self, *, after: str = "", before: str = "") -> Self:
        """Return the same query for another page."""
        return replace(self, after=after, before=before)
