"""The one function that authenticates a client, and the memory that spares a busy client the cost of a hash."""

import hmac
import logging
import secrets
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import Any, Generic, NamedTuple, TypeVar

from sqlalchemy import Engine, bindparam, select, update

from .database import unit_of_work
from .direct_reads import DirectReads
from .errors import Busy, DomainError, Throttled
from .hash_gate import in_a_place
from .models import Account, ClientSecret, IdentityClient, ResourceServer, SecretState, secret_state
from .networks import is_allowed
from .secrets import Secret, SecretHasher, StoredHash, is_well_formed
from .throttle import Throttles

LOG = logging.getLogger(__name__)
HASHES_PER_REFUSAL = 2
REMEMBERED_MAX = 50_000
REMEMBERED_SECONDS = 12 * 60 * 60


class Reason(StrEnum):
    """Why an authentication failed: for the merchant who owns the client, never for the caller (P7)."""

    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    WRONG_SECRET = "wrong secret"  # noqa: S105 - the name of a reason
    ENDED_SECRET = "ended secret"  # noqa: S105 - the name of a reason
    PAUSED_SECRET = "paused secret"  # noqa: S105 - the name of a reason
    DELETED = "deleted"
    DISABLED = "disabled"
    ACCOUNT_OFF = "account off"
    ADDRESS_NOT_ALLOWED = "address not allowed"


_REASON_OF_STATE = {SecretState.ENDED: Reason.ENDED_SECRET, SecretState.PAUSED: Reason.PAUSED_SECRET}


class Refused(DomainError):
    """The client did not authenticate.

    :param client_key: the client whose ID was sent; None if nobody has it.
    :param secret_label: the secret that matched, although it may not be used; None if none did.
    """

    def __init__(self, reason: Reason, client_key: uuid.UUID | None = None, secret_label: str | None = None) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.client_key = client_key
        self.secret_label = secret_label


class TooManyFailures(Throttled):
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


Who = TypeVar("Who", bound=AuthenticatedClient | None, covariant=True)


class _Candidate(NamedTuple, Generic[Who]):
    """A stored secret that may be the one that was sent.

    :param who: comes in with it: a client, or None for a resource server.
    :param against: why nobody may come in with it at this moment, None if one may (S8).
    :param table: where its hash stands, in the row `secret_id`.
    """

    who: Who
    stored: StoredHash
    against: Reason | None
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
    .limit(HASHES_PER_REFUSAL)
)
_CLIENT_COLUMNS = len(AuthenticatedClient._fields) + 4
_RESOURCE_SERVERS = select(ResourceServer.id, ResourceServer.secret_hash, ResourceServer.pepper_version).where(
    ResourceServer.resource_server_id == bindparam("client_id")
)


