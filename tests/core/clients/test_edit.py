"""Editing, enabling and disabling: what changes, what does not, and stale versions."""

import uuid
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import time_machine
from sqlalchemy import Engine, event, select

from tests.support.clients import edit, messages, stored, values_of
from tests.support.factories import HASHER, OTHER_ACCOUNT, make_author, make_client, make_rate_limits, make_values
from webapp.core.client_changes import StaleVersion, get_client
from webapp.core.clients.enable import set_enabled
from webapp.core.database.engine import make_engine
from webapp.core.database.models import AuditEvent, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import InvalidFields, NotFound, RateLimited
from webapp.core.secrets.generation import Secret
from webapp.core.secrets.hashing import StoredHash

TAKEN = {"client_id": "This client ID is already in use. Choose another."}


def events_of(engine: Engine, client: IdentityClient) -> list[tuple[str, dict[str, Any]]]:
    with read_session(engine) as session:
        rows = session.scalars(
            select(AuditEvent).where(AuditEvent.client_key == client.id).order_by(AuditEvent.at, AuditEvent.id)
        )
        return [(row.action, row.changes) for row in rows]


def switch(engine: Engine, client: IdentityClient, *, enabled: bool, **overrides: Any) -> IdentityClient:
    """Enable or disable a client."""
    given: dict[str, Any] = {"author": make_author(), "key": client.id, "version": client.version, "enabled": enabled}
    with unit_of_work(engine) as session:
        return set_enabled(session, **(given | overrides))


def test_every_field_can_be_edited(engine: Engine) -> None:
    """Every field of the form, and no other column (A5)."""
    with time_machine.travel("2026-03-01 12:00:00+00:00", tick=False) as clock:
        client = make_client(engine, client_id="acme-claims", name="Claims", roles={"MerchantUser", "UploadBatches"})
        clock.shift(60)
        values = make_values(
            client_id="ACME-claims-2",
            name="",
            description="Nightly run",
            token_duration="10",
            roles=frozenset({"MerchantUser", "CreatePayment"}),
        )
        author = make_author(label="Someone else")
        edited = edit(engine, client, values=values, enabled=False, secret="another secret", author=author)
        assert edited.version == client.version + 1
        kept = stored(engine, client.id)
        columns = [column.key for column in IdentityClient.__table__.columns]
        assert {column for column in columns if getattr(kept, column) != getattr(client, column)} == {
            *("client_id", "client_id_folded", "name", "name_folded", "description", "description_folded"),
            *("token_duration_minutes", "roles", "enabled", "version", "updated_at", "updated_by"),
        }
        assert values_of(kept) == values
        assert (kept.enabled, kept.version) == (False, 2)
        assert (kept.created_at, kept.created_by) == (client.created_at, client.created_by)
        assert (kept.updated_at, kept.updated_by) == (client.created_at + timedelta(seconds=60), "Someone else")
    assert events_of(engine, client)[1:] == [
        (
            "edited",
            {
                "client_id": ["acme-claims", "ACME-claims-2"],
                "name": ["Claims", ""],
                "description": ["", "Nightly run"],
                "token_duration_minutes": [60, 10],
                "roles": [["MerchantUser", "UploadBatches"], ["CreatePayment", "MerchantUser"]],
                "enabled": [True, False],
                "client_secret": [{"A": "current"}, {"A": "ended", "B": "current"}],
            },
        )
    ]


def test_a_typed_secret_replaces_the_others_at_once(engine: Engine) -> None:
    client = make_client(engine, secret="the first secret")
    with unit_of_work(engine) as session:
        [first] = get_client(session, account_id=client.account_id, key=client.id).secrets
        first.paused_at = utc_now()
    client = edit(engine, client, secret="the second secret")
    client = edit(engine, client, secret="the third secret")
    now = utc_now()
    kept = stored(engine, client.id)
    assert {secret.label: secret.state_at(now) for secret in kept.secrets} == {
        "A": "ended",
        "B": "ended",
        "C": "current",
    }
    newest = next(secret for secret in kept.secrets if secret.label == "C")
    hashed = StoredHash(newest.secret_hash, newest.pepper_version)
    assert HASHER.verify(Secret("the third secret"), hashed)
    assert not HASHER.verify(Secret("the second secret"), hashed)
    assert (newest.created_by, kept.version) == ("admin@northwind.example", 3)
    assert [changes for _, changes in events_of(engine, client)[1:]] == [
        {"client_secret": [{"A": "paused"}, {"A": "ended", "B": "current"}]},
        {"client_secret": [{"B": "current"}, {"B": "ended", "C": "current"}]},
    ]


