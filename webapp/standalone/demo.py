"""Load the demo data of `demo_clients` in the development mode, with audit events of the past months."""

import zlib
from collections.abc import Mapping
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import Engine, event, inspect, select
from sqlalchemy.orm import Session

from ..core.accounts import set_account
from ..core.audit.actions import Action
from ..core.audit.events import Author, record_event
from ..core.client_changes import get_client, versioned_change
from ..core.clients import enable
from ..core.clients.allowed_networks import set_networks
from ..core.clients.review import review_client
from ..core.clients.validation import ClientValues
from ..core.database.models import AuditEvent, ClientKey, ClientSecret, IdentityClient, utc_now
from ..core.database.unit_of_work import read_session, unit_of_work
from ..core.secrets.client_secrets import SecretsSnapshot, not_ended
from ..core.secrets.keys import add_key
from ..host import Services
from . import demo_usage, users
from .demo_clients import ACCOUNTS, CLIENTS, DEMO_EMAILS, USERS, DemoClient, Edit, NewKey, Review, SecondSecret
from .models import MasUser

__all__ = ["DEMO_EMAILS", "USERS", "has_users", "load", "set_password"]


def has_users(engine: Engine) -> bool:
    """Return whether there is any user."""
    with read_session(engine) as session:
        return session.scalar(select(MasUser.id).limit(1)) is not None


def load(services: Services, password: str) -> None:
    """Add all demo data in one transaction.

    :param password: the password of every demo user, 12-128 characters.
    :raises FieldError: the password has another length.
    """
    hashes = [users.hash_password(password) for _ in USERS]
    with unit_of_work(services.engine) as session:
        clock = _Clock(session)
        accounts = {
            name: users.add_account(session, name, feature_enabled=feature_on) for name, feature_on in ACCOUNTS.items()
        }
        people: dict[str, MasUser] = {}
        for person, password_hash in zip(USERS, hashes, strict=True):
            user = users.add_user(
                session,
                accounts[person.account],
                email=person.email,
                name=person.name,
                roles={person.role},
                password_hash=password_hash,
            )
            people[person.name] = user
        for account in accounts.values():
            set_account(session, account.id, feature_enabled=account.identity_clients_enabled, grantable_roles=None)
        for client in CLIENTS:
            _add_client(session, services, client, people, clock)


def set_password(engine: Engine, password: str) -> bool:
    """Set the password of every demo user, and return whether there are any.

    :raises FieldError: the password does not have 12-128 characters.
    """
    with unit_of_work(engine) as session:
        found = session.scalars(select(MasUser).where(MasUser.email_folded.in_(DEMO_EMAILS))).all()
        for user in found:
            if not users.is_password(user.password_hash, password):
                users.set_password(user, users.hash_password(password))
    return bool(found)


def _add_client(
    session: Session, services: Services, demo: DemoClient, people: Mapping[str, MasUser], clock: "_Clock"
) -> None:
    owner = next(person for person in people.values() if person.account.name == demo.account)
    author = _author(owner)
    clock.moment = _in_office_hours(demo.days_ago, demo.client_id)
    client = services.clients.create(
        session,
        author=author,
        values=ClientValues(
            demo.client_id, demo.name, demo.description, str(demo.minutes), demo.roles, demo.owner, demo.tags
        ),
        secret=services.secrets.generate().reveal(),  # not shown: change the secret to use the client
        creation_key=None,
    )
    if demo.networks:
        version = _flushed(session, client).version
        clock.moment += timedelta(minutes=4)
        set_networks(session, author=author, key=client.id, version=version, text=demo.networks)
    later: list[Edit | Review | SecondSecret | NewKey] = [*demo.edits]
    later += [change for change in (demo.review, demo.second_secret, demo.key) if change is not None]
    for change in sorted(later, key=lambda change: -change.days_ago):
        clock.moment = _in_office_hours(change.days_ago, f"{demo.client_id} {change.days_ago}")
        _flushed(session, client)
        if isinstance(change, Edit):
            _edit(session, services, client, people[change.by], change)
        elif isinstance(change, Review):
            _review(session, client, author)
        elif isinstance(change, NewKey):
            add_key(session, author=author, key=client.id, version=client.version, public_key=_make_public_key())
        else:
            _change_secret(session, services, client, author, change, clock.moment)
    if demo.disabled_days_ago is not None:
        version = _flushed(session, client).version
        clock.moment = _in_office_hours(demo.disabled_days_ago, demo.name)
        enable.set_enabled(session, author=author, key=client.id, version=version, enabled=False)
    _flushed(session, client)
    demo_usage.record(session, client, demo.callers, demo.refusals, utc_now())


def _edit(session: Session, services: Services, client: IdentityClient, by: MasUser, change: Edit) -> None:
    minutes = change.minutes or client.token_duration_minutes
    services.clients.edit(
        session,
        author=_author(by),
        key=client.id,
        version=client.version,
        values=ClientValues(
            client.client_id,
            client.name,
            client.description,
            str(minutes),
            change.roles or client.roles,
            client.owner,
            tuple(client.tags),
        ),
        enabled=client.enabled,
    )


def _review(session: Session, client: IdentityClient, author: Author) -> None:
    found = "Its roles are those that it needs."
    review_client(
        session, author=author, key=client.id, version=client.version, found=found, done="", acknowledged=True
    )


def _change_secret(
    session: Session, services: Services, client: IdentityClient, author: Author, change: SecondSecret, at: datetime
) -> None:
    # Not `SecretService.change`, which sets the end of the old secret from now on, not from that day.
    client = get_client(session, account_id=author.account_id, key=client.id)
    [old] = not_ended(client, at)
    added = services.secrets.new_client_secret(services.secrets.generate(), 1, author=author, now=at)
    with versioned_change(session, author, client, at):
        before = SecretsSnapshot([old], at)
        if change.old_ends_in_days is not None:
            old.ends_at = (utc_now() + timedelta(days=change.old_ends_in_days)).replace(second=0, microsecond=0)
        client.secrets.append(added)
        record_event(
            session, author, Action.SECRET_CHANGED, client, before.difference_to(SecretsSnapshot([old, added], at))
        )


def _make_public_key() -> str:
    """Return a public key as PEM, whose private key is not kept: add one of your own to use the client."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _author(person: MasUser) -> Author:
    return Author(person.id, person.name, person.account_id, address="192.0.2.200")


def _flushed(session: Session, client: IdentityClient) -> IdentityClient:
    session.flush()
    return client


def _in_office_hours(days_ago: int, text: str) -> datetime:
    """Return a time of that day in office hours, the same for the same text."""
    minutes = zlib.crc32(text.encode()) % (8 * 60)
    return (utc_now() - timedelta(days=days_ago)).replace(hour=9 + minutes // 60, minute=minutes % 60)


class _Clock:
    """Sets the times of the rows that a session writes, since core always uses the current time."""

    def __init__(self, session: Session) -> None:
        self.moment: datetime | None = None
        event.listen(session, "before_flush", self._date)

    def _date(self, session: Session, *_: object) -> None:
        if self.moment is None:
            return
        for row in session.new:
            if isinstance(row, AuditEvent):
                row.at = self.moment
            elif isinstance(row, IdentityClient):
                row.created_at = row.updated_at = self.moment
            elif isinstance(row, ClientSecret | ClientKey):
                row.created_at = self.moment
        for row in session.dirty:
            if isinstance(row, IdentityClient):
                row.updated_at = self.moment
                if inspect(row).attrs.reviewed_at.history.has_changes():
                    row.reviewed_at = self.moment
