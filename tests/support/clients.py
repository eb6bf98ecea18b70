"""Create, edit and delete clients, with defaults for all parameters."""

import uuid
from typing import Any

from sqlalchemy import Engine

from tests.support.factories import (
    ACCOUNT,
    SECRET,
    make_author,
    make_clients,
    make_secrets,
    make_values,
)
from webapp.core.client_changes import get_client
from webapp.core.clients.delete import delete_client
from webapp.core.clients.validation import ClientValues
from webapp.core.database.models import IdentityClient
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import InvalidFields
from webapp.core.rate_limits.limits import RateLimits


def create(
    engine: Engine,
    *,
    values: ClientValues | None = None,
    refuse_weak: bool = False,
    rate_limits: RateLimits | None = None,
    **overrides: Any,
) -> IdentityClient:
    """Create a client as an administrator of the account would."""
    given: dict[str, Any] = {
        "author": make_author(),
        "values": values or make_values(),
        "secret": SECRET,
        "creation_key": None,
    }
    with unit_of_work(engine) as session:
        clients = make_clients(make_secrets(refuse_weak=refuse_weak), rate_limits)
        return clients.create(session, **(given | overrides))


def values_of(client: IdentityClient, **overrides: Any) -> ClientValues:
    """Return the values with which the Edit form is filled."""
    values = {
        "client_id": client.client_id,
        "name": client.name,
        "description": client.description,
        "token_duration": str(client.token_duration_minutes),
        "roles": client.roles,
        "owner": client.owner,
        "tags": tuple(client.tags),
    }
    return ClientValues(**(values | overrides))


def edit(
    engine: Engine,
    client: IdentityClient,
    *,
    values: ClientValues | None = None,
    rate_limits: RateLimits | None = None,
    **overrides: Any,
) -> IdentityClient:
    """Edit a client from the form as it was filled when `client` was read."""
    given: dict[str, Any] = {
        "author": make_author(client.account_id),
        "key": client.id,
        "version": client.version,
        "values": values or values_of(client),
        "enabled": client.enabled,
    }
    with unit_of_work(engine) as session:
        return make_clients(rate_limits=rate_limits).edit(session, **(given | overrides))


def stored(engine: Engine, key: uuid.UUID, account_id: str = ACCOUNT) -> IdentityClient:
    """Return a client as the database has it now."""
    with read_session(engine) as session:
        return get_client(session, account_id=account_id, key=key)


def messages(error: InvalidFields) -> dict[str, str]:
    """Return the message at each field."""
    assert len({item.field for item in error.errors}) == len(error.errors)
    return {item.field: item.message for item in error.errors}


def delete(engine: Engine, client: IdentityClient, **overrides: Any) -> None:
    """Delete a client, based on the version of `client`."""
    given: dict[str, Any] = {"author": make_author(), "key": client.id, "version": client.version}
    given["typed_client_id"] = client.client_id
    with unit_of_work(engine) as session:
        delete_client(session, **(given | overrides))