def _client_candidate(row: Sequence[Any], address: str | None, now: datetime) -> _Candidate[AuthenticatedClient]:
    """Return one secret of the client that was named, from a row of `_CLIENTS`."""
    *client, enabled, deleted_at, feature_enabled, allowed_networks = row[:_CLIENT_COLUMNS]
    secret_id, secret_hash, pepper_version, ends_at, paused_at = row[_CLIENT_COLUMNS:]
    against: Reason | None
    if deleted_at is not None:
        against = Reason.DELETED
    elif not enabled:
        against = Reason.DISABLED
    elif not feature_enabled:
        against = Reason.ACCOUNT_OFF
    elif not is_allowed(allowed_networks, address):
        against = Reason.ADDRESS_NOT_ALLOWED
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

    def __init__(self, engine: Engine, reads: DirectReads, hasher: SecretHasher, throttles: Throttles) -> None:
        self._engine = engine
        self._reads = reads
        self._clients = self._reads.prepare(_CLIENTS)
        self._resource_servers = self._reads.prepare(_RESOURCE_SERVERS)
        self._hasher = hasher
        self._throttles = throttles
        self._successes = SuccessfulChecks()

    def authenticate(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient:
        """Return the client that has exactly this ID and this secret, as it stands at this moment.

        Every refusal of well-formed values costs one statement and two argon2id computations, whatever its reason
        (P8); one of malformed values costs neither (P6).

        :param address: where the caller is; None where nobody knows, which is outside every network (A8).
        :raises Refused: nobody may come in with these.
        :raises TooManyFailures: too many were refused before; no hash was computed (D2).
        :raises Busy: the database is out of reach (D8), or too many hashes are being computed (D7).
        """
        _refuse_malformed(client_id, secret)
        rows = self._reads.rows(self._clients, client_id=client_id)
        return self._admitted([_client_candidate(row, address, now) for row in rows], client_id, secret, address)

    def authenticate_caller(
        self, client_id: str, secret: Secret, *, address: str | None, now: datetime
    ) -> AuthenticatedClient | None:
        """Do the same for introspection, where resource servers come in too: for one of these return None (T10).

        An ID is never both a client's and a resource server's. Every refusal costs two statements.
        """
        _refuse_malformed(client_id, secret)
        rows = self._reads.rows(self._clients, client_id=client_id)
        servers = self._reads.rows(self._resource_servers, client_id=client_id)
        candidates: list[_Candidate[AuthenticatedClient | None]] = [
            _client_candidate(row, address, now) for row in rows
        ]
        candidates = candidates or [_resource_server_candidate(row) for row in servers]
        return self._admitted(candidates, client_id, secret, address)

    def _admitted(
        self, candidates: Sequence[_Candidate[Who]], client_id: str, secret: Secret, address: str | None
    ) -> Who:
        for candidate in candidates:
            if candidate.against is None and self._successes.hold(secret, candidate.stored):
                return candidate.who

        def look() -> _Candidate[Who]:
            self._refuse_guessing(candidates, client_id, address)  # others may have failed while this one waited
            try:
                return self._matching(candidates, secret)
            except Refused as refused:
                self._count_failure(refused, client_id, address)
                raise

        self._refuse_guessing(candidates, client_id, address)
        matching = in_a_place(look)
        self._successes.add(secret, self._renewed(matching, secret))
        return matching.who

    def _matching(self, candidates: Sequence[_Candidate[Who]], secret: Secret) -> _Candidate[Who]:
        """Return the one that the secret is, if somebody may come in with it."""
        who, matched, reason = _first(candidates), False, Reason.WRONG_SECRET if candidates else Reason.UNKNOWN
        for candidate in candidates:
            if not self._hasher.verify(secret, candidate.stored):
                continue
            if candidate.against is None:
                return candidate
            who, matched, reason = candidate.who, True, candidate.against
        for _ in range(HASHES_PER_REFUSAL - len(candidates)):
            self._hasher.waste(secret)
        raise Refused(reason, who.key if who else None, who.secret_label if who and matched else None)

    def _refuse_guessing(self, candidates: Sequence[_Candidate[Any]], client_id: str, address: str | None) -> None:
        try:
            self._throttles.refuse_guessing(client_id, address)
        except Throttled as throttled:
            who = _first(candidates)
            raise TooManyFailures(throttled.retry_after_seconds, who.key if who else None) from None

    def _count_failure(self, refused: Refused, client_id: str, address: str | None) -> None:
        if self._throttles.count_failure(client_id, address):
            client_key = str(refused.client_key) if refused.client_key else "unknown"
            LOG.warning("authentication throttled", extra={"client_key": client_key, "address": address})

    def _renewed(self, candidate: _Candidate[Any], secret: Secret) -> StoredHash:
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
        except Busy:
            return stored  # the next success tries again
        return renewed


def _first(candidates: Sequence[_Candidate[Any]]) -> AuthenticatedClient | None:
    return candidates[0].who if candidates else None


def _refuse_malformed(client_id: str, secret: Secret) -> None:
    if not (is_well_formed(client_id) and is_well_formed(secret.reveal())):
        raise Refused(Reason.MALFORMED)


class SuccessfulChecks:
    """Remembers which secret matched which stored hash, so that a busy client is not hashed on every request (S9).

    It decides nothing but that comparison: it is asked only about a hash that was just read, and only where the
    client and the secret may be used. It holds no secret, only an HMAC of it under a key that this process made up.
    """

    def __init__(self, most: int = REMEMBERED_MAX, seconds: int = REMEMBERED_SECONDS) -> None:
        self._most = most
        self._seconds = seconds
        self._key = secrets.token_bytes(32)
        self._ends: OrderedDict[bytes, float] = OrderedDict()
        self._lock = Lock()

    def hold(self, secret: Secret, stored: StoredHash) -> bool:
        """Tell whether this secret matched this hash not long ago."""
        digest = self._digest(secret, stored)
        with self._lock:
            end = self._ends.get(digest)
            if end is None:
                return False
            if end <= time.time():
                del self._ends[digest]
                return False
            self._ends.move_to_end(digest)
            return True

    def add(self, secret: Secret, stored: StoredHash) -> None:
        """Remember that this secret matches this hash; where room is short, forget the one asked for least lately."""
        digest = self._digest(secret, stored)
        with self._lock:
            self._ends[digest] = time.time() + self._seconds
            self._ends.move_to_end(digest)
            if len(self._ends) > self._most:
                self._ends.popitem(last=False)

    def __len__(self) -> int:
        return len(self._ends)

    def _digest(self, secret: Secret, stored: StoredHash) -> bytes:
        return hmac.digest(self._key, f"{stored.value}\n{secret.reveal()}".encode(), "sha256")
