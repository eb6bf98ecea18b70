"""Audit events: what they contain, and that they cannot be changed (L1)."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import Engine, delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from tests.support.clients import create, edit, stored, values_of
from tests.support.factories import SECRET, make_account, make_author, make_client, make_values
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work


@time_machine.travel("2026-03-01 12:00:00+00:00", tick=False)
def test_contents_of_an_event(engine: Engine) -> None:
    """Actor, account, action, object, before and after, address, request id and UTC time; never a secret (L1)."""
    make_account(engine)
    client = create(
        engine,
        author=make_author(actor_id="42", label="Hannah Okafor", address="2001:db8::1", request_id="abc"),
        values=make_values(
            client_id="acme-claims",
            name="Claims",
            roles=frozenset({"UploadBatches", "MerchantUser"}),
            owner="Priya Nair",
            tags=("Production", "claims"),
        ),
    )
    with read_session(engine) as session:
        event = session.scalars(select(AuditEvent)).one()
    assert (event.actor_id, event.actor_label, event.account_id) == ("42", "Hannah Okafor", "northwind")
    assert (event.action, event.client_key, event.client_id) == ("created", client.id, "acme-claims")
    assert (event.address, event.request_id) == ("2001:db8::1", "abc")
    assert event.at.isoformat() == "2026-03-01T12:00:00+00:00"
    assert event.changes == {
        "client_id": [None, "acme-claims"],
        "name": [None, "Claims"],
        "description": [None, ""],
        "token_duration_minutes": [None, 60],
        "roles": [None, ["MerchantUser", "UploadBatches"]],
        "owner": [None, "Priya Nair"],
        "tags": [None, ["claims", "production"]],
        "enabled": [None, True],
        "client_secret": [None, {"A": "current"}],
    }


def test_no_secret_and_no_hash_is_in_the_audit_log(engine: Engine) -> None:
    """Neither the secret nor its hash is in any column of an event (L4)."""
    client = make_client(engine)
    edit(engine, client, secret="another secret")
    hashes = [secret.secret_hash for secret in stored(engine, client.id).secrets]
    with engine.connect() as connection:
        rows = str(connection.execute(text("SELECT * FROM identity_client_events")).all())
    assert "client_secret" in rows
    for hidden in (SECRET, "another secret", "argon2", *hashes):
        assert hidden not in rows


def test_a_change_whose_event_fails_does_not_happen(engine: Engine) -> None:
    """If the event cannot be written, the change is rolled back (L1)."""
    client = make_client(engine)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE identity_client_events RENAME TO elsewhere"))
    with pytest.raises(Exception, match="identity_client_events"):
        edit(engine, client, values=values_of(client, name="New name"), secret="another secret")
    kept = stored(engine, client.id)
    assert (kept.name, kept.version) == ("", 1)
    assert [(secret.label, secret.ends_at) for secret in kept.secrets] == [("A", None)]


def test_an_event_cannot_be_changed(engine: Engine) -> None:
    """Neither by a session nor by a plain UPDATE, at any age (L1)."""
    add_event(engine, days_old=500)
    for column in AuditEvent.__table__.columns:
        if column.name == "id":
            continue
        with pytest.raises(IntegrityError, match="never changed"), unit_of_work(engine) as session:
            session.execute(update(AuditEvent).values({column.name: getattr(AuditEvent, column.name)}))


@pytest.mark.parametrize(("days_old", "kept"), [(0, True), (399, True), (401, False)])
def test_an_event_can_be_deleted_only_past_its_retention(engine: Engine, days_old: int, kept: bool) -> None:
    """The database rejects the deletion of an event before 400 days (L1)."""
    add_event(engine, days_old=days_old)
    if kept:
        with pytest.raises(IntegrityError, match="kept for 400 days"), unit_of_work(engine) as session:
            session.execute(delete(AuditEvent))
    else:
        with unit_of_work(engine) as session:
            session.execute(delete(AuditEvent))
    with read_session(engine) as session:
        assert len(session.scalars(select(AuditEvent)).all()) == kept


def test_the_audit_log_cannot_be_truncated(postgresql_url: str) -> None:
    """TRUNCATE does not fire row triggers, so it has a trigger of its own (L1)."""
    engine = make_engine(postgresql_url)
    with pytest.raises(IntegrityError, match="never changed"), unit_of_work(engine) as session:
        session.execute(text("TRUNCATE identity_client_events"))
    engine.dispose()


def add_event(engine: Engine, *, days_old: int) -> None:
    with unit_of_work(engine) as session:
        session.execute(
            insert(AuditEvent).values(
                at=utc_now() - timedelta(days=days_old),
                account_id="northwind",
                actor_id="42",
                actor_label="Hannah Okafor",
                action="created",
                changes={},
            )
        )
