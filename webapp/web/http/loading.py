"""Load the client that a URL names, and the roles that its tokens may have."""

from ...core.account_settings import is_management_api_enabled
from ...core.client_changes import get_client
from ...core.clients.roles import ApiRole
from ...core.database.models import IdentityClient
from ...core.database.unit_of_work import read_session
from ...host import services
from ...http_request import parse_key
from .access import actor


def load_client(key: str) -> IdentityClient:
    """Return a client of the actor's account with its secrets and keys.

    :raises NotFound: the account has no such client (A3).
    """
    with read_session(services().engine) as session:
        return get_client(session, account_id=actor().account_id, key=parse_key(key))


def effective_roles(client: IdentityClient) -> list[ApiRole]:
    """Return the roles whose scopes a token of a client of the actor's account may have at this moment."""
    catalogue, grantable = services().catalogue, actor().grantable_roles
    roles = catalogue.effective(client.roles, grantable)
    if any(role.manages_clients for role in roles):
        with read_session(services().engine) as session:
            is_allowed = is_management_api_enabled(session, client.account_id)
        return catalogue.effective(client.roles, grantable, management_api=is_allowed)
    return roles
