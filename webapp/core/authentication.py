"""The one function that authenticates a client, and the memory that spares a busy client the cost of a hash."""

import hmac
import secrets
import time
import uuid
from collections import OrderedDict
from datetime import datetime
from enum import StrEnum
from threading import Lock
from typing import NamedTuple

from sqlalchemy import Engine, bindparam, select, update

from .database import autocommitting, connected, unit_of_work
from .errors import Busy, DomainError
from .models import Account, ClientSecret, IdentityClient, SecretState, secret_state
from .secrets import Secret, SecretHasher, StoredHash, is_well_formed

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


class AuthenticatedClient(NamedTuple):
    """A client that showed its secret, with what a token needs of it and of its account."""

    key: uuid.UUID
    client_id: str
    account_id: str
    token_duration_minutes: int
    roles: frozenset[str]
    grantable_roles: frozenset[str] | None
    secret_label: str


class _Candidate(NamedTuple):
    """One secret of the client that was named, with the client and its account: a row of `_CANDIDATES`."""

    client_key: uuid.UUID
    client_id: str
    account_id: str
    token_duration_minutes: int
    roles: frozenset[str]
    grantable_roles: frozenset[str] | None
    label: str
    enabled: bool
    deleted_at: datetime | None
    feature_enabled: bool
    secret_id: uuid.UUID
    secret_hash: str
    pepper_version: int
    ends_at: datetime | None
    paused_at: datetime | None

    @property
    def stored(self) -> StoredHash:
        return StoredHash(self.secret_hash, self.pepper_version)

    @property
    def client(self) -> AuthenticatedClient:
        return AuthenticatedClient._make(self[: len(AuthenticatedClient._fields)])

    def reason_against(self, now: datetime) -> Reason | None:
        """Return why nobody may come in with this secret at this moment, None if one may (S8)."""
        if self.deleted_at is not None:
            return Reason.DELETED
        if not self.enabled:
            return Reason.DISABLED
        if not self.feature_enabled:
            return Reason.ACCOUNT_OFF
        return _REASON_OF_STATE.get(secret_state(self.ends_at, self.paused_at, now))


# At most two secrets of a client are not ended (S7). Those that end last come first, so two rows hold all of them.
_CANDIDATES = (
    select(
        IdentityClient.id,
        IdentityClient.client_id,
        IdentityClient.account_id,
        IdentityClient.token_duration_minutes,
        IdentityClient.roles,
        Account.grantable_roles,
        ClientSecret.label,
        IdentityClient.enabled,
        IdentityClient.deleted_at,
        Account.feature_enabled,
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


class Authenticator:
    """Authenticates clients by ID and secret."""

    def __init__(self, engine: Engine, hasher: SecretHasher) -> None:
        self._engine = engine
        self._reads = autocommitting(engine)
        self._hasher = hasher
        self._successes = SuccessfulChecks()

    def authenticate(self, client_id: str, secret: Secret, now: datetime) -> AuthenticatedClient:
        """Return the client that has exactly this ID and this secret, as it stands at this moment.

        Every refusal of well-formed values costs one statement and two argon2id computations, whatever its reason
        (P8); one of malformed values costs neither (P6).

        :raises Refused: nobody may come in with these.
        :raises Busy: the database is out of reach (D8).
        """
        if not (is_well_formed(client_id) and is_well_formed(secret.reveal())):
            raise Refused(Reason.MALFORMED)
        with connected(self._reads) as connection:
            rows = connection.execute(_CANDIDATES, {"client_id": client_id}).all()
        candidates = [_Candidate._make(row) for row in rows]
        for candidate in candidates:
            if candidate.reason_against(now) is None and self._successes.hold(secret, candidate.stored):
                return candidate.client
        return self._check(candidates, secret, now)

    def _check(self, candidates: list[_Candidate], secret: Secret, now: datetime) -> AuthenticatedClient:
        reason, label = Reason.WRONG_SECRET if candidates else Reason.UNKNOWN, None
        for candidate in candidates:
            if not self._hasher.verify(secret, candidate.stored):
                continue
            against = candidate.reason_against(now)
            if against is None:
                self._successes.add(secret, self._renewed(candidate, secret))
                return candidate.client
            reason, label = against, candidate.label
        for _ in range(HASHES_PER_REFUSAL - len(candidates)):
            self._hasher.waste(secret)
        raise Refused(reason, candidates[0].client_key if candidates else None, label)

    def _renewed(self, candidate: _Candidate, secret: Secret) -> StoredHash:
        """Replace a hash made at older parameters or under a former pepper, now that its secret is at hand (S1, S2)."""
        stored = candidate.stored
        if not self._hasher.needs_renewal(stored):
            return stored
        renewed = self._hasher.hash(secret)
        try:
            with unit_of_work(self._engine) as session:
                session.execute(
                    update(ClientSecret)
                    .where(ClientSecret.id == candidate.secret_id, ClientSecret.secret_hash == stored.value)
                    .values(secret_hash=renewed.value, pepper_version=renewed.pepper_version)
                    .execution_options(synchronize_session=False)
                )
        except Busy:
            return stored  # the next success tries again
        return renewed


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
