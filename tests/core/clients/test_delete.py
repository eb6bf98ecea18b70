"""Deleting a client: its tokens stop, its ID stays taken and its audit events stay."""

from collections import Counter
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from joserfc.util import urlsafe_b64encode
from sqlalchemy import Engine, select

from tests.support.clients import create, delete, edit, stored, values_of
from tests.support.concurrency import run_concurrently
from tests.support.factories import (
    ACCOUNT,
    CATALOGUE,
    HASHER,
    OTHER_ACCOUNT,
    SECRET,
    make_account,
    make_author,
    make_client,
    make_rate_limits,
)
from webapp.core.audit.pages import list_events
from webapp.core.audit.query import AuditQuery
from webapp.core.authentication.authenticator import AuthenticationFailed, Authenticator
from webapp.core.client_changes import StaleVersion
from webapp.core.clients.enable import set_enabled
from webapp.core.clients.listing import ListQuery, list_clients
from webapp.core.clients.service import AlreadyCreated
from webapp.core.database.fast_reads import FastReads
from webapp.core.database.models import AuditEvent, ClientSecret, IdentityClient, utc_now
from webapp.core.database.outcomes import AuthenticationFailure
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError, InvalidFields, NotFound
from webapp.core.secrets.generation import Secret
from webapp.core.tokens import revocation


def actions(engine: Engine, client: IdentityClient) -> list[tuple[str, dict[str, Any]]]:
    """Return the actions of a client's events after its creation."""
    with read_session(engine) as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.client_key == client.id).order_by(AuditEvent.at, AuditEvent.id)
        )
        return [(row.action, row.changes) for row in rows][1:]


def generation(engine: Engine, client: IdentityClient) -> int:
    """Return how often the tokens of a client were revoked."""
    with read_session(engine) as session:
        return session.get_one(IdentityClient, client.id).token_generation


def is_active(engine: Engine, client: IdentityClient) -> bool:
    """Return whether the first token of the client is active at introspection."""
    claims = {"client_id": client.client_id, "jti": urlsafe_b64encode(bytes(20)).decode()}
    with read_session(engine) as session:
        standing = revocation.get_token_status(session, claims)
    return standing is not None and standing.is_active


def test_only_the_id_and_the_events_of_a_deleted_client_remain(engine: Engine) -> None:
    """A deleted client is not found, its ID stays taken, and the audit log still finds it (T3, A3)."""
    client = make_client(engine, client_id="acme-claims")
    assert is_active(engine, client)
    delete(engine, client, author=make_author(label="Hannah Okafor"))
    with read_session(engine) as session:
        assert list_clients(session, account_id=ACCOUNT, query=ListQuery()).account_total == 0
        page = list_events(session, account_id=ACCOUNT, query=AuditQuery(client="ACME-claims"), zone=ZoneInfo("UTC"))
        assert [(row.action, row.actor_label) for row in page.events] == [
            ("deleted", "Hannah Okafor"),
            ("created", "admin@northwind.example"),
        ]
        kept = session.get_one(IdentityClient, client.id)
        assert (kept.version, kept.updated_by, kept.deleted_at) == (2, "Hannah Okafor", kept.updated_at)
        assert [secret.ends_at for secret in session.scalars(select(ClientSecret))] == [kept.deleted_at]
    with pytest.raises(NotFound):
        stored(engine, client.id)
    for account_id in (ACCOUNT, OTHER_ACCOUNT):
        with pytest.raises(InvalidFields):
            make_client(engine, account_id=account_id, client_id="Acme-Claims")
    assert actions(engine, client) == [("deleted", {"client_secret": [{"A": "current"}, {"A": "ended"}]})]


def test_the_tokens_of_a_deleted_client_stop(engine: Engine) -> None:
    """It gets no new tokens, and its earlier ones are inactive (A7, T11)."""
    client = make_client(engine)
    authenticator = Authenticator(engine, FastReads(engine), HASHER, make_rate_limits())
    come_in = partial(authenticator.authenticate, client.client_id, Secret(SECRET), address="192.0.2.1", now=utc_now())
    assert come_in().key == client.id
    delete(engine, client)
    with pytest.raises(AuthenticationFailed) as caught:
        come_in()
    assert caught.value.reason is AuthenticationFailure.DELETED
    assert not is_active(engine, client)


