"""The networks from which a client may call (A8)."""

from pydantic import Field

from ..core.client_changes import get_client
from ..core.clients.allowed_networks import LABEL_MAX, NETWORKS_MAX, set_networks
from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..core.database.models import IdentityClient
from .access import client_to_change
from .operations import Call, Reply, operation
from .problems import Problem
from .responses import version_header
from .schemas import TEXT_PATTERN, Input, Output, documented

TAG = "Networks"


class Network(Output):
    """An address or network, in canonical form."""

    network: str = Field(description="In CIDR notation, or a single address.")
    label: str


class Networks(Output):
    """The networks from which a client may call; none allows every address."""

    networks: list[Network]


class NewNetwork(Input):
    """An address, or a network in CIDR notation."""

    network: str = Field(pattern="^[!-~]{1,100}$", json_schema_extra={"examples": ["203.0.113.0/28"]})
    label: str = Field(default="", pattern=TEXT_PATTERN, json_schema_extra={"maxLength": LABEL_MAX})


class NewNetworks(Input):
    """The networks that replace the current ones."""

    networks: list[NewNetwork] = documented(maxItems=NETWORKS_MAX)
    confirmed: list[str] = Field(
        default=[], description="The values in `to_confirm` of the refusal before, whose consequences you accept."
    )


@operation(id="getNetworks", tag=TAG, scope=READ_CLIENTS, attempt="details", response=Networks, headers=("ETag",))
def get_networks(call: Call) -> Reply:
    """Read the allowed networks of a client.

    The `ETag` is the client's.
    """
    return _reply(get_client(call.session, account_id=call.account_id, key=call.key))


@operation(
    id="setNetworks",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="networks",
    body=NewNetworks,
    response=Networks,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.CONFIRMATION_REQUIRED, Problem.INVALID_FIELDS),
    headers=("ETag",),
)
def put_networks(call: Call) -> Reply:
    """Set the allowed networks of a client.

    Replaces the whole list; an empty one allows every address. If addresses that called within 7 days would be
    refused, or a restricted client could call from anywhere, the first request is refused with what to confirm. You
    need every role of the client.
    """
    client_to_change(call)
    body: NewNetworks = call.body
    client = set_networks(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        text="\n".join(f"{one.network} {one.label}" for one in body.networks),
        confirmed=body.confirmed,
    )
    call.session.flush()
    return _reply(client)


def _reply(client: IdentityClient) -> Reply:
    networks = [Network(network=one.network, label=one.label) for one in client.allowed_networks]
    return Reply(Networks(networks=networks), version_header(client))
