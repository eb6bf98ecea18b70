"""Authenticate clients and resource servers by ID and secret."""

import logging
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Engine, bindparam, select, update
from sqlalchemy.orm import InstrumentedAttribute

from ..addresses import is_allowed
from ..credentials import is_well_formed
from ..database.fast_reads import FastReads
from ..database.models import Account, ClientSecret, IdentityClient, ResourceServer, SecretState, secret_state
from ..database.outcomes import AuthenticationFailure
from ..database.unit_of_work import unit_of_work
from ..errors import DomainError, RateLimited, Unavailable
from ..rate_limits.limits import RateLimits
from ..secrets.argon2_pool import run_in_pool
from ..secrets.generation import Secret
from ..secrets.hashing import HashScheme, SecretHasher, StoredHash, scheme_of
from .legacy_hashes import LegacyHashes
from .verified_secrets import VerifiedSecrets

LOG = logging.getLogger(__name__)
COMPARISONS_PER_FAILURE = 2
"""As many as a client has secrets that have not ended (S7); dummies make up for missing ones (P8)."""
_FAILURE_OF_STATE = {
    SecretState.ENDED: AuthenticationFailure.ENDED_SECRET,
    SecretState.PAUSED: AuthenticationFailure.PAUSED_SECRET,
}


class AuthenticationFailed(DomainError):
    """The client did not authenticate.

    :param client_key: the client whose ID was sent, or None if the ID is unknown.
    :param secret_label: the label of the secret or key that matched but may not be used, or None if none matched.
    """

    def __init__(
        self, reason: AuthenticationFailure, client_key: uuid.UUID | None = None, secret_label: str | None = None
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.client_key = client_key
        self.secret_label = secret_label


class TooManyFailures(RateLimited):
    """Too many authentications failed before; this one was refused without a comparison by argon2id (D2).

    :param client_key: the client whose ID was sent, or None if the ID is unknown.
    """

    def __init__(self, retry_after_seconds: int, client_key: uuid.UUID | None) -> None:
        super().__init__(retry_after_seconds)
        self.client_key = client_key


class AuthenticatedClient(NamedTuple):
    """A client that authenticated, with what a token needs of it and of its account.

    :param secret_label: the label of the secret or key by which it authenticated.
    """

    key: uuid.UUID
    client_id: str
    account_id: str
    token_duration_minutes: int
    roles: frozenset[str]
    grantable_roles: frozenset[str] | None
    management_api_enabled: bool
    secret_label: str
    token_generation: int


Caller = TypeVar("Caller", bound=AuthenticatedClient | None, covariant=True)


class _Candidate(NamedTuple, Generic[Caller]):
    """A stored secret that the sent one is compared with.

    :param caller: whom it authenticates: a client, or None for a resource server.
    :param failure: why it may not be used at present, or None if it may (S8).
    :param table: the table of its row.
    :param row_id: the primary key of its row.
    """

    caller: Caller
    stored: StoredHash
    failure: AuthenticationFailure | None
    table: type[ClientSecret | ResourceServer]
    row_id: uuid.UUID


def client_columns(label: InstrumentedAttribute[str]) -> tuple[ColumnElement[Any], ...]:
    """Return the columns of a client and its account that `read_client` takes, for a join with its credentials.

    :param label: the column with the label of the secret or key.
    """
    columns: tuple[Any, ...] = (
        IdentityClient.id,
        IdentityClient.client_id,
        IdentityClient.account_id,
        IdentityClient.token_duration_minutes,
        IdentityClient.roles,
        Account.grantable_roles,
        Account.management_api_enabled,
        label,
        IdentityClient.token_generation,
        IdentityClient.enabled,
        IdentityClient.deleted_at,
        Account.feature_enabled,
        IdentityClient.allowed_networks,
    )
    return columns


def read_client(row: Sequence[Any], address: str | None) -> tuple[AuthenticatedClient, AuthenticationFailure | None]:
    """Return the client of a row that begins with `client_columns`, and why it may not authenticate, or None."""
    *client, enabled, deleted_at, feature_enabled, allowed_networks = row[:CLIENT_COLUMNS]
    failure = None
    if deleted_at is not None:
        failure = AuthenticationFailure.DELETED
    elif not enabled:
        failure = AuthenticationFailure.DISABLED
    elif not feature_enabled:
        failure = AuthenticationFailure.ACCOUNT_OFF
    elif not is_allowed(allowed_networks, address):
        failure = AuthenticationFailure.ADDRESS_NOT_ALLOWED
    return AuthenticatedClient._make(client), failure


CLIENT_COLUMNS = len(client_columns(ClientSecret.label))
"""The number of `client_columns`."""
# At most two secrets of a client have not ended (S7). Those that end last come first, so two rows contain them.
_CLIENTS = (
    select(
        *client_columns(ClientSecret.label),
        ClientSecret.id,
        ClientSecret.ends_at,
        ClientSecret.paused_at,
        ClientSecret.secret_hash,
        ClientSecret.pepper_version,
        ClientSecret.legacy_scheme,
    )
    .join(Account, Account.id == IdentityClient.account_id)
    .join(ClientSecret, ClientSecret.client_key == IdentityClient.id)
    .where(IdentityClient.client_id == bindparam("client_id"))
    .order_by(ClientSecret.ends_at.is_(None).desc(), ClientSecret.ends_at.desc(), ClientSecret.id.desc())
    .limit(COMPARISONS_PER_FAILURE)
)
_RESOURCE_SERVERS = select(
    ResourceServer.id, ResourceServer.secret_hash, ResourceServer.pepper_version, ResourceServer.legacy_scheme
).where(ResourceServer.resource_server_id == bindparam("client_id"))


class Authenticator:
    """Authenticates clients and resource servers by ID and secret.

    The work of a refusal depends only on the form of the secret that was sent (P8). Any secret is compared by HMAC; one
    in another form than that of generated ones also costs two argon2id computations, whatever is stored. So does a
    generated one as long as there are legacy hashes, since these may be argon2id hashes of generated secrets.
    """

    def __init__(self, engine: Engine, reads: FastReads, hasher: SecretHasher, rate_limits: RateLimits) -> None:
        self._engine = engine
        self._reads = reads
        self._clients = reads.prepare(_CLIENTS)
        self._resource_servers = reads.prepare(_RESOURCE_SERVERS)
        self._hasher = hasher
        self._rate_limits = rate_limits
        self._verified = VerifiedSecrets()
        self._legacy_hashes = LegacyHashes(engine)

    def authenticate(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient:
        """Return the client that has exactly this ID and this secret, as it is stored at this moment.

        A refusal of well-formed values costs one statement, one of malformed values neither statement nor hash (P6).

        :param address: the caller's address; None if it is unknown, which is outside every network (A8).
        :raises AuthenticationFailed: there is no such client, or it may not use this secret from this address.
        :raises TooManyFailures: too many authentications failed before (D2).
        :raises Unavailable: the database is unreachable (D8), or too many argon2id computations are under way (D7).
        """
        _check_syntax(client_id, secret)
        rows = self._reads.rows(self._clients, client_id=client_id)
        candidates = [_client_candidate(row, address, now) for row in rows]
        return self._authenticate(candidates, client_id, secret, address)

    def authenticate_caller(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient | None:
        """Return the client as `authenticate` does, or None for a resource server, for introspection (T10).

        No ID is both a client's and a resource server's. A refusal costs two statements.
        """
        _check_syntax(client_id, secret)
        rows = self._reads.rows(self._clients, client_id=client_id)
        servers = self._reads.rows(self._resource_servers, client_id=client_id)
        candidates: list[_Candidate[AuthenticatedClient | None]] = [
            _client_candidate(row, address, now) for row in rows
        ]
        candidates = candidates or [_resource_server_candidate(row) for row in servers]
        return self._authenticate(candidates, client_id, secret, address)

    def _authenticate(
        self, candidates: Sequence[_Candidate[Caller]], client_id: str, secret: Secret, address: str | None
    ) -> Caller:
        """Return the caller of the first candidate that has this secret and may be used.

        HMAC and the cache of verified secrets come first. argon2id follows only after a check of the rate limits, and
        runs in the bounded pool.

        :raises AuthenticationFailed: there is no such candidate; the failure is counted.
        :raises TooManyFailures: too many authentications failed before (D2).
        """
        matching = self._match_without_argon2(candidates, secret)
        usable = _first_usable(matching)
        if usable is None:
            for _ in range(COMPARISONS_PER_FAILURE - len(candidates)):
                self._hasher.compute_dummy(secret, HashScheme.HMAC_SHA256)
            # Before argon2id: refuse while too many have failed.
            self._check_failures(candidates, client_id, address)
            scheme = scheme_of(secret)
            if scheme is HashScheme.ARGON2ID or self._legacy_hashes.exist():

                def match() -> _Candidate[Caller]:
                    self._check_failures(candidates, client_id, address)  # others may have failed during the wait
                    found = self._match_by_argon2(candidates, secret, scheme)
                    return self._require_usable(candidates, [*matching, *found], client_id, address)

                usable = run_in_pool(match)
            else:
                usable = self._require_usable(candidates, matching, client_id, address)
            stored = self._renew_hash(usable, secret)
            if stored.scheme is HashScheme.ARGON2ID:
                self._verified.add(secret, stored)
        elif usable.stored.scheme is HashScheme.HMAC_SHA256:
            self._renew_hash(usable, secret)
        return usable.caller

    def _match_without_argon2(
        self, candidates: Sequence[_Candidate[Caller]], secret: Secret
    ) -> list[_Candidate[Caller]]:
        """Return the candidates that the secret matches by HMAC, or matched before by argon2id.

        The search ends with the first that may be used.
        """
        matching = []
        for candidate in candidates:
            if candidate.stored.scheme is HashScheme.HMAC_SHA256:
                matches = self._hasher.verify(secret, candidate.stored)
            else:
                # Not for one that may not be used: the cache must not make its refusal cheaper (P8).
                matches = candidate.failure is None and self._verified.contains(secret, candidate.stored)
            if matches:
                matching.append(candidate)
                if candidate.failure is None:
                    break
        return matching

    def _match_by_argon2(
        self, candidates: Sequence[_Candidate[Caller]], secret: Secret, scheme: HashScheme
    ) -> list[_Candidate[Caller]]:
        """Return the candidates that the secret matches by argon2id, up to the first that may be used.

        Unless there is one, this costs exactly `COMPARISONS_PER_FAILURE` computations.
        """
        matching, compared = [], 0
        for candidate in candidates:
            stored = candidate.stored
            if stored.scheme is HashScheme.ARGON2ID and (scheme is HashScheme.ARGON2ID or stored.is_legacy):
                compared += 1
                if self._hasher.verify(secret, stored):
                    matching.append(candidate)
                    if candidate.failure is None:
                        return matching
        for _ in range(COMPARISONS_PER_FAILURE - compared):
            self._hasher.compute_dummy(secret, HashScheme.ARGON2ID)
        return matching

    def _require_usable(
        self,
        candidates: Sequence[_Candidate[Caller]],
        matching: Sequence[_Candidate[Caller]],
        client_id: str,
        address: str | None,
    ) -> _Candidate[Caller]:
        """Return the first matching candidate that may be used, or count a failed authentication and raise it."""
        usable = _first_usable(matching)
        if usable is not None:
            return usable
        failed = _failure(candidates, matching)
        if self._rate_limits.count_failure(client_id, address):
            client_key = str(failed.client_key) if failed.client_key else "unknown"
            LOG.warning("authentication throttled", extra={"client_key": client_key, "address": address})
        raise failed

    def _check_failures(self, candidates: Sequence[_Candidate[Any]], client_id: str, address: str | None) -> None:
        try:
            self._rate_limits.check_failures(client_id, address)
        except RateLimited as limited:
            caller = candidates[0].caller if candidates else None
            raise TooManyFailures(limited.retry_after_seconds, caller.key if caller else None) from None

    def _renew_hash(self, candidate: _Candidate[Any], secret: Secret) -> StoredHash:
        """Replace a hash of an older scheme, cost or pepper, which needs the secret; return the hash as it is now."""
        stored = candidate.stored
        if not self._hasher.needs_renewal(stored):
            return stored
        try:
            renewed = self._hasher.hash(secret)
            with unit_of_work(self._engine) as session:
                session.execute(
                    update(candidate.table)
                    .where(candidate.table.id == candidate.row_id, candidate.table.secret_hash == stored.value)
                    .values(secret_hash=renewed.value, pepper_version=renewed.pepper_version, legacy_scheme=False)
                    .execution_options(synchronize_session=False)
                )
        except Unavailable:
            return stored  # the next success tries again
        return renewed


def _check_syntax(client_id: str, secret: Secret) -> None:
    if not (is_well_formed(client_id) and is_well_formed(secret.reveal())):
        raise AuthenticationFailed(AuthenticationFailure.MALFORMED)


def _client_candidate(row: Sequence[Any], address: str | None, now: datetime) -> _Candidate[AuthenticatedClient]:
    """Return one secret of the client, from a row of `_CLIENTS`."""
    client, failure = read_client(row, address)
    secret_id, ends_at, paused_at, *stored = row[CLIENT_COLUMNS:]
    failure = failure or _FAILURE_OF_STATE.get(secret_state(ends_at, paused_at, now))
    return _Candidate(client, StoredHash(*stored), failure, ClientSecret, secret_id)


def _resource_server_candidate(row: Sequence[Any]) -> _Candidate[None]:
    """Return the secret of the resource server, from a row of `_RESOURCE_SERVERS`."""
    row_id, *stored = row
    return _Candidate(None, StoredHash(*stored), None, ResourceServer, row_id)


def _first_usable(matching: Iterable[_Candidate[Caller]]) -> _Candidate[Caller] | None:
    return next((candidate for candidate in matching if candidate.failure is None), None)


def _failure(candidates: Sequence[_Candidate[Any]], matching: Sequence[_Candidate[Any]]) -> AuthenticationFailed:
    """Return the error of a secret that matches no candidate, or only `matching` ones that may not be used."""
    if not candidates:
        return AuthenticationFailed(AuthenticationFailure.UNKNOWN)
    caller: AuthenticatedClient | None
    if matching and matching[-1].failure is not None:
        caller, reason = matching[-1].caller, matching[-1].failure
        return AuthenticationFailed(reason, caller.key if caller else None, caller.secret_label if caller else None)
    caller = candidates[0].caller
    return AuthenticationFailed(AuthenticationFailure.WRONG_SECRET, caller.key if caller else None)