@pytest.mark.parametrize("typed", ["", "acme", "ACME-claims", "acme-claims-2", "acme claims"])
def test_a_wrong_confirmation_deletes_nothing(engine: Engine, typed: str) -> None:
    client = make_client(engine, client_id="acme-claims")
    with pytest.raises(FieldError) as caught:
        delete(engine, client, typed_client_id=typed)
    assert caught.value.field == "confirm"
    assert "acme-claims" in caught.value.message
    assert stored(engine, client.id).version == 1


def test_white_space_around_the_confirmation_is_ignored(engine: Engine) -> None:
    """No client ID begins or ends with a space, and pasting may add one."""
    client = make_client(engine, client_id="acme-claims")
    delete(engine, client, typed_client_id=" acme-claims\n")
    with pytest.raises(NotFound):
        stored(engine, client.id)


@pytest.mark.parametrize("version", [None, 1, 3])
def test_a_stale_version_deletes_nothing(engine: Engine, version: int | None) -> None:
    """A stale or missing version is refused (I7)."""
    client = make_client(engine)
    edit(engine, client, values=values_of(client, name="Their name"))
    with pytest.raises(StaleVersion) as caught:
        delete(engine, client, version=version)
    assert caught.value.current.name == "Their name"
    assert stored(engine, client.id).version == 2


def test_anothers_client_cannot_be_deleted(engine: Engine) -> None:
    """Another account's client is not found, whatever was typed (A3)."""
    foreign = make_client(engine, account_id=OTHER_ACCOUNT)
    for typed in (foreign.client_id, ""):
        with pytest.raises(NotFound):
            delete(engine, foreign, typed_client_id=typed)
    assert stored(engine, foreign.id, OTHER_ACCOUNT).version == 1


def test_of_5_concurrent_deletes_one_succeeds(engine: Engine) -> None:
    client = make_client(engine)
    outcomes = run_concurrently([partial(delete, engine, client)] * 5)
    assert Counter(type(outcome) for outcome in outcomes) == {type(None): 1, NotFound: 4}
    assert len(actions(engine, client)) == 1


def test_a_create_repeated_after_the_delete_creates_nothing(engine: Engine) -> None:
    make_account(engine)
    delete(engine, create(engine, creation_key="one-time"))
    with pytest.raises(AlreadyCreated):
        create(engine, creation_key="one-time")


# Disabling


@pytest.mark.parametrize("revoke", [False, True])
def test_disabling_can_revoke_the_tokens_as_well(engine: Engine, revoke: bool) -> None:
    """Without it, the tokens of a client that is enabled again become active again (T11, T13)."""
    client = make_client(engine)
    switch = partial(set_enabled, author=make_author(), key=client.id)
    with unit_of_work(engine) as session:
        disabled = switch(session, version=1, enabled=False, revoke_tokens=revoke)
    assert not is_active(engine, client)
    assert generation(engine, client) == int(revoke)
    with unit_of_work(engine) as session:
        switch(session, version=disabled.version, enabled=True)
    assert is_active(engine, client) is not revoke
    assert [action for action, _ in actions(engine, client)] == [
        "disabled",
        *(["tokens revoked"] if revoke else []),
        "enabled",
    ]


def test_the_tokens_of_a_disabled_client_can_be_revoked(engine: Engine) -> None:
    client = make_client(engine, enabled=False)
    with unit_of_work(engine) as session:
        set_enabled(session, author=make_author(), key=client.id, version=None, enabled=False, revoke_tokens=True)
    assert generation(engine, client) == 1
    assert actions(engine, client) == [("tokens revoked", {})]


# The roles that an edit adds and removes


def test_the_difference_between_roles() -> None:
    """In the order of the catalogue, keys that left it last; roles that move money are marked."""
    difference = CATALOGUE.difference(
        {"MerchantUser", "UploadBatches", "Gone"}, {"MerchantUser", "CreatePayment", "AccountViewer"}
    )
    assert [(role.name, role.moves_money) for role in difference.added] == [
        ("Read accounts", False),
        ("Create single payments", True),
    ]
    assert [(role.name, role.moves_money) for role in difference.removed] == [("Upload batches", True), ("Gone", False)]
    assert difference
    assert difference.adds_money
    assert not CATALOGUE.difference({"UploadBatches"}, {"MerchantUser"}).adds_money
    assert not CATALOGUE.difference({"Gone", "MerchantUser"}, {"MerchantUser", "Gone"})
