"""The token requests of the account and of one client (L2)."""

from datetime import UTC, datetime
from uuid import UUID

from pydantic import Field

from ..core.addresses import canonical_address
from ..core.client_changes import get_client_or_deleted
from ..core.clients.roles import READ_CLIENTS
from ..core.credentials import CLIENT_ID_MAX
from ..core.database.models import IdentityClient
from ..core.database.models import TokenRequest as StoredRequest
from ..core.database.outcomes import Outcome
from ..core.usage.request_log import REASONS, REFUSED, RequestQuery, clients_of, find_client, list_requests
from .operations import Call, Reply, operation
from .paging import PageArguments, check_cursors, link_header
from .problems import Problem
from .requests import argument_error
from .schemas import TEXT_PATTERN, Output, choice
from .times import Moment, check_years

TAG = "Token requests"
_CURSOR_PARTS = 2


class RequestArguments(PageArguments):
    """The filters of the list."""

    outcome: str = choice(
        (Outcome.ISSUED, REFUSED, *REASONS), "Only requests with this outcome; `refused` for any but `issued`."
    )
    secret: str = Field(
        default="", pattern="^([A-Z]{1,8}|[0-9]{1,8})?$", description="Only with this secret or key, by its label."
    )
    address: str = Field(default="", max_length=64, description="Only from this IP address.")
    request_id: str = Field(
        default="", pattern="^[A-Za-z0-9-]{0,64}$", description="Only the HTTP request with this ID."
    )
    since: Moment | None = Field(default=None, description="The first minute.")
    until: Moment | None = Field(default=None, description="The last minute.")


class AccountRequestArguments(RequestArguments):
    """The filters of the list of the account."""

    client_id: str = Field(
        default="",
        max_length=CLIENT_ID_MAX,
        pattern=TEXT_PATTERN,
        description="Only of the client with this present or former client ID.",
    )


class TokenRequest(Output):
    """A token request, issued or refused."""

    at: datetime
    client: UUID = Field(description="The `id` of the client.")
    client_id: str = Field(description="The present client ID of the client.")
    outcome: str = Field(description="`issued`, or the true reason of the refusal, which the caller is not told.")
    secret: str | None = Field(description="The label of the secret or key with which the client authenticated.")
    address: str | None
    scope: str = Field(description="The requested scope; scopes that the platform does not know are `other`.")
    request_id: str | None


class TokenRequestList(Output):
    """A page of token requests, newest first."""

    items: list[TokenRequest]


@operation(
    id="listTokenRequests",
    tag=TAG,
    scope=READ_CLIENTS,
    attempt="account_requests",
    query=AccountRequestArguments,
    response=TokenRequestList,
    problems=(Problem.INVALID_FIELDS,),
    headers=("Link",),
)
def list_token_requests(call: Call) -> Reply:
    """List the token requests of your account.

    Newest first, with the true reason of each refusal. Follow the `next` link of the `Link` header for older ones: a
    page may be empty and still have one, where a rare match is searched for step by step.
    """
    client_id: str = call.arguments.client_id.strip()
    client = find_client(call.session, account_id=call.account_id, client_id=client_id) if client_id else None
    if client_id and client is None:
        return Reply(TokenRequestList(items=[]), link_header(next_cursor=None, previous_cursor=None))
    return _list(call, client)


@operation(
    id="listTokenRequestsOfClient",
    tag=TAG,
    scope=READ_CLIENTS,
    attempt="requests",
    query=RequestArguments,
    response=TokenRequestList,
    problems=(Problem.INVALID_FIELDS,),
    headers=("Link",),
)
def list_token_requests_of_client(call: Call) -> Reply:
    """List the token requests of a client.

    The client may be deleted. Newest first, with the true reason of each refusal.
    """
    return _list(call, get_client_or_deleted(call.session, account_id=call.account_id, key=call.key))


def _list(call: Call, client: IdentityClient | None) -> Reply:
    arguments: RequestArguments = call.arguments
    check_cursors(arguments, lambda _parts: True, _CURSOR_PARTS)
    check_years(since=arguments.since, until=arguments.until)
    address = canonical_address(arguments.address.strip()) if arguments.address else ""
    if address is None:
        raise argument_error("address", "Send one IPv4 or IPv6 address.")
    query = RequestQuery(
        outcome=arguments.outcome,
        secret=arguments.secret,
        address=address,
        request_id=arguments.request_id,
        since=_minute(arguments.since),
        until=_minute(arguments.until),
        after=arguments.after,
        before=arguments.before,
    )
    page = list_requests(call.session, account_id=call.account_id, query=query, zone=UTC, client=client)
    if arguments.after and page.previous_cursor is None:
        return Reply(TokenRequestList(items=[]), link_header(next_cursor=None, previous_cursor=None))
    clients = clients_of(call.session, call.account_id, page.requests)
    return Reply(
        TokenRequestList(items=[_to_schema(one, clients[one.client_key]) for one in page.requests]),
        link_header(next_cursor=page.next_cursor, previous_cursor=page.previous_cursor),
    )


def _minute(at: datetime | None) -> datetime | None:
    """Return the minute of a time, naive and in UTC, as core takes it."""
    return at and at.astimezone(UTC).replace(second=0, microsecond=0, tzinfo=None)


def _to_schema(one: StoredRequest, client: IdentityClient) -> TokenRequest:
    return TokenRequest(
        at=one.at,
        client=one.client_key,
        client_id=client.client_id,
        outcome=one.outcome,
        secret=one.secret_label,
        address=one.address,
        scope=one.scope,
        request_id=one.request_id,
    )
