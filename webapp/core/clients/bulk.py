"""Change several clients at once: all of them, or none."""

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import select
from sqlalchemy.orm import Session

from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import StaleVersion, check_version, get_client, versioned_change
from ..database.models import TAGS_MAX, IdentityClient, is_of_account, utc_now
from ..errors import DomainError, FieldError, NotFound
from ..i18n import format_number, gettext
from .enable import set_enabled
from .validation import check_tags

BULK_MAX = 50
"""How many clients can be changed at once: those of one page of the list."""


class BulkAction(StrEnum):
    """The actions on several clients at once; the values are used in URLs."""

    DISABLE = "disable"
    ENABLE = "enable"
    ADD_TAG = "add-tag"
    REMOVE_TAG = "remove-tag"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Why one client cannot be changed.

    :param client_id: empty where the account has no such client.
    """

    key: uuid.UUID
    client_id: str
    reason: str


class BulkRefused(DomainError):
    """Some of the clients cannot be changed; nothing was written."""

    def __init__(self, obstacles: Iterable[Obstacle]) -> None:
        super().__init__("some clients cannot be changed")
        self.obstacles = tuple(obstacles)


def find_clients(session: Session, *, account_id: str, keys: Iterable[uuid.UUID]) -> list[IdentityClient]:
    """Return those of the account's clients that have one of these keys, sorted by client ID."""
    return list(
        session.scalars(
            select(IdentityClient)
            .where(
                IdentityClient.id.in_(keys),
                is_of_account(account_id),
                IdentityClient.deleted_at.is_(None),
            )
            .order_by(IdentityClient.client_id_folded)
        )
    )


def change_clients(
    session: Session, *, author: Author, action: BulkAction, versions: Mapping[uuid.UUID, int], tag: str = ""
) -> int:
    """Change all of these clients, each with its own audit event; return how many of them changed.

    :param versions: the version of each client that the author saw, by its key.
    :param tag: the tag of ADD_TAG and REMOVE_TAG, as it was typed.
    :raises FieldError: the tag is not valid; the field is `tag`.
    :raises BulkRefused: one or more cannot be changed, and why; the caller must roll back.
    """
    one_tag = _check_tag(tag) if action in (BulkAction.ADD_TAG, BulkAction.REMOVE_TAG) else ""
    changed, obstacles = 0, []
    for key, version in versions.items():
        client_id = ""
        try:
            client = get_client(session, account_id=author.account_id, key=key)
            client_id, before = client.client_id, client.version
            changed += _change(session, author, action, client, version, one_tag).version != before
        except StaleVersion:
            obstacles.append(Obstacle(key, client_id, gettext("Somebody changed it after you opened the list.")))
        except NotFound:
            obstacles.append(Obstacle(key, client_id, gettext("It was deleted.")))
        except FieldError as error:
            obstacles.append(Obstacle(key, client_id, error.message))
    if obstacles:
        raise BulkRefused(obstacles)
    return changed


def _check_tag(text: str) -> str:
    """Return the tag in small letters.

    :raises FieldError: it is not valid, or missing.
    """
    try:
        tags = check_tags([text])
    except FieldError as error:
        raise FieldError("tag", error.message, error.summary) from None
    if not tags:
        raise FieldError("tag", gettext("Enter a tag of 1 to 30 characters."), gettext("Tag is missing: enter one"))
    [tag] = tags
    return tag


def _change(
    session: Session, author: Author, action: BulkAction, client: IdentityClient, version: int, tag: str
) -> IdentityClient:
    if action in (BulkAction.DISABLE, BulkAction.ENABLE):
        enabled = action is BulkAction.ENABLE
        return set_enabled(session, author=author, key=client.id, version=version, enabled=enabled)
    tags = client.tags | {tag} if action is BulkAction.ADD_TAG else client.tags - {tag}
    if tags == client.tags:
        return client
    check_version(session, client, version)
    if len(tags) > TAGS_MAX:
        raise FieldError("tags", gettext("It has %(number)s tags already.", number=format_number(TAGS_MAX)))
    with versioned_change(session, author, client, utc_now()):
        changes = {"tags": [sorted(client.tags), sorted(tags)]}
        client.tags = frozenset(tags)
        record_event(session, author, Action.EDITED, client, changes)
    return client
