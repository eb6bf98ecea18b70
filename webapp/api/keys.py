"""The public keys of a client, for `private_key_jwt`: list, add, end, pause, resume, and set an end date (S11)."""

from typing import Any

from flask import url_for
from pydantic import Field

from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..core.database.models import ClientKey, IdentityClient
from ..core.secrets import keys
from ..core.secrets.available_actions import SecretAction
from ..core.secrets.client_secrets import by_age, find_credential
from ..core.secrets.public_keys import EDDSA, ES256, PS256
from .access import client_to_change
from .credentials import (
    Credential,
    action_operation,
    apply_action,
    client_in_path,
    members_of_credential,
)
from .operations import Call, Reply, operation
from .problems import Problem
from .responses import version_header
from .schemas import PUBLIC_KEY_FORMS, Input, Output, PublicKey, to_text

TAG = "Keys"


class Key(Credential):
    """A public key of a client."""

    label: str = Field(description="1, 2, 3 and so on, in the order of creation.")
    thumbprint: str = Field(description="The SHA-256 thumbprint (RFC 7638), in base64url.")
    algorithm: str = Field(
        description="The only `alg` of its assertions; Ed25519 is another name of EdDSA.",
        json_schema_extra={"enum": [ES256, EDDSA, PS256]},
    )


class KeyList(Output):
    """The keys of a client, the oldest first."""

    items: list[Key]


class NewKey(Input):
    """A public key to add."""

    public_key: PublicKey = Field(description=PUBLIC_KEY_FORMS)


@operation(id="listKeys", tag=TAG, scope=READ_CLIENTS, attempt="details", response=KeyList, headers=("ETag",))
def list_keys(call: Call) -> Reply:
    """List the public keys of a client.

    At most five of them have not ended. The `ETag` is the client's.
    """
    client = client_in_path(call)
    return Reply(KeyList(items=[Key(**_members_of(key)) for key in by_age(client.keys)]), version_header(client))


@operation(
    id="addKey",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="add_key",
    body=NewKey,
    response=Key,
    status=201,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.TOO_MANY_KEYS, Problem.INVALID_FIELDS),
    headers=("ETag", "Location"),
)
def add_key(call: Call) -> Reply:
    """Add a public key.

    The client can authenticate with it from now on. Its secrets and other keys stay as they are: end them when its
    callers have moved. You need every role of the client.
    """
    client_to_change(call)
    client, added = keys.add_key(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        public_key=to_text(call.body.public_key),
    )
    call.session.flush()
    return Reply(
        Key(**_members_of(added)),
        {**version_header(client), "Location": url_for(".key", key=client.id, key_id=added.id)},
    )


@operation(id="getKey", tag=TAG, scope=READ_CLIENTS, attempt="details", response=Key, headers=("ETag",))
def get_key(call: Call) -> Reply:
    """Read a public key of a client.

    The `ETag` is the client's.
    """
    client = client_in_path(call)
    return Reply(Key(**_members_of(_find_key(client, call))), version_header(client))


@action_operation(SecretAction.END, operation_id="endKey", tag=TAG, attempt="end_key", response=Key)
def end_key(call: Call) -> Reply:
    """End a key now.

    It never authenticates again. The only secret or key that works cannot be ended: add another one first. You need no
    role of the client.
    """
    return _apply(call, SecretAction.END)


@action_operation(SecretAction.PAUSE, operation_id="pauseKey", tag=TAG, attempt="pause_key", response=Key)
def pause_key(call: Call) -> Reply:
    """Pause a key.

    It does not authenticate until it is resumed. The only secret or key that works cannot be paused. You need no role
    of the client.
    """
    return _apply(call, SecretAction.PAUSE)


@action_operation(SecretAction.RESUME, operation_id="resumeKey", tag=TAG, attempt="resume_key", response=Key)
def resume_key(call: Call) -> Reply:
    """Resume a paused key.

    Its end date stays as it is. You need every role of the client.
    """
    return _apply(call, SecretAction.RESUME)


@action_operation(
    SecretAction.SET_END_DATE, operation_id="setKeyEndDate", tag=TAG, attempt="key_end_date", response=Key
)
def set_key_end_date(call: Call) -> Reply:
    """Set or remove the end date of a key.

    You need every role of the client.
    """
    return _apply(call, SecretAction.SET_END_DATE)


def _apply(call: Call, action: SecretAction) -> Reply:
    client, key = apply_action(call, action, _find_key)
    return Reply(Key(**_members_of(key)), version_header(client))


def _find_key(client: IdentityClient, call: Call) -> ClientKey:
    """Return the key in the path.

    :raises NotFound: the client has no such key.
    """
    return find_credential(client.keys, call.path["key_id"])


def _members_of(key: ClientKey) -> dict[str, Any]:
    return {**members_of_credential(key), "thumbprint": key.thumbprint, "algorithm": key.algorithm}
