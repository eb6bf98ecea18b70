"""The tags and owners that the filters of the list offer."""

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from ...database.distinct_values import distinct_values
from ...database.models import ClientTag, IdentityClient
from .filters import HAS_OWNER

CHOICES_MAX = 100
"""How many tags and owners the filters offer; a search finds the others."""


def list_tags(session: Session, account_id: str) -> list[str]:
    """Return the tags of an account's clients, sorted, at most `CHOICES_MAX`."""
    return _distinct(session, ClientTag.tag, ClientTag.account_id == account_id)


def list_owners(session: Session, account_id: str) -> list[str]:
    """Return the owners of an account's clients, sorted, each in one spelling, at most `CHOICES_MAX`."""
    own = and_(IdentityClient.account_id == account_id, *HAS_OWNER)
    folded = _distinct(session, IdentityClient.owner_folded, own)
    spelling = select(IdentityClient.owner).where(own).limit(1)
    return [session.scalars(spelling.where(IdentityClient.owner_folded == owner)).one() for owner in folded]


def _distinct(session: Session, column: InstrumentedAttribute[str], own: ColumnElement[bool]) -> list[str]:
    value = distinct_values(column, own, count_max=CHOICES_MAX).c.value
    return sorted(session.scalars(select(value).where(value.is_not(None))))
