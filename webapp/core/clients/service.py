"""Create and edit clients."""

import hashlib
import uuid
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from ..account_settings import keys_only_roles
from ..audit.actions import Action
from ..audit.events import Author, record_event
from ..client_changes import check_version, detach, get_client, versioned_change
from ..database.errors import violated_constraint
from ..database.models import ClaimedClientId, ClientSecret, IdentityClient, utc_now
from ..errors import ClientIdTaken, DomainError, FieldError, InvalidFields
from ..i18n import gettext
from ..rate_limits.limits import RateLimits
from ..secrets.client_secrets import SecretsSnapshot, not_ended, secret_states
from ..secrets.errors import SecretNotAllowed
from ..secrets.keys import new_client_key
from ..secrets.public_keys import PublicKey, parse_public_key
from ..secrets.service import SecretService
from .client_ids import CLIENT_ID_CONSTRAINTS, has_claimed_client_id, is_client_id_taken
from .roles import RoleCatalogue
from .validation import FIELDS, ClientValues, check_fields

_CREATION_KEY_CONSTRAINT = "uq_identity_clients_account_id_creation_key"


class ClientService:
    """Creates and edits the clients of an account.

    A method that takes a session is bound to the account of its author (A3), and writes its change and its audit event
    in one savepoint (L1).

    :param catalogue: every API role that there is.
    :param secrets: checks and hashes the secrets.
    :param rate_limits: the quotas of new clients and of "already in use" answers (D5, A6).
    """

    def __init__(self, catalogue: RoleCatalogue, secrets: SecretService, rate_limits: RateLimits) -> None:
        self._catalogue = catalogue
        self._secrets = secrets
        self._rate_limits = rate_limits

    def check_fields(
        self,
        values: ClientValues,
        secret: str | None,
        *,
        grantable_roles: Collection[str] | None,
        fields: Collection[str] = FIELDS,
    ) -> list[FieldError]:
        """Return the errors of these fields of a form; nothing is stored.

        :param secret: as it was typed; None where none is set.
        :param grantable_roles: the API roles that the account may grant; None means all (A4).
        :param fields: the form fields to check.
        """
        _, errors = self._check(values, secret, grantable_roles, fields)
        return errors

    def check_client_id_available(
        self, session: Session, *, author: Author, client_id: str, key: uuid.UUID | None
    ) -> None:
        """Check whether a client ID is free, when its field loses focus; beyond the quota nothing is raised (A6).

        :param key: the client that is being edited; None for a new one.
        :raises ClientIdTaken: it is, or once was, another client's.
        """
        taken = is_client_id_taken(session, client_id=client_id, account_id=author.account_id, key=key)
        if taken and self._rate_limits.may_answer_taken_id(author.actor_id):
            raise ClientIdTaken

    def create(
        self,
        session: Session,
        *,
        author: Author,
        values: ClientValues,
        secret: str | None,
        creation_key: str | None,
        copied_from: uuid.UUID | None = None,
        public_key: str | None = None,
        ends_at: datetime | None = None,
    ) -> IdentityClient:
        """Create an enabled client with one secret, labelled A, or one key, labelled 1, and return it.

        :param secret: in clear text; None with a public key.
        :param public_key: a JWK or PEM, which takes the place of the secret; needed where the account forbids secrets
            to clients with one of these roles.
        :param ends_at: when the secret ends (aware), within 365 days; None: never, or at the limit of the setting.
        :param creation_key: the one-time key of the form; a second POST with the same one creates nothing.
        :param copied_from: the client of this account that the form was filled from, for the audit log.
        :raises InvalidFields: every error of the values at once.
        :raises AlreadyCreated: a POST with this creation key came before; it carries the client.
        :raises RateLimited: the client ID is in use, and this actor got that answer too often (A6).
        :raises TooManyNewClients: the account's quota of the hour is used up (D5).
        """
        key_digest = _digest(creation_key)
        checked, errors = self._check(values, secret, author.grantable_roles)
        parsed, now = None, utc_now()
        try:
            parsed = _check_public_key(session, author, values, secret, public_key)
            if parsed is None:
                self._secrets.check_end_date(ends_at, now)
            elif ends_at is not None:
                raise FieldError("ends_at", gettext("A key takes the place of the secret. Leave the end date empty."))
        except FieldError as error:
            errors.append(error)
        taken = is_client_id_taken(session, client_id=values.client_id, account_id=author.account_id, key=None)
        # After the look-up of the ID: a POST with the same key that commits in between has taken that ID.
        _raise_if_created(session, author, key_digest)
        self._raise_if_invalid(errors, author, taken=taken)
        self._rate_limits.count_new_client(author.account_id)
        columns = _columns(checked)
        client = IdentityClient(
            **columns,
            account_id=author.account_id,
            enabled=True,
            creation_key=key_digest,
            created_at=now,
            created_by=author.label,
            updated_at=now,
            updated_by=author.label,
            secrets=[],
            keys=[],
        )
        changes = {column: [None, _audit_value(value)] for column, value in {**columns, "enabled": True}.items()}
        if parsed is None:
            added = self._secrets.new_client_secret(
                checked["client_secret"], 0, author=author, now=now, ends_at=ends_at
            )
            client.secrets.append(added)
            changes |= SecretsSnapshot([], now).difference_to(SecretsSnapshot([added], now))
            changes["client_secret"] = [None, secret_states(now, [added])]
        else:
            client.keys.append(new_client_key(parsed, 0, author=author, now=now))
            changes["public_key"] = [None, secret_states(now, client.keys)]
            changes |= {"thumbprint": [None, parsed.thumbprint], "algorithm": [None, parsed.algorithm]}
        if copied_from is not None:
            changes["copied_from"] = [None, _get_client_id(session, author, copied_from)]
        try:
            with session.begin_nested():
                session.add(client)
                session.flush()
                session.add(ClaimedClientId(client_id_folded=client.client_id_folded, client_key=client.id))
                record_event(session, author, Action.CREATED, client, changes)
        except IntegrityError as error:
            if violated_constraint(error) not in {*CLIENT_ID_CONSTRAINTS, _CREATION_KEY_CONSTRAINT}:
                raise
            # A concurrent POST with the same key may violate either constraint first.
            _raise_if_created(session, author, key_digest)
            raise self._client_id_taken(author) from None
        return client

    def edit(
        self,
        session: Session,
        *,
        author: Author,
        key: uuid.UUID,
        version: int | None,
        values: ClientValues,
        enabled: bool,
        secret: str | None = None,
    ) -> IdentityClient:
        """Write the values that differ, and return the client; without a difference nothing is written.

        :param version: the version that the form was filled from; None is a stale one (I7).
        :param secret: replaces the current secrets at once; empty or None keeps them.
        :raises NotFound: the account has no such client.
        :raises StaleVersion: it was changed since; nothing was written.
        :raises InvalidFields: every error of the values at once.
        :raises RateLimited: the client ID is in use, and this actor got that answer too often (A6).
        """
        client = get_client(session, account_id=author.account_id, key=key)
        check_version(session, client, version)
        checked, errors = self._check(values, secret or None, author.grantable_roles)
        keys_only = keys_only_roles(session, author.account_id)
        if secret and not values.roles.isdisjoint(keys_only):
            errors.append(SecretNotAllowed())
        elif keys_only & (values.roles - client.roles) and not_ended(client, utc_now()):
            errors.append(_secrets_must_end_first())
        taken = is_client_id_taken(session, client_id=values.client_id, account_id=author.account_id, key=key)
        self._raise_if_invalid(errors, author, taken=taken)
        now, added = utc_now(), None
        if checked["client_secret"] is not None:
            number = len(client.secrets)
            added = self._secrets.new_client_secret(checked["client_secret"], number, author=author, now=now)
        columns = {**_columns(checked), "enabled": enabled}
        changed = {column: value for column, value in columns.items() if getattr(client, column) != value}
        if not changed and added is None:
            return client
        try:
            with versioned_change(session, author, client, now):
                _write(session, author, client, changed, added, now)
        except IntegrityError as error:
            if violated_constraint(error) not in CLIENT_ID_CONSTRAINTS:
                raise
            raise self._client_id_taken(author) from None
        return client

    def _check(
        self,
        values: ClientValues,
        secret: str | None,
        grantable_roles: Collection[str] | None,
        fields: Collection[str] = FIELDS,
    ) -> tuple[dict[str, Any], list[FieldError]]:
        return check_fields(
            values,
            secret,
            fields,
            catalogue=self._catalogue,
            grantable_roles=grantable_roles,
            check_secret=self._secrets.check,
        )

    def _raise_if_invalid(self, errors: Sequence[FieldError], author: Author, *, taken: bool) -> None:
        if errors:
            # With other errors nothing is written, so this could be asked without end: beyond the quota a taken ID is
            # not mentioned (A6).
            if taken and self._rate_limits.may_answer_taken_id(author.actor_id):
                errors = [ClientIdTaken(), *errors]
            raise InvalidFields(errors)
        if taken:
            raise self._client_id_taken(author)

    def _client_id_taken(self, author: Author) -> InvalidFields:
        """Return the error for a client ID in use, and count it against the actor's quota (A6).

        :raises RateLimited: the quota is used up.
        """
        self._rate_limits.count_taken_id_answer(author.actor_id)
        return InvalidFields([ClientIdTaken()])


