"""Create a client."""

import hashlib
import uuid
from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import detach
from ..database.errors import violated_constraint
from ..database.models import IdentityClient, UsedClientId, utc_now
from ..errors import DomainError
from ..rate_limits.limits import RateLimits
from ..secrets.client_secrets import new_secret, secret_states
from ..secrets.hashing import SecretHasher
from .client_ids import CLIENT_ID_CONSTRAINTS, client_id_taken, is_taken, raise_if_invalid
from .edit import _audit_value
from .roles import RoleCatalogue
from .validation import ClientValues, validate_values

_CREATION_KEY_CONSTRAINT = "uq_identity_clients_account_id_creation_key"


def create_client(
    session: Session,
    *,
    author: Author,
    values: ClientValues,
    secret: str,
    creation_key: str | None,
    catalogue: RoleCatalogue,
    granted: Collection[str] | None,
    hasher: SecretHasher,
    rate_limits: RateLimits,
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
    fields, errors = validate_values(values, secret, catalogue=catalogue, granted=granted, refuse_weak=refuse_weak)
    taken = is_taken(session, client_id=values.client_id, account_id=author.account_id, key=None)
    # After the ID was looked for: else a twin of this very Create that ends in between would pass for a stranger.
    _raise_if_already_created(session, author, one_time_key)
    raise_if_invalid(errors, author, rate_limits, taken=taken)
    rate_limits.count_new_client(author.account_id)
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
    changes = {field: [None, _audit_value(value)] for field, value in {**fields, "enabled": True}.items()}
    changes["client_secret"] = [None, secret_states(now, client.secrets)]
    if copied_from is not None:
        changes["copied_from"] = [None, _get_client_id(session, author, copied_from)]
    try:
        with session.begin_nested():
            session.add(client)
            session.flush()
            session.add(UsedClientId(client_id_folded=client.client_id_folded, client_key=client.id))
            record_event(session, author, Action.CREATED, client, changes)
    except IntegrityError as error:
        if violated_constraint(error) not in {*CLIENT_ID_CONSTRAINTS, _CREATION_KEY_CONSTRAINT}:
            raise
        # Whichever constraint spoke first: a twin of this very Create may have been quicker.
        _raise_if_already_created(session, author, one_time_key)
        raise client_id_taken(rate_limits, author) from None
    return client


def _digest(creation_key: str | None) -> str | None:
    # Whatever is posted in its place: this fits the column.
    return hashlib.sha256(creation_key.encode("utf-8", "surrogatepass")).hexdigest() if creation_key else None


def _raise_if_already_created(session: Session, author: Author, one_time_key: str | None) -> None:
    if one_time_key is None:
        return
    client = session.scalar(
        select(IdentityClient)
        .where(IdentityClient.account_id == author.account_id, IdentityClient.creation_key == one_time_key)
        .options(selectinload(IdentityClient.secrets))
    )
    if client is not None:
        raise AlreadyCreated(detach(session, client))


def _get_client_id(session: Session, author: Author, key: uuid.UUID) -> str | None:
    return session.scalar(
        select(IdentityClient.client_id).where(IdentityClient.id == key, IdentityClient.account_id == author.account_id)
    )


class AlreadyCreated(DomainError):
    """The same Create was sent before; nothing was made again, and no secret is shown again.

    :param client: what the first one made.
    """

    def __init__(self, client: IdentityClient) -> None:
        super().__init__("already created")
        self.client = client
