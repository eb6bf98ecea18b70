"""Factories for accounts, clients and requests, made through the rules, with a known secret."""

import itertools
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import argon2
from sqlalchemy import Engine, select, text
from sqlalchemy.orm import Session

from webapp.core.accounts import set_account
from webapp.core.audit.events import Author
from webapp.core.clients.roles import DEFAULT_ROLES, RoleCatalogue
from webapp.core.clients.service import ClientService
from webapp.core.clients.validation import ClientValues
from webapp.core.database.models import Account, IdentityClient, utc_now
from webapp.core.database.outcomes import AuthenticationFailure, Outcome
from webapp.core.database.unit_of_work import unit_of_work
from webapp.core.rate_limits.limits import RateLimits
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import SecretHasher, StoredHash
from webapp.core.secrets.service import SecretService
from webapp.core.usage.recorder import Recorder

ACCOUNT = "northwind"
OTHER_ACCOUNT = "harbour"
SECRET = "correct-horse-battery-staple"
PEPPER = b"a pepper for tests of 32 bytes or more"
PEPPER_SETTING = f"1:{PEPPER.decode()}"
CATALOGUE = RoleCatalogue(DEFAULT_ROLES)

_numbers = itertools.count(1)


class CachedHasher(SecretHasher):
    """A hasher that hashes each secret once, for tests that need many clients."""

    def __init__(self) -> None:
        super().__init__({1: PEPPER})
        self._cached = cache(lambda value: SecretHasher.hash(self, Secret(value)))

    def hash(self, secret: Secret) -> StoredHash:
        """Return the hash that was made of this secret before, if there is one."""
        return self._cached(secret.reveal())

    def argon2id(self, value: str, time_cost: int = 2, memory_cost: int = 19456) -> str:
        """Return an argon2id hash of any secret, as a former release stored every secret."""
        hasher = argon2.PasswordHasher(time_cost=time_cost, memory_cost=memory_cost, parallelism=1)
        return hasher.hash(self._peppered(Secret(value), 1))


HASHER = CachedHasher()


def make_rate_limits(taken_id_answers_per_hour: int = 1_000_000, **quotas: int) -> RateLimits:
    """Return rate limits that count in this process."""
    return RateLimits("memory://", taken_id_answers_per_hour, **quotas)


def make_secrets(hasher: SecretHasher = HASHER, *, refuse_weak: bool = False, max_days: int = 0) -> SecretService:
    """Return a service that sets secrets."""
    return SecretService(hasher, prefix="vcs_", refuse_weak=refuse_weak, max_days=max_days)


def make_clients(
    secrets: SecretService | None = None,
    rate_limits: RateLimits | None = None,
    catalogue: RoleCatalogue = CATALOGUE,
) -> ClientService:
    """Return a service that creates and edits clients."""
    return ClientService(catalogue, secrets or make_secrets(), rate_limits or make_rate_limits())


def make_author(account_id: str = ACCOUNT, **overrides: Any) -> Author:
    """Return an administrator of the account."""
    values = {
        "actor_id": f"admin@{account_id}.example",
        "label": f"admin@{account_id}.example",
        "account_id": account_id,
        "address": "192.0.2.1",
        "request_id": "0123456789abcdef",
    }
    return Author(**(values | overrides))


def make_values(**overrides: Any) -> ClientValues:
    """Return a form's values, valid unless overridden."""
    values = {
        "client_id": f"client-{next(_numbers):06}",
        "name": "",
        "description": "",
        "token_duration": "60",
        "roles": frozenset({"MerchantUser"}),
    }
    return ClientValues(**(values | overrides))


def make_account(
    target: Session | Engine,
    account_id: str = ACCOUNT,
    *,
    feature_enabled: bool = True,
    grantable_roles: Collection[str] | None = None,
) -> None:
    """Create an account, or change it to these values."""
    with _session(target) as session:
        set_account(session, account_id, feature_enabled=feature_enabled, grantable_roles=grantable_roles)


def make_client(
    target: Session | Engine,
    *,
    account_id: str = ACCOUNT,
    client_id: str | None = None,
    secret: str = SECRET,
    hasher: SecretHasher = HASHER,
    name: str = "",
    description: str = "",
    token_duration: int = 60,
    roles: Collection[str] = ("MerchantUser",),
    owner: str = "",
    tags: Collection[str] = (),
    copied_from: uuid.UUID | None = None,
    catalogue: RoleCatalogue = CATALOGUE,
    **overrides: Any,
) -> IdentityClient:
    """Create a client through the rules, and its account if it is missing.

    :param catalogue: the application's own, where it has other roles than `DEFAULT_ROLES`.
    :param hasher: the application's own, where its pepper is not `PEPPER_SETTING`.
    :param overrides: columns to set afterwards, such as `enabled`, `created_at` or `deleted_at`.
    """
    given = {} if client_id is None else {"client_id": client_id}
    with _session(target) as session:
        if session.scalar(select(Account.id).where(Account.id == account_id)) is None:
            make_account(session, account_id)
        client = make_clients(make_secrets(hasher), catalogue=catalogue).create(
            session,
            author=make_author(account_id),
            values=make_values(
                name=name,
                description=description,
                token_duration=str(token_duration),
                roles=frozenset(roles),
                owner=owner,
                tags=tuple(tags),
                **given,
            ),
            secret=secret,
            creation_key=None,
            copied_from=copied_from,
        )
        for column, value in overrides.items():
            setattr(client, column, value)
        session.flush()
    return client


def make_requests(
    engine: Engine,
    client: IdentityClient,
    count: int = 1,
    *,
    outcome: Outcome | AuthenticationFailure = Outcome.ISSUED,
    secret_label: str | None = "A",
    at: datetime | None = None,
    address: str | None = "203.0.113.7",
    scope: str = "",
) -> None:
    """Record token requests of a client, all at one time, as the identity endpoint does.

    :param at: None for now.
    """
    recorder = Recorder(engine, PEPPER)
    for _ in range(count):
        recorder.record(
            client.id,
            outcome,
            secret_label,
            client_id=client.client_id,
            at=at or utc_now(),
            address=address,
            scope=scope,
        )
    recorder.write()


@contextmanager
def _session(target: Session | Engine) -> Iterator[Session]:
    if isinstance(target, Session):
        yield target
    else:
        with unit_of_work(target) as session:
            yield session


def insert_clients(engine: Engine, account_id: str, rows: int) -> None:
    """Insert many clients by one statement."""
    template = make_client(engine, account_id=account_id)
    numbers = {
        "sqlite": f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {rows})",
        "postgresql": f"WITH numbers AS (SELECT generate_series(1, {rows}) AS n)",
    }[engine.dialect.name]
    key = {
        "sqlite": "lower(hex(randomblob(16)))",
        "postgresql": "gen_random_uuid()",
    }[engine.dialect.name]
    columns = [
        column.name
        for column in IdentityClient.__table__.columns
        if column.name not in ("id", "client_id", "client_id_folded", "name", "name_folded")
    ]
    copied = ", ".join(columns)
    statement = f"""
        INSERT INTO identity_clients (id, client_id, client_id_folded, name, name_folded, {copied})
        {numbers} SELECT {key}, '{account_id}-' || n, '{account_id}-' || n, 'Name ' || n, 'name ' || n, {copied}
        FROM numbers, identity_clients WHERE client_id = '{template.client_id}'
    """
    with engine.begin() as connection:
        connection.execute(text(statement))
