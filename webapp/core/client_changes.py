"""Load a client of an account, write a change of it only if its version is still the newest, and revoke its tokens."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session, joinedload, selectinload
from sqlalchemy.orm.attributes import flag_modified
from sqlalchemy.orm.exc import StaleDataError

from .audit.actions import Action
from .audit.events import Author, record_event
from .database.models import IdentityClient
from .errors import DomainError, NotFound


class StaleVersion(DomainError):
    """The change was based on a version that is no longer the newest; nothing was changed (I7).

    :param current: the client as it is now, detached from the session.
    """

    def __init__(self, current: IdentityClient) -> None:
        super().__init__("stale version")
        self.current = current


def get_client(session: Session, *, account_id: str, key: uuid.UUID) -> IdentityClient:
    """Return a client of the account, with its secrets and keys.

    :raises NotFound: the account has no such client, whether or not another one has (A3).
    """
    client = (
        session.scalars(
            select(IdentityClient)
            .where(
                IdentityClient.id == key, IdentityClient.account_id == account_id, IdentityClient.deleted_at.is_(None)
            )
            # In one statement: on PostgreSQL a second one could see secrets that are newer than the client's version.
            # Not so the keys, which could multiply the rows: a change that saw newer ones fails by its version.
            .options(joinedload(IdentityClient.secrets), selectinload(IdentityClient.keys))
        )
        .unique()
        .one_or_none()
    )
    if client is None:
        raise NotFound
    return client


def get_client_or_deleted(session: Session, *, account_id: str, key: uuid.UUID) -> IdentityClient:
    """Return a client of the account without its secrets and keys, deleted or not: its logs stay readable.

    :raises NotFound: the account has no such client, whether or not another one has (A3).
    """
    own = (IdentityClient.id == key, IdentityClient.account_id == account_id)
    client = session.scalar(select(IdentityClient).where(*own))
    if client is None:
        raise NotFound
    return client


def check_version(session: Session, client: IdentityClient, version: int | None) -> None:
    """Refuse a change that is based on a version which is no longer the newest (I7).

    :param version: the version that the author saw; None never matches.
    :raises StaleVersion: the client has another version.
    """
    if version != client.version:
        raise StaleVersion(detach(session, client))


@contextmanager
def versioned_change(session: Session, author: Author, client: IdentityClient, now: datetime) -> Iterator[None]:
    """Write the changes made by the block in one savepoint, by an UPDATE that checks the client's version (I7).

    The block also records the audit event of the change (L1).

    :raises StaleVersion: another transaction has changed the client since it was loaded; nothing was written.
    """
    key, account_id = client.id, client.account_id
    try:
        with session.begin_nested():
            client.updated_at, client.updated_by = now, author.label
            flag_modified(client, "updated_at")  # so that the version is incremented even within one clock tick
            yield
            session.flush()
    except StaleDataError:
        session.expire_all()
        raise StaleVersion(detach(session, get_client(session, account_id=account_id, key=key))) from None


def detach(session: Session, client: IdentityClient) -> IdentityClient:
    """Remove a client, its secrets and keys from the session, so that an error can carry it past the rollback."""
    for instance in (client, *client.secrets, *client.keys):
        session.expunge(instance)
    return client


def revoke_tokens(session: Session, *, author: Author, key: uuid.UUID) -> None:
    """Revoke every token that was issued to a client of the author's account so far (T13).

    :raises NotFound: the account has no such client.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    # The version stays, so that an open form can still be saved.
    session.execute(
        update(IdentityClient)
        .where(IdentityClient.id == client.id)
        .values(token_generation=IdentityClient.token_generation + 1)
        .execution_options(synchronize_session=False)
    )
    record_event(session, author, Action.TOKENS_REVOKED, client, {})
