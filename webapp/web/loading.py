"""What the address of a screen names: a client of the actor's account, and a secret of it."""

from ..core.changes import get_client
from ..core.database import reading
from ..core.errors import NotFound
from ..core.models import ClientSecret, IdentityClient
from ..host import services
from .guard import actor
from .list import parse_key


def load_client(key: str) -> IdentityClient:
    """Return a client with its secrets.

    :raises NotFound: the actor's account has none such (A3).
    """
    with reading(services().engine) as session:
        return get_client(session, account_id=actor().account_id, key=parse_key(key))


def find_secret(client: IdentityClient, secret_id: str) -> ClientSecret:
    """Return a secret of a client.

    :raises NotFound: it has none such, whether or not another one has.
    """
    wanted = parse_key(secret_id)
    for secret in client.secrets:
        if secret.id == wanted:
            return secret
    raise NotFound
