"""Authenticate clients by assertions that they sign with a registered key (`private_key_jwt`, S11)."""

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import Engine, bindparam, exists, select, update

from ..database.fast_reads import FastReads
from ..database.models import Account, ClientKey, IdentityClient, SecretState, UsedAssertion, secret_state
from ..database.outcomes import AuthenticationFailure
from ..database.sqlite import without_waiting_for_disk
from ..database.unit_of_work import unit_of_work
from ..errors import RateLimited, Unavailable
from ..rate_limits.limits import RateLimits
from ..secrets.keys import KEYS_MAX
from ..secrets.public_keys import algorithm_of_key
from ..secrets.signatures import fits, verify_dummy, verify_signature
from .assertions import ClaimsCheck, ClientAssertion, check_claims
from .authenticator import (
    CLIENT_COLUMNS,
    AuthenticatedClient,
    AuthenticationFailed,
    TooManyFailures,
    client_columns,
    read_client,
)
from .used_assertions import UsedAssertions

LOG = logging.getLogger(__name__)
LONG_ASSERTIONS_NOTED = timedelta(days=1)
"""How often it is stored that a key signs assertions which only the standard profile accepts."""
_FAILURE_OF_STATE = {
    SecretState.ENDED: AuthenticationFailure.ENDED_KEY,
    SecretState.PAUSED: AuthenticationFailure.PAUSED_KEY,
}
_KEYS = (
    select(
        *client_columns(ClientKey.label),
        ClientKey.ends_at,
        ClientKey.paused_at,
        ClientKey.id,
        ClientKey.thumbprint,
        ClientKey.algorithm,
        ClientKey.public_jwk,
        ClientKey.long_assertion_at,
        Account.strict_assertions,
        exists().where(UsedAssertion.digest == bindparam("digest")),
    )
    .join(Account, Account.id == IdentityClient.account_id)
    .join(ClientKey, ClientKey.client_key == IdentityClient.id)
    .where(IdentityClient.client_id == bindparam("client_id"))
    .order_by(ClientKey.ends_at.is_(None).desc(), ClientKey.ends_at.desc(), ClientKey.id.desc())
    .limit(KEYS_MAX)
)


class _Candidate(NamedTuple):
    """A key of the client.

    :param failure: why the client may not use it at present, or None if it may.
    :param long_assertion_at: when it last signed an assertion that only the standard profile accepts.
    :param needs_strict: whether the account accepts assertions of the strict profile only.
    :param is_used: whether the assertion was used before.
    """

    caller: AuthenticatedClient
    failure: AuthenticationFailure | None
    row_id: uuid.UUID
    thumbprint: str
    algorithm: str
    jwk: str
    long_assertion_at: datetime | None
    needs_strict: bool
    is_used: bool