def test_labels_continue_after_z(engine: Engine) -> None:
    client = make_client(engine)
    for _ in range(27):
        client = edit(engine, client, secret="one more secret")
    assert {secret.label for secret in client.secrets} >= {"A", "B", "Y", "Z", "AA", "AB"}
    assert len(client.secrets) == 28


def test_a_blank_secret_keeps_the_current_one(engine: Engine) -> None:
    client = make_client(engine)
    for blank in (None, ""):
        client = edit(engine, client, values=values_of(client, name=f"Name {blank}"), secret=blank)
    assert [secret.label for secret in client.secrets] == ["A"]
    assert [secret.ends_at for secret in client.secrets] == [None]
    with pytest.raises(InvalidFields) as caught:
        edit(engine, client, secret=" ")
    assert messages(caught.value).keys() == {"client_secret"}


def test_an_edit_that_changes_nothing_writes_nothing(engine: Engine) -> None:
    """A client never clashes with its own ID (I6)."""
    client = make_client(engine, client_id="acme-claims", name="Zoë", description="one\ntwo")
    values = values_of(client, name=" Zoe\u0308 ", description="one\r\ntwo")
    assert edit(engine, client, values=values).version == client.version
    kept = stored(engine, client.id)
    assert (kept.version, kept.updated_at) == (client.version, client.updated_at)
    assert [action for action, _ in events_of(engine, client)] == ["created"]


def test_a_client_may_take_its_own_former_id_back(engine: Engine) -> None:
    """Only the client that had an ID may have it again, in any letter case (T3)."""
    client = make_client(engine, client_id="acme-claims")
    other = make_client(engine, client_id="acme-other")
    for client_id in ("ACME-claims", "acme-claims-2", "Acme-Claims", "acme-claims"):
        client = edit(engine, client, values=values_of(client, client_id=client_id))
        assert stored(engine, client.id).client_id == client_id
    for client_id in ("acme-claims-2", "ACME-CLAIMS-2", "acme-claims"):
        with pytest.raises(InvalidFields) as caught:
            edit(engine, other, values=values_of(other, client_id=client_id))
        assert messages(caught.value) == TAKEN


def test_all_errors_of_an_edit_are_reported_at_once(engine: Engine) -> None:
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="other-claims")
    client = make_client(engine)
    values = make_values(client_id="Other-Claims", name="ab", token_duration="9", roles=frozenset({"Root"}))
    with pytest.raises(InvalidFields) as caught:
        edit(engine, client, values=values, secret="short")
    assert list(messages(caught.value)) == ["client_id", "client_secret", "name", "token_duration", "roles"]
    assert stored(engine, client.id).version == client.version


def test_a_role_that_the_account_lost_cannot_stay_on_an_edited_client(engine: Engine) -> None:
    """The roles that the account may grant at the moment of the edit count (A4)."""
    limited = make_author(grantable_roles=frozenset({"MerchantUser"}))
    client = make_client(engine, roles={"MerchantUser", "UploadBatches"})
    with pytest.raises(InvalidFields) as caught:
        edit(engine, client, values=values_of(client, name="New name"), author=limited)
    assert messages(caught.value) == {"roles": "Your account does not hold “Upload batches”. Choose other roles."}
    values = values_of(client, roles=frozenset({"MerchantUser"}))
    assert edit(engine, client, values=values, author=limited).roles == {"MerchantUser"}


def test_a_taken_id_is_reported_within_the_quota_only(engine: Engine) -> None:
    """Editing counts towards the same quota as creating (A6)."""
    make_client(engine, account_id=OTHER_ACCOUNT, client_id="other-claims")
    client = make_client(engine)
    rate_limits = make_rate_limits(taken_id_answers_per_hour=1)
    values = values_of(client, client_id="other-claims")
    with pytest.raises(InvalidFields):
        edit(engine, client, values=values, rate_limits=rate_limits)
    with pytest.raises(RateLimited):
        edit(engine, client, values=values, rate_limits=rate_limits)
    edit(engine, client, values=values_of(client, client_id="another-id"), rate_limits=rate_limits)


