"""The one function that authenticates a client, and the memory that spares a busy client the cost of a hash."""

import logging
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Engine, bindparam, select, update

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
from ..secrets.hashing import SecretHasher, StoredHash
from .verified_secrets import VerifiedSecrets

LOG = logging.getLogger(__name__)
HASHES_PER_FAILURE = 2
_REASON_OF_STATE = {
    SecretState.ENDED: AuthenticationFailure.ENDED_SECRET,
    SecretState.PAUSED: AuthenticationFailure.PAUSED_SECRET,
}


class AuthenticationFailed(DomainError):
    """The client did not authenticate.

    :param client_key: the client whose ID was sent; None if nobody has it.
    :param secret_label: the secret that matched, although it may not be used; None if none did.
    """

    def __init__(
        self, reason: AuthenticationFailure, client_key: uuid.UUID | None = None, secret_label: str | None = None
    ) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.client_key = client_key
        self.secret_label = secret_label


class TooManyFailures(RateLimited):
    """Too many authentications failed; this one was not looked at, whatever its secret (D2).

    :param client_key: the client whose ID was sent; None if nobody has it.
    """

    def __init__(self, retry_after_seconds: int, client_key: uuid.UUID | None) -> None:
        super().__init__(retry_after_seconds)
        self.client_key = client_key


class AuthenticatedClient(NamedTuple):
    """A client that showed its secret, with what a token needs of it and of its account."""

    key: uuid.UUID
    client_id: str
    account_id: str
    token_duration_minutes: int
    roles: frozenset[str]
    grantable_roles: frozenset[str] | None
    secret_label: str
    token_generation: int


Caller = TypeVar("Caller", bound=AuthenticatedClient | None, covariant=True)


class _Candidate(NamedTuple, Generic[Caller]):
    """A stored secret that may be the one that was sent.

    :param who: comes in with it: a client, or None for a resource server.
    :param against: why nobody may come in with it at this moment, None if one may (S8).
    :param table: where its hash stands, in the row `secret_id`.
    """

    who: Caller
    stored: StoredHash
    against: AuthenticationFailure | None
    table: type[ClientSecret | ResourceServer]
    secret_id: uuid.UUID


# At most two secrets of a client are not ended (S7). Those that end last come first, so two rows hold all of them.
_CLIENTS = (
    select(
        IdentityClient.id,
        IdentityClient.client_id,
        IdentityClient.account_id,
        IdentityClient.token_duration_minutes,
        IdentityClient.roles,
        Account.grantable_roles,
        ClientSecret.label,
        IdentityClient.token_generation,
        IdentityClient.enabled,
        IdentityClient.deleted_at,
        Account.feature_enabled,
        IdentityClient.allowed_networks,
        ClientSecret.id,
        ClientSecret.secret_hash,
        ClientSecret.pepper_version,
        ClientSecret.ends_at,
        ClientSecret.paused_at,
    )
    .join(Account, Account.id == IdentityClient.account_id)
    .join(ClientSecret, ClientSecret.client_key == IdentityClient.id)
    .where(IdentityClient.client_id == bindparam("client_id"))
    .order_by(ClientSecret.ends_at.is_(None).desc(), ClientSecret.ends_at.desc(), ClientSecret.id.desc())
    .limit(HASHES_PER_FAILURE)
)


_CLIENT_COLUMNS = len(AuthenticatedClient._fields) + 4
_RESOURCE_SERVERS = select(ResourceServer.id, ResourceServer.secret_hash, ResourceServer.pepper_version).where(
    ResourceServer.resource_server_id == bindparam("client_id")
)


def _client_candidate(row: Sequence[Any], address: str | None, now: datetime) -> _Candidate[AuthenticatedClient]:
    """Return one secret of the client that was named, from a row of `_CLIENTS`."""
    *client, enabled, deleted_at, feature_enabled, allowed_networks = row[:_CLIENT_COLUMNS]
    secret_id, secret_hash, pepper_version, ends_at, paused_at = row[_CLIENT_COLUMNS:]
    against: AuthenticationFailure | None
    if deleted_at is not None:
        against = AuthenticationFailure.DELETED
    elif not enabled:
        against = AuthenticationFailure.DISABLED
    elif not feature_enabled:
        against = AuthenticationFailure.ACCOUNT_OFF
    elif not is_allowed(allowed_networks, address):
        against = AuthenticationFailure.ADDRESS_NOT_ALLOWED
    else:
        against = _REASON_OF_STATE.get(secret_state(ends_at, paused_at, now))
    stored = StoredHash(secret_hash, pepper_version)
    return _Candidate(AuthenticatedClient._make(client), stored, against, ClientSecret, secret_id)