class KeyAuthenticator:
    """Authenticates clients by assertions.

    The work of a refusal depends only on the assertion that was sent: one statement, and as many verifications of its
    algorithm as a client has keys at most (P8).

    :param issuer: our issuer.
    :param token_endpoint: the URL of the token endpoint, which the standard profile accepts as audience too.
    """

    def __init__(
        self, engine: Engine, reads: FastReads, rate_limits: RateLimits, *, issuer: str, token_endpoint: str
    ) -> None:
        self._engine = without_waiting_for_disk(engine)
        self._reads = reads
        self._keys = reads.prepare(_KEYS)
        self._rate_limits = rate_limits
        self._issuer = issuer
        self._audiences = frozenset({issuer, token_endpoint})
        self._used = UsedAssertions(engine, reads)

    def authenticate(self, assertion: ClientAssertion, *, address: str | None, now: datetime) -> AuthenticatedClient:
        """Return the client that signed an assertion, as it is stored at this moment, and note that it was used.

        :param address: the caller's address; None if it is unknown, which is outside every network (A8).
        :raises AuthenticationFailed: no key of the client verifies it, its claims break a rule, it was used before, or
            the client may not use the key from this address.
        :raises TooManyFailures: this one failed, and too many did before (D2).
        :raises Unavailable: the database is unreachable or cannot be written (D8).
        """
        if assertion.algorithm is None:
            raise AuthenticationFailed(AuthenticationFailure.ASSERTION_ALGORITHM)
        checked = check_claims(assertion, self._issuer, self._audiences, now)
        rows = self._reads.rows(self._keys, client_id=assertion.client_id, digest=assertion.digest)
        candidates = [_candidate(row, address, now) for row in rows]
        found = _verify(candidates, assertion, checked)
        if found is None:
            reason = AuthenticationFailure.WRONG_KEY if candidates else AuthenticationFailure.UNKNOWN
            raise self._refusal(reason, candidates[0].caller.key if candidates else None, None, assertion, address)
        failure = _failure_of(found, checked)
        if failure is None and not self._used.add(assertion.digest, assertion.expires_at, now):
            failure = AuthenticationFailure.ASSERTION_USED  # by another request at the same time
        if failure is not None:
            raise self._refusal(failure, found.caller.key, found.caller.secret_label, assertion, address)
        if not checked.is_strict:
            self._note_long_assertion(found, now)
        return found.caller

    def _refusal(
        self,
        reason: AuthenticationFailure,
        client_key: uuid.UUID | None,
        label: str | None,
        assertion: ClientAssertion,
        address: str | None,
    ) -> AuthenticationFailed | TooManyFailures:
        """Count a failed authentication, and return its error, or that of too many failures before (D2)."""
        try:
            self._rate_limits.check_failures(assertion.client_id, address)
        except RateLimited as limited:
            return TooManyFailures(limited.retry_after_seconds, client_key)
        if self._rate_limits.count_failure(assertion.client_id, address):
            LOG.warning(
                "authentication throttled", extra={"client_key": str(client_key or "unknown"), "address": address}
            )
        return AuthenticationFailed(reason, client_key, label)

    def _note_long_assertion(self, candidate: _Candidate, now: datetime) -> None:
        noted_at = candidate.long_assertion_at
        if noted_at is not None and now - noted_at < LONG_ASSERTIONS_NOTED:
            return
        try:
            with unit_of_work(self._engine) as session:
                session.execute(
                    update(ClientKey)
                    .where(ClientKey.id == candidate.row_id)
                    .values(long_assertion_at=now)
                    .execution_options(synchronize_session=False)
                )
        except Unavailable:
            return  # the next assertion tries again


def _candidate(row: Sequence[Any], address: str | None, now: datetime) -> _Candidate:
    """Return one key of the client, from a row of `_KEYS`."""
    client, failure = read_client(row, address)
    ends_at, paused_at, *key = row[CLIENT_COLUMNS:]
    return _Candidate(client, failure or _FAILURE_OF_STATE.get(secret_state(ends_at, paused_at, now)), *key)


def _verify(candidates: Iterable[_Candidate], assertion: ClientAssertion, checked: ClaimsCheck) -> _Candidate | None:
    """Return the first key that verifies the signature, None if none does.

    Unless the assertion is accepted, this costs exactly `KEYS_MAX` verifications.
    """
    algorithm = algorithm_of_key(assertion.algorithm or "")
    found, verified = None, 0
    for candidate in sorted(candidates, key=lambda each: each.thumbprint != assertion.key_id):
        if candidate.algorithm != algorithm or not fits(algorithm, candidate.jwk, assertion.signature):
            continue
        verified += 1
        if verify_signature(algorithm, candidate.jwk, assertion.message, assertion.signature) and found is None:
            found = candidate
            if _failure_of(candidate, checked) is None:
                return candidate
    for _ in range(KEYS_MAX - verified):
        verify_dummy(algorithm, assertion.message, assertion.signature)
    return found


def _failure_of(candidate: _Candidate, checked: ClaimsCheck) -> AuthenticationFailure | None:
    """Return why an assertion with a right signature is refused, None if it is accepted."""
    failure = candidate.failure or checked.failure
    if failure is None and candidate.needs_strict and not checked.is_strict:
        failure = AuthenticationFailure.ASSERTION_NOT_STRICT
    if failure is None and candidate.is_used:
        failure = AuthenticationFailure.ASSERTION_USED
    return failure
