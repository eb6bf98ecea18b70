"""Create, edit, enable, disable and delete identity clients.

Every function is bound to the account of its author (A3). Each change is one savepoint: it happens whole, with its
event, or not at all. What an error carries is loose from the session, so that it outlives the roll-back.
"""

import hashlib
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from . import audit, revocation
from .audit import Action, Author
from .changes import changing, get_client, loose, refuse_stale
from .client_secrets import Picture, new_secret, not_ended, replace_secrets, states_at
from .database import violated_constraint
from .errors import AlreadyCreated, ClientIdTaken, FieldError, InvalidFields
from .fields import check_client_id, check_description, check_name, check_roles, check_token_duration
from .models import ClaimedId, ClientSecret, IdentityClient, utc_now
from .roles import Catalogue
from .secrets import SecretHasher, check_chosen_secret, is_well_formed
from .throttle import Throttles
from .words import gettext

_ID_CONSTRAINTS = {"uq_identity_clients_client_id", "pk_identity_client_claimed_ids"}
_CREATION_KEY_CONSTRAINT = "uq_identity_clients_account_id_creation_key"


@dataclass(frozen=True, slots=True)
class ClientValues:
    """What the form holds, as it was typed. A form can write nothing else of a client (A5)."""

    client_id: str
    name: str
    description: str
    token_duration: str
    roles: frozenset[str]


def is_taken(session: Session, *, client_id: str, account_id: str, key: uuid.UUID | None) -> bool:
    """Tell whether a client ID is, or once was, another client's, in whatever letter case (T3, I6).

    The answer tells something of other accounts: ask `Throttles.may_answer_taken_id` before giving it (A6).

    :param key: the client of this account that is being edited; None for a new one.
    """
    if not is_well_formed(client_id):
        return False
    holder = session.execute(
        select(IdentityClient.id, IdentityClient.account_id)
        .select_from(ClaimedId)
        .outerjoin(IdentityClient, ClaimedId.client_key == IdentityClient.id)
        .where(ClaimedId.client_id_folded == client_id.casefold())
    ).one_or_none()
    return holder is not None and tuple(holder) != (key, account_id)


def create_client(
    session: Session,
    *,
    author: Author,
    values: ClientValues,
    secret: str,
    creation_key: str | None,
    catalogue: Catalogue,
    granted: Collection[str] | None,
    hasher: SecretHasher,
    throttles: Throttles,
    copied_from: uuid.UUID | None = None,
    refuse_weak: bool = False,
) -> IdentityClient:
    """Make an enabled client with one secret, A.

    :param creation_key: the one-time key of the form; a second Create with the same one makes nothing.
    :param granted: the API roles that the account may grant at this moment; None means all (A4).
    :param copied_from: the client of this account that the form was filled from, for the trail.
    :param refuse_weak: refuse a weak secret (S4).
    :raises InvalidFields: all that is wrong with the values, at once.
    :raises AlreadyCreated: the same Create was sent before; it carries what that one made.
    :raises Throttled: the client ID is in use, and this actor was told so too often (A6).
    :raises TooManyNewClients: the account made as many as it may in an hour (D5).
    """
    one_time_key = _digest(creation_key)
    fields, errors = _judge(values, secret, catalogue=catalogue, granted=granted, refuse_weak=refuse_weak)
    taken = is_taken(session, client_id=values.client_id, account_id=author.account_id, key=None)
    # After the ID was looked for: else a twin of this very Create that ends in between would pass for a stranger.
    _raise_if_created(session, author, one_time_key)
    _raise_if_wrong(errors, author, throttles, taken=taken)
    throttles.count_new_client(author.account_id)
    first_secret, now = fields.pop("secret"), utc_now()
    client = IdentityClient(
        **fields,
        account_id=author.account_id,
        enabled=True,
        creation_key=one_time_key,
        created_at=now,
        created_by=author.label,
        updated_at=now,
        updated_by=author.label,
        secrets=[new_secret(first_secret, 0, hasher=hasher, author=author, now=now)],
    )
    changes = {field: [None, _plain(value)] for field, value in {**fields, "enabled": True}.items()}
    changes["client_secret"] = [None, states_at(now, client.secrets)]
    if copied_from is not None:
        changes["copied_from"] = [None, _id_of(session, author, copied_from)]
    try:
        with session.begin_nested():
            session.add(client)
            session.flush()
            session.add(ClaimedId(client_id_folded=client.client_id_folded, client_key=client.id))
            audit.record(session, author, Action.CREATED, client, changes)
    except IntegrityError as error:
        if violated_constraint(error) not in {*_ID_CONSTRAINTS, _CREATION_KEY_CONSTRAINT}:
            raise
        # Whichever constraint spoke first: a twin of this very Create may have been quicker.
        _raise_if_created(session, author, one_time_key)
        raise _taken(throttles, author) from None
    return client


