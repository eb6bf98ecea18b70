"""Clients: list, create, read, update, delete, enable, disable, and revoke tokens."""

from flask import url_for

from ..core.client_changes import get_client, revoke_tokens
from ..core.clients import attention
from ..core.clients.delete import delete_client
from ..core.clients.enable import set_enabled
from ..core.clients.listing import ListQuery
from ..core.clients.listing import list_clients as find_clients
from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..core.clients.validation import ClientValues
from ..core.database.models import IdentityClient
from ..core.errors import FieldError
from ..host import services
from .access import check_roles_to_grant, client_to_change
from .client_schemas import Client, ClientList, ClientPatch, CreatedClient, ListArguments, NewClient, members_of
from .operations import Call, Reply, operation
from .paging import check_cursors, link_header
from .problems import Problem
from .requests import argument_error
from .responses import version_header
from .schemas import to_text

TAG = "Clients"


@operation(
    id="listClients",
    tag=TAG,
    scope=READ_CLIENTS,
    attempt="list",
    query=ListArguments,
    response=ClientList,
    problems=(Problem.INVALID_FIELDS,),
    headers=("Link",),
)
def list_clients(call: Call) -> Reply:
    """List clients.

    A page of the clients of your account. Follow the `next` link of the `Link` header for the next one.
    """
    arguments: ListArguments = call.arguments
    query = ListQuery.from_arguments(arguments.model_dump(), services().catalogue)
    if arguments.role and not query.role:
        raise argument_error("role", "There is no such API role.")
    check_cursors(arguments, lambda parts: parts[0] == query.sort, 3)
    page = find_clients(call.session, account_id=call.account_id, query=query)
    if page.needs_longer_search:
        raise argument_error("q", "Your account has many clients: search for 3 characters or more.")
    if arguments.after and page.previous_cursor is None:
        return Reply(ClientList(items=[]), link_header(next_cursor=None, previous_cursor=None))
    reasons = attention.reasons(call.session, call.account_id, page.clients)
    return Reply(
        ClientList(items=[Client(**members_of(client, reasons.get(client.id, ()))) for client in page.clients]),
        link_header(next_cursor=page.next_cursor, previous_cursor=page.previous_cursor),
    )


@operation(
    id="createClient",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="new",
    body=NewClient,
    response=CreatedClient,
    status=201,
    problems=(Problem.ROLE_NOT_HELD, Problem.INVALID_FIELDS),
    headers=("ETag", "Location"),
)
def create_client(call: Call) -> Reply:
    """Create a client.

    The client is enabled. Without `client_secret` a secret is generated, which is in this response only; with
    `public_key` the client has no secret.
    You can grant only roles that you hold yourself.
    """
    body: NewClient = call.body
    check_roles_to_grant(call, body.roles)
    if body.client_secret is not None and body.public_key is not None:
        raise FieldError("public_key", "Send either client_secret or public_key.")
    chosen = body.client_secret is not None or body.public_key is not None
    generated = None if chosen else services().secrets.generate()
    client = services().clients.create(
        call.session,
        author=call.caller.author,
        values=ClientValues(
            client_id=body.client_id,
            name=body.name,
            description=body.description,
            token_duration=str(body.token_duration_minutes),
            roles=frozenset(body.roles),
            owner=body.owner,
            tags=tuple(body.tags),
        ),
        secret=generated.reveal() if generated else body.client_secret,
        public_key=None if body.public_key is None else to_text(body.public_key),
        ends_at=body.ends_at,
        creation_key=None,
    )
    created = CreatedClient(**members_of(client), client_secret=generated.reveal() if generated else None)
    return Reply(created, {**version_header(client), "Location": url_for(".client", key=client.id)})


@operation(id="getClient", tag=TAG, scope=READ_CLIENTS, attempt="details", response=Client, headers=("ETag",))
def get_one_client(call: Call) -> Reply:
    """Read a client.

    Its `ETag` is the version that a change sends in `If-Match`. Uses and reasons for attention change without it.
    """
    return _reply_with(call, get_client(call.session, account_id=call.account_id, key=call.key))


@operation(
    id="updateClient",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="edit",
    body=ClientPatch,
    response=Client,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.INVALID_FIELDS),
    headers=("ETag",),
)
def update_client(call: Call) -> Reply:
    """Update a client.

    A JSON merge patch: members that are left out stay as they are. Where nothing differs, nothing is written, and the
    version stays. You need every role of the client, before and after.
    """
    client = client_to_change(call)
    given = call.body.model_dump(exclude_unset=True)
    check_roles_to_grant(call, given.get("roles", ()))
    values = ClientValues(
        client_id=given.get("client_id", client.client_id),
        name=given.get("name", client.name) or "",
        description=given.get("description", client.description) or "",
        token_duration=str(given.get("token_duration_minutes", client.token_duration_minutes)),
        roles=frozenset(given.get("roles", client.roles)),
        owner=given.get("owner", client.owner) or "",
        tags=tuple(given.get("tags", client.tags) or ()),
    )
    client = services().clients.edit(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        values=values,
        enabled=given.get("enabled", client.enabled),
    )
    return _reply_with(call, client)


@operation(
    id="deleteClient",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="delete",
    status=204,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.INVALID_FIELDS),
)
def delete_one_client(call: Call) -> Reply:
    """Delete a client.

    Its secrets end and its tokens become inactive. Its client ID stays taken, and its events stay.
    """
    client = client_to_change(call)
    delete_client(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        typed_client_id=client.client_id,
    )
    return Reply(None)


@operation(
    id="enableClient",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="enable",
    response=Client,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.INVALID_FIELDS),
    headers=("ETag",),
)
def enable_client(call: Call) -> Reply:
    """Enable a client.

    Where it is enabled already, nothing is written.
    """
    client_to_change(call)
    return _set_enabled(call, enabled=True)


@operation(
    id="disableClient",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="disable",
    response=Client,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.INVALID_FIELDS),
    headers=("ETag",),
)
def disable_client(call: Call) -> Reply:
    """Disable a client.

    It gets no tokens, and those that it has are inactive as long as it is disabled. You need none of its roles.
    """
    client_to_change(call, only_takes_away=True)
    return _set_enabled(call, enabled=False)


@operation(
    id="revokeTokens",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="revoke_tokens",
    status=204,
    problems=(Problem.OWN_CLIENT, Problem.INVALID_FIELDS),
)
def revoke_all_tokens(call: Call) -> Reply:
    """Revoke the tokens of a client.

    Every token that was issued to it until now becomes inactive. It can request new ones. The version stays, so no
    `If-Match` is needed, and you need none of its roles.
    """
    client_to_change(call, only_takes_away=True)
    revoke_tokens(call.session, author=call.caller.author, key=call.key)
    return Reply(None)


def _reply_with(call: Call, client: IdentityClient) -> Reply:
    """Return the reply with a client and its version."""
    call.session.flush()
    reasons = attention.reasons(call.session, call.account_id, [client])
    return Reply(Client(**members_of(client, reasons.get(client.id, ()))), version_header(client))


def _set_enabled(call: Call, *, enabled: bool) -> Reply:
    client = set_enabled(call.session, author=call.caller.author, key=call.key, version=call.version, enabled=enabled)
    return _reply_with(call, client)
