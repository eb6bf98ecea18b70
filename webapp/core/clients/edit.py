"""Create, edit, enable, disable and delete identity clients.

Every function is bound to the account of its author (A3). Each change is one savepoint: it happens whole, with its
event, or not at all. What an error carries is loose from the session, so that it outlives the roll-back.
"""

import uuid
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.errors import violated_constraint
from ..database.models import ClientSecret, IdentityClient, UsedClientId, utc_now
from ..rate_limits.limits import RateLimits
from ..secrets.client_secrets import new_secret, replace_secrets
from ..secrets.hashing import SecretHasher
from .client_ids import CLIENT_ID_CONSTRAINTS, client_id_taken, has_used, is_taken, raise_if_invalid
from .roles import RoleCatalogue
from .validation import ClientValues, validate_values


def edit_client(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    values: ClientValues,
    enabled: bool,
    secret: str | None,
    catalogue: RoleCatalogue,
    granted: Collection[str] | None,
    hasher: SecretHasher,
    rate_limits: RateLimits,
    refuse_weak: bool = False,
) -> IdentityClient:
    """Give a client these values; where nothing differs nothing is written.

    :param version: the version that the form was filled from; None is a stale one (I7).
    :param secret: replaces the current ones at once; empty or None keeps them.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises InvalidFields: all that is wrong with the values, at once.
    :raises Throttled: the client ID is in use, and this actor was told so too often (A6).
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    fields, errors = validate_values(
        values, secret or None, catalogue=catalogue, granted=granted, refuse_weak=refuse_weak
    )
    taken = is_taken(session, client_id=values.client_id, account_id=author.account_id, key=key)
    raise_if_invalid(errors, author, rate_limits, taken=taken)
    chosen, now, added = fields.pop("secret"), utc_now(), None
    if chosen is not None:
        added = new_secret(chosen, len(client.secrets), hasher=hasher, author=author, now=now)
    try:
        return write_fields(session, author, Action.EDITED, client, {**fields, "enabled": enabled}, now, added)
    except IntegrityError as error:
        if violated_constraint(error) not in CLIENT_ID_CONSTRAINTS:
            raise
        raise client_id_taken(rate_limits, author) from None


def write_fields(
    session: Session,
    author: Author,
    action: Action,
    client: IdentityClient,
    fields: Mapping[str, Any],
    now: datetime,
    added: ClientSecret | None = None,
) -> IdentityClient:
    """Write the fields that differ, with their audit event; return the client."""
    changed = {field: value for field, value in fields.items() if getattr(client, field) != value}
    if not changed and added is None:
        return client
    changes: dict[str, Any] = {
        field: [_audit_value(getattr(client, field)), _audit_value(value)] for field, value in changed.items()
    }
    with versioned_change(session, author, client, now):
        for field, value in changed.items():
            setattr(client, field, value)
        if added is not None:
            changes["client_secret"] = replace_secrets(client, added, now)
        session.flush()  # the client's own row first
        if "client_id" in changed and not has_used(session, client):
            session.add(UsedClientId(client_id_folded=client.client_id_folded, client_key=client.id))
        record_event(session, author, action, client, changes)
    return client


def _audit_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value
