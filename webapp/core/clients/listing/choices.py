"""The tags and owners that the filters of the list offer."""

from sqlalchemy import ColumnElement, and_, func, literal, select
from sqlalchemy.orm import InstrumentedAttribute, Session

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
    # Jumps from one value to the next in the index (a loose index scan), where DISTINCT would read every row.
    found = select(func.min(column).label("value"), literal(1).label("number")).where(own).cte("found", recursive=True)
    following = select(func.min(column)).where(own, column > found.c.value).scalar_subquery()
    found = found.union_all(
        select(following, found.c.number + 1).where(found.c.value.is_not(None), found.c.number < CHOICES_MAX)
    )
    return sorted(session.scalars(select(found.c.value).where(found.c.value.is_not(None))))
