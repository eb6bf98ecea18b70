"""Sign checkpoints with the keys that sign tokens, and read them (L9).

A checkpoint is a JWS (RFC 7515) whose header has the type `audit-checkpoint+jwt`, so that nothing takes it for a token,
and the public key (`jwk`), whose RFC 7638 thumbprint is the `kid`. The key set publishes a key while it signs, and for
about an hour after. A checkpoint that is older is still verified: by a copy of the key set, by the audit log, which
names each key, or by an earlier checkpoint, since each lists the `keys` that were published, a waiting one included.
"""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from joserfc.util import urlsafe_b64encode
from sqlalchemy import Engine, select

from ..audit.actions import Action
from ..audit.chain import PLATFORM
from ..database.models import AuditEvent, StoredSigningKey
from ..database.unit_of_work import read_session
from ..tokens.signing import ALGORITHM
from ..tokens.signing_keys import SigningKeys

TYPE = "audit-checkpoint+jwt"
_KEY_ACTIONS = (Action.KEY_CREATED, Action.KEY_ROTATED, Action.KEY_WITHDRAWN)


class InvalidCheckpoint(Exception):
    """The text is not a checkpoint, or its signature is wrong."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The event at one position of a chain.

    :param account_id: `PLATFORM` for the platform's own events.
    :param hash: the event's hash.
    :param at: when it was signed.
    :param kid: the key that signed it.
    """

    account_id: str
    position: int
    hash: str
    at: datetime
    kid: str


class CheckpointSigner:
    """Signs checkpoints with the key that signs at this moment.

    :raises SigningKeyUnusable: a stored key does not decrypt.
    :raises Unavailable: the database is locked or unreachable.
    """

    def __init__(self, keys: SigningKeys, issuer: str, now: datetime) -> None:
        self._issuer = issuer
        self._now = now
        self._key = keys.signing_key(now)
        self.published = sorted(key.kid for key in keys.published(now))

    def sign(self, account_id: str, position: int, event_hash: str) -> str:
        """Return a checkpoint as a compact JWS."""
        public = {name: self._key.public_jwk[name] for name in ("crv", "kty", "x", "y")}
        header = {"alg": ALGORITHM, "typ": TYPE, "kid": self._key.kid, "jwk": public}
        payload = {
            "iss": self._issuer,
            "iat": int(self._now.timestamp()),
            "account_id": account_id or None,
            "position": position,
            "hash": event_hash,
            "keys": self.published,
        }
        message = b".".join(
            urlsafe_b64encode(json.dumps(part, separators=(",", ":")).encode()) for part in (header, payload)
        )
        return (message + b"." + urlsafe_b64encode(self._key.sign(message))).decode()


def read_checkpoint(text: str) -> Checkpoint:
    """Return a checkpoint whose signature is right; the caller checks whether its key is one of ours.

    :raises InvalidCheckpoint: it is none, or was changed.
    """
    try:
        header = jws.extract_compact(text.encode()).headers()
        key = ECKey.import_key(header["jwk"])
        payload: dict[str, Any] = json.loads(jws.deserialize_compact(text, key, algorithms=[ALGORITHM]).payload)
        if header["typ"] != TYPE or header["kid"] != key.thumbprint():
            raise InvalidCheckpoint
        return Checkpoint(
            account_id=str(payload["account_id"] or PLATFORM),
            position=int(payload["position"]),
            hash=str(payload["hash"]),
            at=datetime.fromtimestamp(int(payload["iat"]), UTC),
            kid=str(header["kid"]),
        )
    except (JoseError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidCheckpoint from error


def known_keys(engine: Engine) -> set[str]:
    """Return the IDs of all keys that have signed: those of the database, and those that the audit log names."""
    changes = select(AuditEvent.changes).where(AuditEvent.account_id.is_(None), AuditEvent.action.in_(_KEY_ACTIONS))
    with read_session(engine) as session:
        named = {kid for change in session.scalars(changes) for kid in change["signing_key"]}
        return {*session.scalars(select(StoredSigningKey.kid)), *named}