@pytest.mark.parametrize("version", [None, 0, 1, 3])
def test_a_stale_or_missing_version_changes_nothing(engine: Engine, version: int | None) -> None:
    """The error carries the current client, readable after the session is closed (I7)."""
    client = make_client(engine)
    second = edit(engine, client, values=values_of(client, name="Their name"))
    for write in (
        partial(edit, engine, second, values=values_of(client, name="My name"), version=version),
        partial(switch, engine, second, enabled=False, version=version),
    ):
        with pytest.raises(StaleVersion) as caught:
            write()
        current = caught.value.current
        assert (current.name, current.version, current.secrets[0].label) == ("Their name", 2, "A")
    kept = stored(engine, client.id)
    assert (kept.name, kept.enabled, kept.version) == ("Their name", True, 2)
    assert len(events_of(engine, client)) == 2


def test_a_write_between_read_and_update_is_a_stale_version(postgresql_url: str) -> None:
    """The UPDATE compares the version itself. On SQLite no other write can come in between (I7)."""
    engine = make_engine(postgresql_url)
    client = make_client(engine)

    def write_in_between(*_: object) -> None:
        edit(engine, client, values=values_of(client, name="Their name"), secret="their secret")

    def disable() -> None:
        with unit_of_work(engine) as session:
            event.listen(session, "before_flush", write_in_between, once=True)
            set_enabled(session, author=make_author(), key=client.id, version=client.version, enabled=False)

    with pytest.raises(StaleVersion) as caught:
        disable()
    current = caught.value.current
    assert (current.name, current.enabled, current.version) == ("Their name", True, 2)
    assert [(secret.label, secret.ends_at is None) for secret in current.secrets] == [("A", False), ("B", True)]
    assert stored(engine, client.id).version == 2
    engine.dispose()


def test_disable_and_enable(engine: Engine) -> None:
    client = make_client(engine)
    disabled = switch(engine, client, enabled=False)
    assert not stored(engine, client.id).enabled
    again = switch(engine, client, enabled=False, version=None)
    assert again.version == disabled.version == 2
    switch(engine, disabled, enabled=True)
    assert stored(engine, client.id).enabled
    assert events_of(engine, client)[1:] == [
        ("disabled", {"enabled": [True, False]}),
        ("enabled", {"enabled": [False, True]}),
    ]


def test_foreign_deleted_and_absent_clients_are_not_found(engine: Engine) -> None:
    """With the same number of statements (A3)."""
    own = make_client(engine)
    foreign = make_client(engine, account_id=OTHER_ACCOUNT)
    deleted = make_client(engine, deleted_at=utc_now())
    statements: list[str] = []
    counts = []
    event.listen(engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    for key in (foreign.id, deleted.id, uuid.uuid4()):
        absent = IdentityClient(
            id=key, account_id=own.account_id, version=1, enabled=True, client_id="acme-claims", name="", description=""
        )
        absent.owner, absent.tags = "", frozenset()
        absent.token_duration_minutes, absent.roles = 10, frozenset({"MerchantUser"})
        statements.clear()
        for call in (
            partial(stored, engine, key),
            partial(edit, engine, absent),
            partial(switch, engine, absent, enabled=False),
        ):
            with pytest.raises(NotFound):
                call()
        counts.append(len([statement for statement in statements if statement.startswith("SELECT")]))
    assert counts == [3, 3, 3]
    assert stored(engine, foreign.id, OTHER_ACCOUNT).version == 1


@time_machine.travel("2026-03-01 12:00:00+00:00", tick=False)
def test_the_version_changes_even_if_the_clock_does_not(engine: Engine) -> None:
    """A change of the secret alone, by the same person at the same moment, increments the version (I7)."""
    client = make_client(engine)
    assert edit(engine, client, secret="another secret").version == 2
    with pytest.raises(StaleVersion):
        edit(engine, client, version=1, secret="a third secret")
    assert stored(engine, client.id).version == 2