class AlreadyCreated(DomainError):
    """A POST with the same creation key came before; nothing was created again, and no secret is shown again.

    :param client: what the first one created, detached from its session.
    """

    def __init__(self, client: IdentityClient) -> None:
        super().__init__("already created")
        self.client = client


def _check_public_key(
    session: Session, author: Author, values: ClientValues, secret: str | None, public_key: str | None
) -> PublicKey | None:
    """Return the public key of a new client, None where it gets a secret.

    :raises FieldError: it cannot be used, or is missing; the field is `public_key`.
    """
    if public_key is not None:
        return parse_public_key(public_key)
    if secret is None or not values.roles.isdisjoint(keys_only_roles(session, author.account_id)):
        raise FieldError(
            "public_key",
            gettext("Clients that move money have a public key in place of a secret in your account."),
            gettext("Public key is missing: this client moves money"),
        )
    return None


def _secrets_must_end_first() -> FieldError:
    """Return the error for a role that clients with secrets may not have in this account."""
    return FieldError(
        "roles",
        gettext("Clients that move money have no secret in your account. Add a key and end the secrets first."),
        gettext("Roles that move money need a client without secrets: add a key and end the secrets first"),
    )


def _columns(checked: dict[str, Any]) -> dict[str, Any]:
    """Return the columns of a client that the checked form fields are stored in."""
    return {
        "client_id": checked["client_id"],
        "name": checked["name"],
        "description": checked["description"],
        "token_duration_minutes": checked["token_duration"],
        "roles": checked["roles"],
        "owner": checked["owner"],
        "tags": checked["tags"],
    }


