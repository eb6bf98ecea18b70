"""The access review: whether each enabled client still needs what it may do, acknowledged by a named person.

PCI DSS 4.0.1 7.2.5.1 asks for it: at a frequency that has a reason, of every account of a system, with what was found
and what was done about it, and with an acknowledgement.
"""

import unicodedata
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, literal, select, true, tuple_
from sqlalchemy.orm import Session, selectinload

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, get_client, versioned_change
from ..database.cursors import decode_cursor, encode_cursor
from ..database.models import REVIEW_NOTE_MAX, IdentityClient, utc_now
from ..errors import FieldError, InvalidFields
from ..i18n import format_number, gettext
from ..secrets.client_secrets import credentials_not_ended, secret_states
from .attention import AttentionReason
from .attention_queries import count_rows, values_of
from .validation import UNUSABLE_IN_TEXT

PAGE_SIZE = 50
PRINT_MAX = 1_000
"""How many clients the printable page has at most."""
EXPORT_MAX = 10_000
"""How many clients an export has at most (L7)."""
COUNT_MAX = 100
"""How many overdue clients are counted; beyond, there are "100+"."""
NOTE_MIN = 3
# The order of the index: those never reviewed first, the oldest of them first, then the oldest review.
_ORDER = (IdentityClient.reviewed_at, IdentityClient.created_at, IdentityClient.id)


@dataclass(frozen=True, slots=True)
class ReviewPage:
    """One page of the clients to review, the most urgent first, with their secrets and keys.

    :param next_cursor: `after` of the next page, None on the last one.
    """

    clients: list[IdentityClient]
    next_cursor: str | None


def is_overdue(client: IdentityClient, days: int, now: datetime) -> bool:
    """Return whether the last review of a client, or its creation, is so many days ago or more."""
    return (client.reviewed_at or client.created_at) <= now - timedelta(days=days)


def list_reviews(session: Session, *, account_id: str, after: str = "") -> ReviewPage:
    """Return a page of the account's enabled clients.

    An invalid cursor, or one of another account, gives the first page (I4).
    """
    found = _read(session, account_id, _position(session, account_id, after), PAGE_SIZE + 1)
    more = len(found) > PAGE_SIZE
    return ReviewPage(found[:PAGE_SIZE], _cursor(found[PAGE_SIZE - 1]) if more else None)


def export_reviews(session: Session, *, account_id: str, limit: int = EXPORT_MAX) -> Iterator[IdentityClient]:
    """Yield the account's enabled clients in the same order, with secrets and keys; they are read a page at a time."""
    position, count = None, 0
    while count < limit and (found := _read(session, account_id, position, min(PAGE_SIZE, limit - count))):
        yield from found
        count += len(found)
        position = _after(found[-1])
        session.expunge_all()


def count_overdue(session: Session, *, account_id: str) -> int:
    """Return how many enabled clients are overdue, at most one more than `COUNT_MAX`."""
    return count_rows(session, AttentionReason.OVERDUE, values_of(session, account_id), COUNT_MAX)


def review_client(
    session: Session,
    *,
    author: Author,
    key: uuid.UUID,
    version: int | None,
    found: str,
    done: str,
    acknowledged: bool,
) -> IdentityClient:
    """Record that the author reviewed a client, with every secret and key that it has, and keeps it; return it.

    :param found: what the author found, as it was typed.
    :param done: what was done about it; empty if there was nothing to do.
    :param acknowledged: whether the author confirmed the review by name.
    :raises NotFound: the account has no such client.
    :raises StaleVersion: it was changed since the author saw it; nothing was written.
    :raises InvalidFields: a note breaks a rule, or the acknowledgement is missing.
    """
    client = get_client(session, account_id=author.account_id, key=key)
    check_version(session, client, version)
    errors: list[FieldError] = []
    notes = {}
    for field, text, least in (("found", found, NOTE_MIN), ("done", done, 0)):
        try:
            notes[field] = _check_note(field, text, least)
        except FieldError as error:
            errors.append(error)
    if not acknowledged:
        errors.append(
            FieldError(
                "acknowledged",
                gettext("Tick the box to acknowledge the review."),
                gettext("Acknowledgement is missing: tick the box"),
            )
        )
    if errors:
        raise InvalidFields(errors)
    now = utc_now()
    with versioned_change(session, author, client, now):
        client.reviewed_at, client.reviewed_by = now, author.label
        client.review_found, client.review_done = notes["found"], notes["done"]
        record_event(
            session,
            author,
            Action.REVIEWED,
            client,
            {
                "found": [None, notes["found"]],
                "done": [None, notes["done"]],
                "reviewed_roles": [None, sorted(client.roles)],
                "reviewed_secrets": [None, secret_states(now, credentials_not_ended(client, now))],
            },
        )
    return client


def _check_note(field: str, text: str, least: int) -> str:
    note = unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").strip())
    if UNUSABLE_IN_TEXT.search(note):
        raise FieldError(field, gettext("The text has an invisible control character. Type it again."))
    if len(note) < least:
        raise FieldError(
            field,
            gettext("Enter what you found, in %(least)s characters or more.", least=least),
            gettext("What you found is missing: enter it"),
        )
    if len(note) > REVIEW_NOTE_MAX:
        raise FieldError(
            field,
            gettext(
                "This text has %(number)s characters. Use at most %(most)s.",
                number=format_number(len(note)),
                most=format_number(REVIEW_NOTE_MAX),
            ),
        )
    return note


def _own(account_id: str) -> tuple[ColumnElement[bool], ...]:
    return (
        IdentityClient.account_id == account_id,
        IdentityClient.enabled == true(),
        IdentityClient.deleted_at.is_(None),
    )


def _read(session: Session, account_id: str, position: ColumnElement[bool] | None, limit: int) -> list[IdentityClient]:
    beyond = () if position is None else (position,)
    return list(
        session.scalars(
            select(IdentityClient)
            .where(*_own(account_id), *beyond)
            .order_by(*_ORDER)
            .limit(limit)
            .options(selectinload(IdentityClient.secrets), selectinload(IdentityClient.keys))
        )
    )


def _after(client: IdentityClient) -> ColumnElement[bool]:
    return _beyond(client.reviewed_at, client.created_at, client.id)


def _beyond(reviewed_at: datetime | None, created_at: datetime, key: uuid.UUID) -> ColumnElement[bool]:
    values = (reviewed_at, created_at, key)
    bound = (literal(value, column.type) for value, column in zip(values, _ORDER, strict=True))
    return tuple_(*_ORDER) > tuple_(*bound)


def _cursor(client: IdentityClient) -> str:
    reviewed_at = client.reviewed_at.isoformat() if client.reviewed_at else ""
    return encode_cursor("review", reviewed_at, client.created_at.isoformat(), client.id.hex)


def _position(session: Session, account_id: str, cursor: str) -> ColumnElement[bool] | None:
    parts = decode_cursor(cursor, 4)
    if parts is None or parts[0] != "review":
        return None
    try:
        key = uuid.UUID(hex=parts[3])
        reviewed_at = datetime.fromisoformat(parts[1]).astimezone(UTC) if parts[1] else None
        created_at = datetime.fromisoformat(parts[2]).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    owned = select(IdentityClient.id).where(IdentityClient.id == key, IdentityClient.account_id == account_id)
    return _beyond(reviewed_at, created_at, key) if session.scalar(owned) else None
