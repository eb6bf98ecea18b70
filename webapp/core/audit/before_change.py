"""Let the host refuse a change of a client before it is saved."""

import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from ..database.models import IdentityClient

_HOOKS = "identity_clients_before_change"


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a client that is about to be saved, with the client's values as they will be.

    :param action: as in the audit log, such as `created`, `edited` or `secret changed`.
    :param client_key: our key of the client.
    :param token_duration: in minutes.
    :param roles: keys of API roles.
    :param owner: a name or an e-mail address, or empty.
    :param tags: in small letters.
    :param allowed_networks: as they are typed, one each; empty allows every address.
    :param changes: per changed field `[before, after]`, as in the audit log; never a secret or a hash.
    """

    action: str
    account_id: str
    actor_id: str
    actor_label: str
    client_key: uuid.UUID
    client_id: str
    name: str
    description: str
    token_duration: int
    roles: frozenset[str]
    owner: str
    tags: frozenset[str]
    enabled: bool
    allowed_networks: tuple[str, ...]
    changes: Mapping[str, Any]


BeforeChange = Callable[[Change], None]
"""A function of the host. It raises `FieldError` to refuse the change, with a message for the person."""


def with_hooks(engine: Engine, hooks: Iterable[BeforeChange]) -> Engine:
    """Return a copy of an engine, on the same pool, whose sessions call these functions before each change.

    :param hooks: read at each change, so that functions may be added later.
    """
    return engine.execution_options(**{_HOOKS: hooks})


def call_hooks(
    session: Session,
    client: IdentityClient,
    *,
    action: str,
    account_id: str,
    actor_id: str,
    actor_label: str,
    changes: Mapping[str, Any],
) -> None:
    """Call the host's functions for a change of a client, in order.

    :raises FieldError: one of them refuses the change.
    """
    hooks: Iterable[BeforeChange] = session.get_bind().get_execution_options().get(_HOOKS, ())
    change = None
    for hook in hooks:
        change = change or Change(
            action=action,
            account_id=account_id,
            actor_id=actor_id,
            actor_label=actor_label,
            client_key=client.id,
            client_id=client.client_id,
            name=client.name,
            description=client.description,
            token_duration=client.token_duration_minutes,
            roles=frozenset(client.roles),
            owner=client.owner,
            tags=frozenset(client.tags),
            enabled=client.enabled,
            allowed_networks=tuple(map(str, client.allowed_networks)),
            changes=changes,
        )
        hook(change)
