"""The tags and owners that the filters of the list offer."""

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from ...database.distinct_values import distinct_values
from ...database.models import ClientTag, IdentityClient
from .filters import HAS_OWNER

CHOICES_MAX = 100
"""How many tags and owners the filters offer; a search finds the others."""
_TAG = distinct_values(ClientTag.tag, ClientTag.account_id == bindparam("account_id"), count_max=CHOICES_MAX).c.value
_TAGS = select(_TAG).where(_TAG.is_not(None))
_OWN = and_(IdentityClient.account_id == bindparam("account_id"), *HAS_OWNER)
_FOLDED = distinct_values(IdentityClient.owner_folded, _OWN, count_max=CHOICES_MAX).c.value
_SPELLING = select(IdentityClient.owner).where(_OWN, IdentityClient.owner_folded == _FOLDED).limit(1).scalar_subquery()
_OWNERS = select(_FOLDED, _SPELLING).where(_FOLDED.is_not(None))


def list_tags(session: Session, account_id: str) -> list[str]:
    """Return the tags of an account's clients, sorted, at most `CHOICES_MAX`."""
    return sorted(session.scalars(_TAGS, {"account_id": account_id}))


def list_owners(session: Session, account_id: str) -> list[str]:
    """Return the owners of an account's clients, sorted, each in one spelling, at most `CHOICES_MAX`."""
    return [spelling for _, spelling in sorted(map(tuple, session.execute(_OWNERS, {"account_id": account_id})))]
