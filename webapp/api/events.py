"""The audit events of the account and of one client (L1)."""

import uuid
from datetime import UTC, datetime
from typing import Any

from pydantic import Field

from ..core.audit.pages import list_events as find_events
from ..core.audit.query import ACTIONS, ACTOR_ID_MAX, AuditQuery
from ..core.client_changes import get_client_or_deleted
from ..core.clients.roles import READ_CLIENTS
from ..core.credentials import CLIENT_ID_MAX
from ..core.database.models import AuditEvent
from .operations import Call, Reply, operation
from .paging import PageArguments, check_cursors, link_header
from .problems import Problem
from .schemas import TEXT_PATTERN, Output, choice
from .times import Day, check_years

TAG = "Events"
_CURSOR_PARTS = 2


class EventArguments(PageArguments):
    """The filters of the list."""

    actor_id: str = Field(
        default="", max_length=ACTOR_ID_MAX, pattern=TEXT_PATTERN, description="Only events of this actor."
    )
    action: str = choice(ACTIONS, "Only events with this action.")
    since: Day | None = Field(default=None, description="The first day (UTC).")
    until: Day | None = Field(default=None, description="The last day (UTC).")


class AccountEventArguments(EventArguments):
    """The filters of the list of the account."""

    client: str = Field(
        default="",
        max_length=CLIENT_ID_MAX,
        pattern=TEXT_PATTERN,
        description="Only events of clients with this in a present or former client ID, deleted ones too.",
    )


class Event(Output):
    """An audit event."""

    id: uuid.UUID
    at: datetime
    actor_id: str = Field(description="A person's ID in the portal; of a client `client:` and its `id`.")
    actor: str = Field(description="A person's name or e-mail address, or the client ID of a client.")
    action: str
    client: uuid.UUID | None = Field(description="The `id` of the client that it concerns; null: the whole account.")
    client_id: str | None = Field(description="The client ID at that time.")
    changes: dict[str, Any] = Field(description="Per field a list of the value before and the value after.")
    address: str | None
    request_id: str | None


class EventList(Output):
    """A page of audit events, newest first."""

    items: list[Event]


@operation(
    id="listEvents",
    tag=TAG,
    scope=READ_CLIENTS,
    attempt="activity",
    query=AccountEventArguments,
    response=EventList,
    problems=(Problem.INVALID_FIELDS,),
    headers=("Link",),
)
def list_events(call: Call) -> Reply:
    """List the audit events of your account.

    Newest first. Follow the `next` link of the `Link` header for older ones.
    """
    return _list(call, None)


@operation(
    id="listEventsOfClient",
    tag=TAG,
    scope=READ_CLIENTS,
    attempt="client_activity",
    query=EventArguments,
    response=EventList,
    problems=(Problem.INVALID_FIELDS,),
    headers=("Link",),
)
def list_events_of_client(call: Call) -> Reply:
    """List the audit events of a client.

    The client may be deleted. Newest first.
    """
    return _list(call, get_client_or_deleted(call.session, account_id=call.account_id, key=call.key).id)


def _list(call: Call, key: uuid.UUID | None) -> Reply:
    arguments: EventArguments = call.arguments
    check_cursors(arguments, lambda _parts: True, _CURSOR_PARTS)
    check_years(since=arguments.since, until=arguments.until)
    query = AuditQuery(
        person=arguments.actor_id,
        client=arguments.client.strip() if isinstance(arguments, AccountEventArguments) else "",
        action=arguments.action,
        since=arguments.since,
        until=arguments.until,
        after=arguments.after,
        before=arguments.before,
    )
    page = find_events(call.session, account_id=call.account_id, query=query, zone=UTC, key=key)
    if arguments.after and page.previous_cursor is None:
        return Reply(EventList(items=[]), link_header(next_cursor=None, previous_cursor=None))
    return Reply(
        EventList(items=[_to_schema(event) for event in page.events]),
        link_header(next_cursor=page.next_cursor, previous_cursor=page.previous_cursor),
    )


def _to_schema(event: AuditEvent) -> Event:
    return Event(
        id=event.id,
        at=event.at,
        actor_id=event.actor_id,
        actor=event.actor_label,
        action=event.action,
        client=event.client_key,
        client_id=event.client_id,
        changes=event.changes,
        address=event.address,
        request_id=event.request_id,
    )
