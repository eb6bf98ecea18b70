"""The secrets of a client: list, create, end, pause, resume, and set an end date."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from flask import url_for
from pydantic import AwareDatetime, Field

from ..core.client_changes import get_client
from ..core.clients.roles import READ_CLIENTS, WRITE_CLIENTS
from ..core.database.models import ClientSecret, IdentityClient, SecretState, utc_now
from ..core.errors import FieldError, NotFound
from ..core.secrets.available_actions import SecretAction
from ..core.secrets.client_secrets import by_age
from ..core.secrets.lifecycle import apply_secret_action
from ..core.secrets.service import Overlap
from ..host import services
from .access import client_to_change
from .clients import version_header
from .operations import Call, Reply, operation
from .problems import Problem
from .schemas import ChosenSecret, CreatedOutput, Input, Output

TAG = "Secrets"
_ROTATION_MEMBERS = frozenset({"client_secret", "overlap", "end_older", "revoke_tokens"})


class Secret(Output):
    """A secret of a client, without its value, which is stored nowhere."""

    id: UUID
    label: str = Field(description="A, B, C and so on, in the order of creation.")
    state: str = Field(json_schema_extra={"enum": [str(state) for state in SecretState]})
    created_at: datetime
    created_by: str
    ends_at: datetime | None = Field(description="From this time on it does not authenticate; null: no end.")
    paused_at: datetime | None
    last_used_at: datetime | None = Field(description="Accurate to a minute.")
    last_used_address: str | None


class SecretList(Output):
    """The secrets of a client, the oldest first."""

    items: list[Secret]


class NewSecret(Input):
    """A secret to create."""

    client_secret: ChosenSecret | None = Field(default=None, description="Leave it out to have a secret generated.")
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


class Confirmation(Input):
    """The confirmation of a consequence."""

    confirmed: bool = Field(default=False, description="Whether you have read what the refusal before said.")


class EndDate(Confirmation):
    """The end date of a secret."""

    ends_at: AwareDatetime | None = Field(description="Within 365 days; null removes the end date.")


@operation(id="listSecrets", tag=TAG, scope=READ_CLIENTS, attempt="details", response=SecretList, headers=("ETag",))
def list_secrets(call: Call) -> Reply:
    """List the secrets of a client.

    At most two of them have not ended. The `ETag` is the client's.
    """
    client = get_client(call.session, account_id=call.account_id, key=call.key)
    items = [Secret(**_members_of(secret)) for secret in by_age(client.secrets)]
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
            overlap=Overlap(body.overlap),
            end_older=body.end_older,
            revoke_tokens=body.revoke_tokens,
        )
    call.session.flush()
    return Reply(
        CreatedSecret(**_members_of(added), client_secret=value),
        {**version_header(client), "Location": url_for(".secret", key=client.id, secret_id=added.id)},
    )


@operation(id="getSecret", tag=TAG, scope=READ_CLIENTS, attempt="details", response=Secret, headers=("ETag",))
def get_secret(call: Call) -> Reply:
    """Read a secret of a client, without its value.

    The `ETag` is the client's.
    """
    client = get_client(call.session, account_id=call.account_id, key=call.key)
    return Reply(Secret(**_members_of(_find_secret(client, call))), version_header(client))


_ACTION_PROBLEMS = (
    Problem.OWN_CLIENT,
    Problem.SECRET_ENDED,
    Problem.CONFIRMATION_REQUIRED,
    Problem.INVALID_FIELDS,
)


@operation(
    id="endSecret",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="end_secret",
    body=Confirmation,
    body_is_optional=True,
    response=Secret,
    needs_version=True,
    problems=(*_ACTION_PROBLEMS, Problem.LAST_SECRET),
    headers=("ETag",),
)
def end_secret(call: Call) -> Reply:
    """End a secret now.

    It never authenticates again. The only secret that works cannot be ended: create another one first. You need no
    role of the client.
    """
    client = client_to_change(call, only_takes_away=True)
    return _apply(call, client, SecretAction.END)


@operation(
    id="pauseSecret",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="pause_secret",
    body=Confirmation,
    body_is_optional=True,
    response=Secret,
    needs_version=True,
    problems=(*_ACTION_PROBLEMS, Problem.LAST_SECRET),
    headers=("ETag",),
)
def pause_secret(call: Call) -> Reply:
    """Pause a secret.

    It does not authenticate until it is resumed. The only secret that works cannot be paused. You need no role of the
    client.
    """
    client = client_to_change(call, only_takes_away=True)
    return _apply(call, client, SecretAction.PAUSE)


@operation(
    id="resumeSecret",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="resume_secret",
    response=Secret,
    needs_version=True,
    problems=(*_ACTION_PROBLEMS, Problem.ROLE_NOT_HELD),
    headers=("ETag",),
)
def resume_secret(call: Call) -> Reply:
    """Resume a paused secret.

    Its end date stays as it is. You need every role of the client.
    """
    client = client_to_change(call)
    return _apply(call, client, SecretAction.RESUME)


@operation(
    id="setEndDate",
    tag=TAG,
    scope=WRITE_CLIENTS,
    attempt="end_date",
    body=EndDate,
    response=Secret,
    needs_version=True,
    problems=(*_ACTION_PROBLEMS, Problem.ROLE_NOT_HELD),
    headers=("ETag",),
)
def set_end_date(call: Call) -> Reply:
    """Set or remove the end date of a secret.

    You need every role of the client.
    """
    client = client_to_change(call)
    return _apply(call, client, SecretAction.SET_END_DATE, ends_at=call.body.ends_at)


def _apply(call: Call, client: IdentityClient, action: SecretAction, *, ends_at: datetime | None = None) -> Reply:
    secret = _find_secret(client, call)  # core takes the ID of a key as well
    client = apply_secret_action(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        secret_id=secret.id,
        action=action,
        ends_at=ends_at,
        confirmed=call.body is not None and call.body.confirmed,
    )
    call.session.flush()
    return Reply(Secret(**_members_of(_find_secret(client, call))), version_header(client))


def _find_secret(client: IdentityClient, call: Call) -> ClientSecret:
    """Return the secret in the path.

    :raises NotFound: the client has no such secret.
    """
    for secret in client.secrets:
        if secret.id == call.path["secret_id"]:
            return secret
    raise NotFound


def _members_of(secret: ClientSecret) -> dict[str, Any]:
    return {
        "id": secret.id,
        "label": secret.label,
        "state": str(secret.state_at(utc_now())),
        "created_at": secret.created_at,
        "created_by": secret.created_by,
        "ends_at": secret.ends_at,
        "paused_at": secret.paused_at,
        "last_used_at": secret.last_used_at,
        "last_used_address": secret.last_used_address,
    }