def _resource_server_candidate(row: Sequence[Any]) -> _Candidate[None]:
    """Return the secret of the resource server that was named, from a row of `_RESOURCE_SERVERS`."""
    key, secret_hash, pepper_version = row
    return _Candidate(None, StoredHash(secret_hash, pepper_version), None, ResourceServer, key)


class Authenticator:
    """Authenticates clients by ID and secret."""

    def __init__(self, engine: Engine, reads: FastReads, hasher: SecretHasher, rate_limits: RateLimits) -> None:
        self._engine = engine
        self._reads = reads
        self._clients = self._reads.prepare(_CLIENTS)
        self._resource_servers = self._reads.prepare(_RESOURCE_SERVERS)
        self._hasher = hasher
        self._throttles = rate_limits
        self._verified = VerifiedSecrets()

    def authenticate(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient:
        """Return the client that has exactly this ID and this secret, as it stands at this moment.

        Every refusal of well-formed values costs one statement and two argon2id computations, whatever its reason
        (P8); one of malformed values costs neither (P6).

        :param address: where the caller is; None where nobody knows, which is outside every network (A8).
        :raises Refused: nobody may come in with these.
        :raises TooManyFailures: too many were refused before; no hash was computed (D2).
        :raises Unavailable: the database is out of reach (D8), or too many hashes are being computed (D7).
        """
        _check_form(client_id, secret)
        rows = self._reads.rows(self._clients, client_id=client_id)
        return self._authenticate([_client_candidate(row, address, now) for row in rows], client_id, secret, address)

    def authenticate_caller(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient | None:
        """Do the same for introspection, where resource servers come in too: for one of these return None (T10).

        An ID is never both a client's and a resource server's. Every refusal costs two statements.
        """
        _check_form(client_id, secret)
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
        for candidate in candidates:
            if candidate.against is None and self._verified.contains(secret, candidate.stored):
                return candidate.who

        def look() -> _Candidate[Caller]:
            self._check_failures(candidates, client_id, address)  # others may have failed while this one waited
            try:
                return self._find_match(candidates, secret)
            except AuthenticationFailed as refused:
                self._count_failure(refused, client_id, address)
                raise

        self._check_failures(candidates, client_id, address)
        matching = run_in_pool(look)
        self._verified.add(secret, self._renew_hash(matching, secret))
        return matching.who

    def _find_match(self, candidates: Sequence[_Candidate[Caller]], secret: Secret) -> _Candidate[Caller]:
        """Return the one that the secret is, if somebody may come in with it."""
        who, matched, reason = (
            _first(candidates),
            False,
            AuthenticationFailure.WRONG_SECRET if candidates else AuthenticationFailure.UNKNOWN,
        )
        for candidate in candidates:
            if not self._hasher.verify(secret, candidate.stored):
                continue
            if candidate.against is None:
                return candidate
            who, matched, reason = candidate.who, True, candidate.against
        for _ in range(HASHES_PER_FAILURE - len(candidates)):
            self._hasher.hash_dummy(secret)
        raise AuthenticationFailed(reason, who.key if who else None, who.secret_label if who and matched else None)

    def _check_failures(self, candidates: Sequence[_Candidate[Any]], client_id: str, address: str | None) -> None:
        try:
            self._throttles.check_failures(client_id, address)
        except RateLimited as throttled:
            who = _first(candidates)
            raise TooManyFailures(throttled.retry_after_seconds, who.key if who else None) from None

    def _count_failure(self, refused: AuthenticationFailed, client_id: str, address: str | None) -> None:
        if self._throttles.count_failure(client_id, address):
            client_key = str(refused.client_key) if refused.client_key else "unknown"
            LOG.warning("authentication throttled", extra={"client_key": client_key, "address": address})

    def _renew_hash(self, candidate: _Candidate[Any], secret: Secret) -> StoredHash:
        """Replace a hash made at older parameters or under a former pepper, now that its secret is at hand (S1, S2)."""
        stored = candidate.stored
        if not self._hasher.needs_renewal(stored):
            return stored
        try:
            renewed = self._hasher.hash(secret)
            with unit_of_work(self._engine) as session:
                session.execute(
                    update(candidate.table)
                    .where(candidate.table.id == candidate.secret_id, candidate.table.secret_hash == stored.value)
                    .values(secret_hash=renewed.value, pepper_version=renewed.pepper_version)
                    .execution_options(synchronize_session=False)
                )
        except Unavailable:
            return stored  # the next success tries again
        return renewed


def _first(candidates: Sequence[_Candidate[Any]]) -> AuthenticatedClient | None:
    return candidates[0].who if candidates else None


def _check_form(client_id: str, secret: Secret) -> None:
    if not (is_well_formed(client_id) and is_well_formed(secret.reveal())):
        raise AuthenticationFailed(AuthenticationFailure.MALFORMED)