def edit_client(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    values: ClientValues,
    enabled: bool,
    secret: str | None,
    catalogue: Catalogue,
    granted: Collection[str] | None,
    hasher: SecretHasher,
    throttles: Throttles,
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
    refuse_stale(session, client, version)
    fields, errors = _judge(values, secret or None, catalogue=catalogue, granted=granted, refuse_weak=refuse_weak)
    taken = is_taken(session, client_id=values.client_id, account_id=author.account_id, key=key)
    _raise_if_wrong(errors, author, throttles, taken=taken)
    chosen, now, added = fields.pop("secret"), utc_now(), None
    if chosen is not None:
        added = new_secret(chosen, len(client.secrets), hasher=hasher, author=author, now=now)
    try:
        return _write(session, author, Action.EDITED, client, {**fields, "enabled": enabled}, now, added)
    except IntegrityError as error:
        if violated_constraint(error) not in _ID_CONSTRAINTS:
            raise
        raise _taken(throttles, author) from None


def set_enabled(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    enabled: bool,
    revoke_tokens: bool = False,
) -> IdentityClient:
    """Enable or disable a client; where it is so already it stays as it is, whatever the version.

    :param revoke_tokens: revoke the tokens that it got until now as well. Those of a disabled client do not count while
        it is disabled; revoked ones never count again.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since; nothing was written.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    if client.enabled != enabled:
        refuse_stale(session, client, version)
        action = Action.ENABLED if enabled else Action.DISABLED
        client = _write(session, author, action, client, {"enabled": enabled}, utc_now())
    if revoke_tokens:
        revocation.revoke_tokens(session, author=author, key=key)
    return client


def delete_client(
    session: Session, *, author: Author, key: uuid.UUID, version: int | None, typed_client_id: str
) -> None:
    """Delete a client: it leaves the list, its secrets end and its tokens stop; its ID stays taken, its trail stays.

    :param typed_client_id: what the person typed to confirm: the client ID, letter for letter.
    :raises NotFound: the account has no such client, or no more.
    :raises StaleVersion: it was changed since; nothing was written.
    :raises FieldError: something else was typed; the field is `confirm`.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    refuse_stale(session, client, version)
    if typed_client_id.strip() != client.client_id:
        raise FieldError(
            "confirm",
            gettext("Type %(client)s exactly, with the same capital and small letters.", client=client.client_id),
            gettext("Client ID does not match: type it exactly"),
        )
    now = utc_now()
    kept = not_ended(client, now)
    with changing(session, author, client, now):
        before = Picture(kept, now)
        client.deleted_at = now
        for secret in kept:
            secret.ends_at = now
        audit.record(session, author, Action.DELETED, client, before.compared_to(Picture(kept, now)))


def _judge(
    values: ClientValues,
    secret: str | None,
    *,
    catalogue: Catalogue,
    granted: Collection[str] | None,
    refuse_weak: bool,
) -> tuple[dict[str, Any], list[FieldError]]:
    """Return the columns that the form writes with the `secret`, and all that is wrong, in the form's order."""
    checks: dict[str, Callable[[], Any]] = {
        "client_id": lambda: check_client_id(values.client_id),
        "secret": lambda: (
            None
            if secret is None
            else check_chosen_secret(secret, values.client_id, values.name, refuse_weak=refuse_weak)
        ),
        "name": lambda: check_name(values.name),
        "description": lambda: check_description(values.description),
        "token_duration_minutes": lambda: check_token_duration(values.token_duration),
        "roles": lambda: check_roles(values.roles, catalogue=catalogue, granted=granted),
    }
    fields: dict[str, Any] = {}
    errors: list[FieldError] = []
    for field, check in checks.items():
        try:
            fields[field] = check()
        except FieldError as error:
            errors.append(error)
    return fields, errors


def _raise_if_wrong(errors: list[FieldError], author: Author, throttles: Throttles, *, taken: bool) -> None:
    if errors:
        # Nothing is written anyway, so this could be asked for ever: beyond the quota a taken ID goes unmentioned (A6).
        if taken and throttles.may_answer_taken_id(author.actor_id):
            errors = [ClientIdTaken(), *errors]
        raise InvalidFields(errors)
    if taken:
        raise _taken(throttles, author)


def _write(
    session: Session,
    author: Author,
    action: Action,
    client: IdentityClient,
    fields: Mapping[str, Any],
    now: datetime,
    added: ClientSecret | None = None,
) -> IdentityClient:
    changed = {field: value for field, value in fields.items() if getattr(client, field) != value}
    if not changed and added is None:
        return client
    changes: dict[str, Any] = {
        field: [_plain(getattr(client, field)), _plain(value)] for field, value in changed.items()
    }
    with changing(session, author, client, now):
        for field, value in changed.items():
            setattr(client, field, value)
        if added is not None:
            changes["client_secret"] = replace_secrets(client, added, now)
        session.flush()  # the client's own row first
        if "client_id" in changed and not _has_claimed(session, client):
            session.add(ClaimedId(client_id_folded=client.client_id_folded, client_key=client.id))
        audit.record(session, author, action, client, changes)
    return client


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return sorted(value) if isinstance(value, frozenset) else value


def _digest(creation_key: str | None) -> str | None:
    # Whatever is posted in its place: this fits the column.
    return hashlib.sha256(creation_key.encode("utf-8", "surrogatepass")).hexdigest() if creation_key else None


def _raise_if_created(session: Session, author: Author, one_time_key: str | None) -> None:
    if one_time_key is None:
        return
    client = session.scalar(
        select(IdentityClient)
        .where(IdentityClient.account_id == author.account_id, IdentityClient.creation_key == one_time_key)
        .options(selectinload(IdentityClient.secrets))
    )
    if client is not None:
        raise AlreadyCreated(loose(session, client))


def _taken(throttles: Throttles, author: Author) -> InvalidFields:
    throttles.count_taken_id_answer(author.actor_id)
    return InvalidFields([ClientIdTaken()])


def _id_of(session: Session, author: Author, key: uuid.UUID) -> str | None:
    return session.scalar(
        select(IdentityClient.client_id).where(IdentityClient.id == key, IdentityClient.account_id == author.account_id)
    )


def _has_claimed(session: Session, client: IdentityClient) -> bool:
    return bool(
        session.scalar(
            select(ClaimedId.client_key).where(
                ClaimedId.client_id_folded == client.client_id_folded, ClaimedId.client_key == client.id
            )
        )
    )
