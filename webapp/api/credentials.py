"""What the secrets and the keys of a client have in common: their members, and the actions on one of them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field

from ..core.client_changes import get_client
from ..core.clients.roles import WRITE_CLIENTS
from ..core.database.models import ClientKey, ClientSecret, IdentityClient, SecretState, utc_now
from ..core.secrets.available_actions import SecretAction
from ..core.secrets.lifecycle import END_DATE_MAX_DAYS, apply_secret_action
from ..host import services
from .access import client_to_change
from .operations import Call, Operation, View, operation
from .problems import Problem
from .schemas import Input, Output

_Credential = TypeVar("_Credential", ClientSecret, ClientKey)
_TAKE_AWAY = (SecretAction.END, SecretAction.PAUSE)
"""The actions that only remove access, so the caller needs no role of the client."""


class Credential(Output):
    """What authenticates a client."""

    id: UUID
    label: str
    state: str = Field(json_schema_extra={"enum": [str(state) for state in SecretState]})
    created_at: datetime
    created_by: str
    ends_at: datetime | None = Field(description="From this time on it does not authenticate; null: no end.")
    paused_at: datetime | None
    last_used_at: datetime | None = Field(description="Accurate to a minute.")
    last_used_address: str | None


class Confirmation(Input):
    """The confirmation of a consequence."""

    confirmed: bool = Field(default=False, description="Whether you have read what the refusal before said.")


class EndDate(Confirmation):
    """The end date of a secret or key."""

    ends_at: AwareDatetime | None = Field(description=f"Within {END_DATE_MAX_DAYS} days; null removes the end date.")


def action_operation(
    action: SecretAction, *, operation_id: str, tag: str, attempt: str, response: type[BaseModel]
) -> Callable[[View], Operation]:
    """Return a decorator that makes of a view the operation that applies an action to one secret or key."""
    problems = [Problem.OWN_CLIENT, Problem.SECRET_ENDED, Problem.CONFIRMATION_REQUIRED, Problem.INVALID_FIELDS]
    problems.append(Problem.LAST_SECRET if action in _TAKE_AWAY else Problem.ROLE_NOT_HELD)
    bodies = {SecretAction.RESUME: None, SecretAction.SET_END_DATE: EndDate}
    return operation(
        id=operation_id,
        tag=tag,
        scope=WRITE_CLIENTS,
        attempt=attempt,
        body=bodies.get(action, Confirmation),
        body_is_optional=action in _TAKE_AWAY,
        response=response,
        needs_version=True,
        problems=tuple(problems),
        headers=("ETag",),
    )


def apply_action(
    call: Call, action: SecretAction, find: Callable[[IdentityClient, Call], _Credential]
) -> tuple[IdentityClient, _Credential]:
    """Apply an action to the secret or key in the path; return the client and it.

    :param find: returns the secret or key in the path.
    """
    client = client_to_change(call, only_takes_away=action in _TAKE_AWAY)
    client = apply_secret_action(
        call.session,
        author=call.caller.author,
        key=call.key,
        version=call.version,
        secret_id=find(client, call).id,  # found here, since core takes the ID of either kind
        action=action,
        ends_at=getattr(call.body, "ends_at", None),
        secret_max_days=services().settings.secret_max_days,
        confirmed=getattr(call.body, "confirmed", False),
    )
    call.session.flush()
    return client, find(client, call)


def client_in_path(call: Call) -> IdentityClient:
    """Return the client in the path, for reading.

    :raises NotFound: the account has no such client.
    """
    return get_client(call.session, account_id=call.account_id, key=call.key)


def members_of_credential(credential: ClientSecret | ClientKey) -> dict[str, Any]:
    """Return the members of `Credential` by name."""
    return {
        "id": credential.id,
        "label": credential.label,
        "state": str(credential.state_at(utc_now())),
        "created_at": credential.created_at,
        "created_by": credential.created_by,
        "ends_at": credential.ends_at,
        "paused_at": credential.paused_at,
        "last_used_at": credential.last_used_at,
        "last_used_address": credential.last_used_address,
    }
