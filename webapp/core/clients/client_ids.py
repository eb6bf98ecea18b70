"""Client IDs are unique across the platform, and stay taken."""

import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..audit.events import Author
from ..credentials import is_well_formed
from ..database.models import IdentityClient, UsedClientId
from ..errors import ClientIdTaken, FieldError, InvalidFields
from ..rate_limits.limits import RateLimits

CLIENT_ID_CONSTRAINTS = {"uq_identity_clients_client_id", "pk_identity_client_claimed_ids"}


def is_taken(session: Session, *, client_id: str, account_id: str, key: uuid.UUID | None) -> bool:
    """Tell whether a client ID is, or once was, another client's, in whatever letter case (T3, I6).

    The answer tells something of other accounts: ask `Throttles.may_answer_taken_id` before giving it (A6).

    :param key: the client of this account that is being edited; None for a new one.
    """
    if not is_well_formed(client_id):
        return False
    holder = session.execute(
        select(IdentityClient.id, IdentityClient.account_id)
        .select_from(UsedClientId)
        .outerjoin(IdentityClient, UsedClientId.client_key == IdentityClient.id)
        .where(UsedClientId.client_id_folded == client_id.casefold())
    ).one_or_none()
    return holder is not None and tuple(holder) != (key, account_id)


def raise_if_invalid(errors: list[FieldError], author: Author, rate_limits: RateLimits, *, taken: bool) -> None:
    """Raise InvalidFields where fields break rules or the client ID is in use."""
    if errors:
        # Nothing is written anyway, so this could be asked for ever: beyond the quota a taken ID goes unmentioned (A6).
        if taken and rate_limits.may_answer_taken_id(author.actor_id):
            errors = [ClientIdTaken(), *errors]
        raise InvalidFields(errors)
    if taken:
        raise client_id_taken(rate_limits, author)


def client_id_taken(rate_limits: RateLimits, author: Author) -> InvalidFields:
    """Return the error for a client ID in use, and count it against the quota of the actor."""
    rate_limits.count_taken_id_answer(author.actor_id)
    return InvalidFields([ClientIdTaken()])


def has_used(session: Session, client: IdentityClient) -> bool:
    """Return whether a client has used its client ID before."""
    return bool(
        session.scalar(
            select(UsedClientId.client_key).where(
                UsedClientId.client_id_folded == client.client_id_folded, UsedClientId.client_key == client.id
            )
        )
    )
