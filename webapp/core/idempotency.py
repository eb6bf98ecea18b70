"""Store the responses to requests with an idempotency key, so that a repeated request changes nothing again."""

import hashlib
import hmac
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from .database.errors import violated_constraint
from .database.models import IdempotentResponse, utc_now
from .errors import DomainError

KEPT_HOURS = 24


class KeyReused(DomainError):
    """The idempotency key was used for another request within 24 hours."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """The key of a request, and the request for which it is used.

    :param client_key: the client that sent the request; another client's keys are others.
    :param fingerprints: digests of the request, keyed by each pepper, the newest first: its body may hold a secret.
    """

    client_key: uuid.UUID
    digest: str
    fingerprints: Collection[str]


def make_key(client_key: uuid.UUID, key: str, request: bytes, peppers: Collection[bytes]) -> IdempotencyKey:
    """Return the key of a request.

    :param request: method, path and body.
    """
    digests = [hmac.digest(pepper, b"idempotency\0" + request, "sha256").hex() for pepper in peppers]
    return IdempotencyKey(client_key, hashlib.sha256(key.encode()).hexdigest(), digests)


def claim(session: Session, key: IdempotencyKey) -> IdempotentResponse | None:
    """Claim a key in the transaction of the change; return the response of the request that used it before, or None.

    A concurrent request with the same key waits until this transaction ends.

    :raises KeyReused: it was used for another request.
    """
    _delete_expired(session, utc_now(), IdempotentResponse.client_key == key.client_key)
    try:
        with session.begin_nested():
            session.add(
                IdempotentResponse(
                    client_key=key.client_key,
                    key_digest=key.digest,
                    fingerprint=next(iter(key.fingerprints)),
                    created_at=utc_now(),
                    status=0,
                    headers={},
                    body="",
                )
            )
    except IntegrityError as error:
        if violated_constraint(error) != "pk_identity_client_idempotent_responses":
            raise
        found = session.get_one(IdempotentResponse, (key.client_key, key.digest))
        if found.fingerprint not in key.fingerprints:
            raise KeyReused from None
        return found
    return None


def store_response(
    session: Session, key: IdempotencyKey, *, status: int, headers: Mapping[str, str], body: str
) -> None:
    """Store the response to the request that claimed a key.

    :param body: without a secret.
    """
    claimed = session.get_one(IdempotentResponse, (key.client_key, key.digest))
    claimed.status, claimed.headers, claimed.body = status, dict(headers), body


def purge_responses(session: Session, now: datetime) -> None:
    """Delete the stored responses of more than 24 hours ago."""
    _delete_expired(session, now)


def _delete_expired(session: Session, now: datetime, *conditions: Any) -> None:
    expired = IdempotentResponse.created_at <= now - timedelta(hours=KEPT_HOURS)
    session.execute(delete(IdempotentResponse).where(expired, *conditions).execution_options(synchronize_session=False))
