"""Resource servers: the APIs that may introspect every token (T10)."""

import secrets

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import record_platform_event
from ..clients.validation import check_name
from ..database.errors import violated_constraint
from ..database.models import ClaimedClientId, ResourceServer, utc_now
from ..errors import FieldError, NotFound
from ..secrets.generation import Secret
from ..secrets.hashing import SecretHasher

ID_PREFIX = "rs_"
_ID_RANDOM_BYTES = 16


def add_resource_server(
    session: Session, *, actor: str, name: str, secret: Secret, hasher: SecretHasher
) -> ResourceServer:
    """Add a resource server with a new ID, which no client can ever have, and return it.

    :param actor: who gave the command, for the audit log.
    :raises FieldError: the name is not 3-100 characters, or another resource server has it.
    """
    name = check_name(name)
    if not name:
        raise FieldError("name", "Give the resource server a name of 3 to 100 characters.")
    stored = hasher.hash(secret)
    server = ResourceServer(
        resource_server_id=ID_PREFIX + secrets.token_urlsafe(_ID_RANDOM_BYTES),
        name=name,
        secret_hash=stored.value,
        pepper_version=stored.pepper_version,
        created_at=utc_now(),
    )
    try:
        with session.begin_nested():
            session.add(server)
            session.add(ClaimedClientId(client_id_folded=server.resource_server_id.casefold(), client_key=None))
    except IntegrityError as error:
        if violated_constraint(error) != "uq_identity_client_resource_servers_name":
            raise
        raise FieldError("name", f"There is a resource server {name} already. Choose another name.") from None
    changes = {"name": [None, name], "resource_server_id": [None, server.resource_server_id]}
    record_platform_event(session, actor, Action.RESOURCE_SERVER_ADDED, changes)
    return server


def list_resource_servers(session: Session) -> list[ResourceServer]:
    """Return all resource servers, ordered by name."""
    return list(session.scalars(select(ResourceServer).order_by(ResourceServer.name)))


def remove_resource_server(session: Session, *, actor: str, name: str) -> None:
    """Remove a resource server, with effect on its next request; its ID stays reserved.

    :param actor: who gave the command, for the audit log.
    :raises NotFound: there is no resource server with this name.
    """
    server = session.scalar(select(ResourceServer).where(ResourceServer.name == name))
    if server is None:
        raise NotFound
    changes = {"name": [name, None], "resource_server_id": [server.resource_server_id, None]}
    session.delete(server)
    record_platform_event(session, actor, Action.RESOURCE_SERVER_REMOVED, changes)
