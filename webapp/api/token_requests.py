"""The token requests of a client (L2)."""

from datetime import datetime

from pydantic import Field

from ..core.client_changes import get_client
from ..core.clients.roles import READ_CLIENTS
from ..core.database.models import TokenRequest as StoredRequest
from ..core.usage.queries import recent_requests
from .operations import Call, Reply, operation
from .schemas import Output

TAG = "Token requests"


class TokenRequest(Output):
    """A token request, issued or refused."""

    at: datetime
    outcome: str = Field(description="`issued`, or the reason of the refusal, of which the caller is not told.")
    secret: str | None = Field(description="The label of the secret that matched.")
    address: str | None
    scope: str = Field(description="The requested scope; scopes that the platform does not know are `other`.")
    request_id: str | None


class TokenRequestList(Output):
    """Token requests, newest first."""

    items: list[TokenRequest]


@operation(id="listTokenRequestsOfClient", tag=TAG, scope=READ_CLIENTS, attempt="requests", response=TokenRequestList)
def list_of_client(call: Call) -> Reply:
    """List the latest token requests of a client.

    At most 200, newest first, with the true reason of each refusal.
    """
    client = get_client(call.session, account_id=call.account_id, key=call.key)
    found = recent_requests(call.session, call.account_id, client.id)
    return Reply(TokenRequestList(items=[_to_schema(one) for one in found]))


def _to_schema(one: StoredRequest) -> TokenRequest:
    return TokenRequest(
        at=one.at,
        outcome=one.outcome,
        secret=one.secret_label,
        address=one.address,
        scope=one.scope,
        request_id=one.request_id,
    )