def _write(
    session: Session,
    author: Author,
    client: IdentityClient,
    changed: dict[str, Any],
    added: ClientSecret | None,
    now: datetime,
) -> None:
    """Write changed columns and a new secret, which ends the others, with the audit event."""
    changes: dict[str, Any] = {
        column: [_audit_value(getattr(client, column)), _audit_value(value)] for column, value in changed.items()
    }
    for column, value in changed.items():
        setattr(client, column, value)
    if added is not None:
        active = not_ended(client, now)
        states_before = secret_states(now, active)
        for secret in active:
            secret.ends_at = now
        client.secrets.append(added)
        changes["client_secret"] = [states_before, secret_states(now, [*active, added])]
    session.flush()  # the client's own row first
    if "client_id" in changed and not has_claimed_client_id(session, client):
        session.add(ClaimedClientId(client_id_folded=client.client_id_folded, client_key=client.id))
    record_event(session, author, Action.EDITED, client, changes)


def _audit_value(value: Any) -> Any:
    """Return the value of a column as JSON can hold it."""
    return sorted(value) if isinstance(value, frozenset) else value


def _digest(creation_key: str | None) -> str | None:
    """Return a digest of the posted key, which fits the column whatever was posted."""
    return hashlib.sha256(creation_key.encode("utf-8", "surrogatepass")).hexdigest() if creation_key else None


def _raise_if_created(session: Session, author: Author, key_digest: str | None) -> None:
    """Raise AlreadyCreated where the account has a client with this creation key."""
    if key_digest is None:
        return
    client = session.scalar(
        select(IdentityClient)
        .where(IdentityClient.account_id == author.account_id, IdentityClient.creation_key == key_digest)
        .options(selectinload(IdentityClient.secrets), selectinload(IdentityClient.keys))
    )
    if client is not None:
        raise AlreadyCreated(detach(session, client))


def _get_client_id(session: Session, author: Author, key: uuid.UUID) -> str | None:
    return session.scalar(
        select(IdentityClient.client_id).where(IdentityClient.id == key, IdentityClient.account_id == author.account_id)
    )
