"""The trail: who did what, when, from where. Written in the transaction of the change itself (L1)."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import inspect, select
from sqlalchemy.orm import Session

from .models import Event, IdentityClient, utc_now
from .throttle import Throttles


class Action(StrEnum):
    """What an event tells; the value is stored, so it never changes its meaning."""

    CREATED = "created"
    EDITED = "edited"
    ENABLED = "enabled"
    DISABLED = "disabled"
    DELETED = "deleted"
    SECRET_CHANGED = "secret changed"  # noqa: S105 - the name of an action
    SECRET_ENDED = "secret ended"  # noqa: S105 - the name of an action
    SECRET_PAUSED = "secret paused"  # noqa: S105 - the name of an action
    SECRET_RESUMED = "secret resumed"  # noqa: S105 - the name of an action
    END_DATE_SET = "end date set"
    NETWORKS_CHANGED = "networks changed"
    REFUSED = "refused"
    """Somebody tried what they may not do, or came too late."""
    EXPORTED = "exported"
    TOKENS_REVOKED = "tokens revoked"
    KEY_CREATED = "key created"
    KEY_ROTATED = "key rotated"
    KEY_WITHDRAWN = "key withdrawn"
    RESOURCE_SERVER_ADDED = "resource server added"
    RESOURCE_SERVER_REMOVED = "resource server removed"
    PURGED = "purged"


class Refusal(StrEnum):
    """Why somebody was refused; the value is stored, so it never changes."""

    FORBIDDEN = "not allowed"
    """They have no role for it."""
    FEATURE_OFF = "feature off"
    OTHER_SITE = "other site"
    FORM_EXPIRED = "form expired"
    """The CSRF token was missing, or not theirs."""
    STALE_VERSION = "stale version"
    SIGN_IN_TOO_OLD = "sign-in too old"
    THROTTLED = "throttled"


_RECORDED = "identity_clients_events"


@dataclass(frozen=True, slots=True)
class Author:
    """Who is behind a change.

    :param account_id: the account to which they are bound: every query of theirs is (A3).
    :param address: the address that they came from, None for a command.
    :param request_id: the request's id, as in the log.
    """

    actor_id: str
    label: str
    account_id: str
    address: str | None = None
    request_id: str | None = None


def record(
    session: Session, author: Author, action: Action, client: IdentityClient | None, changes: Mapping[str, Any]
) -> None:
    """Add one event to the transaction under way.

    :param client: what it is about; None for the account as a whole.
    :param changes: per field `[before, after]`; never a secret or a hash.
    """
    event = Event(
        at=utc_now(),
        account_id=author.account_id,
        actor_id=author.actor_id,
        actor_label=author.label,
        action=action.value,
        client_key=client.id if client else None,
        client_id=client.client_id if client else None,
        changes=dict(changes),
        address=author.address,
        request_id=author.request_id,
    )
    session.add(event)
    session.info.setdefault(_RECORDED, []).append(event)


def recorded(session: Session) -> list[Event]:
    """Return the events that this session has recorded, but for those that a roll-back took back."""
    return [event for event in session.info.get(_RECORDED, []) if inspect(event).persistent]


def record_refusal(
    session: Session,
    *,
    author: Author,
    refusal: Refusal,
    attempt: str,
    key: uuid.UUID | None,
    throttles: Throttles,
) -> None:
    """Record that somebody was refused (L2), 20 times within an hour for each of them and each kind.

    :param attempt: what they tried: the last part of the endpoint's name, such as `edit`.
    :param key: the client that it was about; another account's goes unnamed (A3).
    """
    if not throttles.may_record_refusal(author.actor_id, refusal):
        return
    client = None
    if key is not None:
        own = (IdentityClient.id == key, IdentityClient.account_id == author.account_id)
        client = session.scalar(select(IdentityClient).where(*own))
    record(session, author, Action.REFUSED, client, {"refusal": [None, refusal], "attempt": [None, attempt]})


def record_export(
    session: Session,
    *,
    author: Author,
    filters: Mapping[str, str],
    throttles: Throttles,
    client: IdentityClient | None = None,
) -> None:
    """Record that somebody exports a trail, before they get it (L7).

    :param filters: what was asked for, as in the address.
    :param client: whose trail it is; None: the account's.
    :raises Throttled: they exported too often within the hour (D5).
    """
    throttles.count_export(author.actor_id)
    record(session, author, Action.EXPORTED, client, {"filters": [None, dict(filters)]})


def record_for_platform(session: Session, actor: str, action: Action, changes: Mapping[str, Any]) -> None:
    """Add an event that stands in no account's trail, such as a change of signing key.

    :param actor: who is behind it: the user who gave a command, or what of ours did it by itself.
    """
    session.add(
        Event(
            at=utc_now(),
            account_id=None,
            actor_id=actor[:200],
            actor_label=actor[:200],
            action=action.value,
            changes=dict(changes),
        )
    )
