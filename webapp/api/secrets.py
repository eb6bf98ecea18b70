"""The secrets of a client: list, create, end, pause, resume, and set an end date."""

from typing import Literal

from flask import url_for
from pydantic import Field

from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..core.database.models import ClientSecret, IdentityClient
from ..core.errors import FieldError
from ..core.secrets.available_actions import SecretAction
from ..core.secrets.client_secrets import by_age, find_credential
from ..core.secrets.service import Overlap
from ..host import services
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
from .schemas import ChosenSecret, CreatedOutput, EndOfSecret, Input, Output

TAG = "Secrets"
_ROTATION_MEMBERS = frozenset({"client_secret", "ends_at", "overlap", "end_older", "revoke_tokens"})


class Secret(Credential):
    """A secret of a client, without its value, which is stored nowhere."""

    label: str = Field(description="A, B, C and so on, in the order of creation.")


class SecretList(Output):
    """The secrets of a client, the oldest first."""

    items: list[Secret]


class NewSecret(Input):
    """A secret to create."""

    client_secret: ChosenSecret | None = Field(default=None, description="Leave it out to have a secret generated.")
    ends_at: EndOfSecret = None
    overlap: Literal["now", "1h", "24h", "7d"] = Field(default="24h", description="When the current secret ends.")
    end_older: bool = Field(default=False, description="End the older one now, where two secrets have not ended.")
    revoke_tokens: bool = Field(default=False, description="Also revoke the tokens that were issued until now.")
    leaked: bool = Field(
        default=False,
        description="The secret has leaked: end every secret now, revoke all tokens, and generate a new secret. Send no"
        " other member.",
    )


class CreatedSecret(Secret, CreatedOutput):
    """A secret that was created."""


@operation(id="listSecrets", tag=TAG, scope=READ_CLIENTS, attempt="details", response=SecretList, headers=("ETag",))
def list_secrets(call: Call) -> Reply:
    """List the secrets of a client.

    At most two of them have not ended. The `ETag` is the client's.
    """
    client = client_in_path(call)
    items = [Secret(**members_of_credential(secret)) for secret in by_age(client.secrets)]
    return Reply(SecretList(items=items), version_header(client))


@operation(
    id="createSecret",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="secret",
    body=NewSecret,
    body_is_optional=True,
    response=CreatedSecret,
    status=201,
    needs_version=True,
    problems=(Problem.OWN_CLIENT, Problem.ROLE_NOT_HELD, Problem.TWO_SECRETS, Problem.INVALID_FIELDS),
    headers=("ETag", "Location"),
)
def create_secret(call: Call) -> Reply:
    """Create a secret.

    Rotates: the current secret ends after `overlap`, so that callers can move over. The generated secret is in
    this response only. You need every role of the client.
    """
    client_to_change(call)
    body: NewSecret = call.body
    author, service = call.caller.author, services().secrets
    if body.leaked:
        if others := sorted(_ROTATION_MEMBERS & body.model_fields_set):
            raise FieldError("leaked", f"With leaked, leave out {', '.join(others)}.")
        client, generated = service.replace_leaked(call.session, author=author, key=call.key, version=call.version)
        value: str | None = generated.reveal()
        added = by_age(client.secrets)[-1]
    else:
        value = service.generate().reveal() if body.client_secret is None else None
        client, added = service.change(
            call.session,
            author=author,
            key=call.key,
            version=call.version,
            secret=value or str(body.client_secret),
            ends_at=body.ends_at,
            overlap=Overlap(body.overlap),
            end_older=body.end_older,
            revoke_tokens=body.revoke_tokens,
        )
    call.session.flush()
    return Reply(
        CreatedSecret(**members_of_credential(added), client_secret=value),
        {**version_header(client), "Location": url_for(".secret", key=client.id, secret_id=added.id)},
    )


@operation(id="getSecret", tag=TAG, scope=READ_CLIENTS, attempt="details", response=Secret, headers=("ETag",))
def get_secret(call: Call) -> Reply:
    """Read a secret of a client, without its value.

    The `ETag` is the client's.
    """
    client = client_in_path(call)
    return Reply(Secret(**members_of_credential(_find_secret(client, call))), version_header(client))


@action_operation(SecretAction.END, operation_id="endSecret", tag=TAG, attempt="end_secret", response=Secret)
def end_secret(call: Call) -> Reply:
    """End a secret now.

    It never authenticates again. The only secret or key that works cannot be ended: create another one first. You need
    no role of the client.
    """
    return _apply(call, SecretAction.END)


@action_operation(SecretAction.PAUSE, operation_id="pauseSecret", tag=TAG, attempt="pause_secret", response=Secret)
def pause_secret(call: Call) -> Reply:
    """Pause a secret.

    It does not authenticate until it is resumed. The only secret or key that works cannot be paused. You need no role
    of the client.
    """
    return _apply(call, SecretAction.PAUSE)


@action_operation(SecretAction.RESUME, operation_id="resumeSecret", tag=TAG, attempt="resume_secret", response=Secret)
def resume_secret(call: Call) -> Reply:
    """Resume a paused secret.

    Its end date stays as it is. You need every role of the client.
    """
    return _apply(call, SecretAction.RESUME)


@action_operation(SecretAction.SET_END_DATE, operation_id="setEndDate", tag=TAG, attempt="end_date", response=Secret)
def set_end_date(call: Call) -> Reply:
    """Set or remove the end date of a secret.

    You need every role of the client.
    """
    return _apply(call, SecretAction.SET_END_DATE)


def _apply(call: Call, action: SecretAction) -> Reply:
    client, secret = apply_action(call, action, _find_secret)
    return Reply(Secret(**members_of_credential(secret)), version_header(client))


def _find_secret(client: IdentityClient, call: Call) -> ClientSecret:
    """Return the secret in the path.

    :raises NotFound: the client has no such secret.
    """
    return find_credential(client.secrets, call.path["secret_id"])
