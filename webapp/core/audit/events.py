"""Record audit events: who did what, when, from where, in the transaction of the change itself (L1)."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, inspect, select
from sqlalchemy.orm import Session

from ..database.models import AuditEvent, IdentityClient, utc_now
from ..database.unit_of_work import after_commit, before_commit
from ..rate_limits.limits import RateLimits
from . import signals
from .actions import Action, RefusalReason
from .before_change import call_hooks
from .chain import PLATFORM, chain_waiting

_OUTBOX = "identity_clients_outbox"
_TO_CHAIN = "identity_clients_accounts_to_chain"
Outbox = Callable[[Session, AuditEvent, IdentityClient | None], None]
"""A function that writes what follows from an event into its transaction."""


def with_outbox(engine: Engine, outbox: Outbox) -> Engine:
    """Return a copy of an engine, on the same pool, whose sessions call this function for each event of an account."""
    return engine.execution_options(**{_OUTBOX: outbox})


@dataclass(frozen=True, slots=True)
class Author:
    """The actor of a change, with the request in which they make it.

    :param account_id: the account to which everything that they read and change is restricted (A3).
    :param address: the address of the request, None for a command.
    :param request_id: the ID of the request, as in the log.
    :param grantable_roles: the API roles that the account may grant at this moment; None means all (A4).
    """

    actor_id: str
    label: str
    account_id: str
    address: str | None = None
    request_id: str | None = None
    grantable_roles: frozenset[str] | None = None


def record_event(
    session: Session, author: Author, action: Action, client: IdentityClient | None, changes: Mapping[str, Any]
) -> None:
    """Add an event and its notifications to the current transaction, and send its signals after the commit.

    The host's functions that may refuse a change of a client are called before.

    :param client: the client that it concerns; None if it concerns the account as a whole.
    :param changes: per field `[before, after]`; never a secret or a hash.
    :raises FieldError: the host refuses the change.
    """
    if client is not None and action in signals.CHANGES:
        call_hooks(
            session,
            client,
            action=action.value,
            account_id=author.account_id,
            actor_id=author.actor_id,
            actor_label=author.label,
            changes=changes,
        )
    event = AuditEvent(
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
    _add(session, event)
    outbox: Outbox | None = session.get_bind().get_execution_options().get(_OUTBOX)
    if outbox is not None:
        outbox(session, event, client)
    after_commit(session, _send_signals(event))


def record_refusal(
    session: Session,
    *,
    author: Author,
    refusal: RefusalReason,
    attempt: str,
    key: uuid.UUID | None,
    rate_limits: RateLimits,
) -> None:
    """Record that an attempt of the author was refused (L2), at most 20 times an hour for each author and reason.

    :param attempt: the last part of the endpoint's name, such as `edit`.
    :param key: the client that it concerned; one of another account is left out of the event (A3).
    """
    if not rate_limits.may_record_refusal(author.actor_id, refusal):
        return
    client = None
    if key is not None:
        own = (IdentityClient.id == key, IdentityClient.account_id == author.account_id)
        client = session.scalar(select(IdentityClient).where(*own))
    record_event(session, author, Action.REFUSED, client, {"refusal": [None, refusal], "attempt": [None, attempt]})


def record_export(
    session: Session,
    *,
    author: Author,
    filters: Mapping[str, str],
    rate_limits: RateLimits,
    client: IdentityClient | None = None,
    of: str | None = None,
) -> None:
    """Record an export; call it before the export begins (L7).

    :param filters: the filters of the export, as in the URL.
    :param client: the client whose rows are exported; None: the whole account's.
    :param of: what is exported; None: the audit log.
    :raises RateLimited: the author has used up the exports of the hour (D5).
    """
    rate_limits.count_export(author.actor_id)
    record_event(
        session,
        author,
        Action.EXPORTED,
        client,
        {"filters": [None, dict(filters)], **({"of": [None, of]} if of else {})},
    )


def record_platform_event(session: Session, actor: str, action: Action, changes: Mapping[str, Any]) -> None:
    """Add an event that belongs to no account, such as a change of signing key.

    :param actor: the user who ran a command, or the name of the automatic task.
    """
    _add(
        session,
        AuditEvent(
            at=utc_now(),
            account_id=None,
            actor_id=actor[:200],
            actor_label=actor[:200],
            action=action.value,
            changes=dict(changes),
        ),
    )


def _add(session: Session, event: AuditEvent) -> None:
    """Add an event to the transaction, and chain it at the end."""
    session.add(event)
    session.info.setdefault(_TO_CHAIN, set()).add(event.account_id or PLATFORM)
    before_commit(session, _chain)


def _chain(session: Session) -> None:
    # The locks of the chains are the last of a transaction, and always in this order, so that no deadlock arises.
    for account_id in sorted(session.info.pop(_TO_CHAIN), key=lambda account: (account == PLATFORM, account)):
        chain_waiting(session, account_id)


def _send_signals(event: AuditEvent) -> Callable[[Engine], None]:
    def send(engine: Engine) -> None:
        if not inspect(event).transient:  # else a savepoint was rolled back
            signals.send_event_signals(engine, event)

    return send
