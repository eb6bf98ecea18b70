"""What the address of a screen names: a client of the actor's account, and a secret of it."""

import uuid

from ...core.client_changes import get_client
from ...core.database.models import ClientSecret, IdentityClient
from ...core.database.unit_of_work import read_session
from ...core.errors import NotFound
from ...host import services
from .access import actor


def parse_key(text: str) -> uuid.UUID:
    """Return the client's key from a URL.

    A URL converter would fall through to the host's 404, which tells a malformed key from an absent one (A3).

    :raises NotFound: it is not a UUID in its usual form.
    """
    try:
        key = uuid.UUID(text)
    except ValueError:
        raise NotFound from None
    if str(key) != text:
        raise NotFound
    return key


def load_client(key: str) -> IdentityClient:
    """Return a client with its secrets.

    :raises NotFound: the actor's account has none such (A3).
    """
    with read_session(services().engine) as session:
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
