"""Changes of several clients at once: all of them or none, each with an audit event."""

from typing import Any

import pytest
from sqlalchemy import Engine, select

from tests.support.clients import edit, stored, values_of
from tests.support.factories import ACCOUNT, OTHER_ACCOUNT, make_author, make_client
from webapp.core.clients.bulk import BulkAction, BulkRefused, change_clients
from webapp.core.database.models import AuditEvent, IdentityClient, utc_now
from webapp.core.database.unit_of_work import read_session, unit_of_work
from webapp.core.errors import FieldError


def change(engine: Engine, action: BulkAction, *clients: IdentityClient, tag: str = "") -> int:
    with unit_of_work(engine) as session:
        versions = {client.id: client.version for client in clients}
        return change_clients(session, author=make_author(), action=action, versions=versions, tag=tag)


def events(engine: Engine) -> list[tuple[str, str | None, dict[str, Any]]]:
    """Return action, client and changes of each event but those of creation."""
    with read_session(engine) as session:
        found = session.scalars(select(AuditEvent).where(AuditEvent.action != "created").order_by(AuditEvent.id))
        return [(event.action, event.client_id, event.changes) for event in found]


def test_clients_are_disabled_and_enabled_each_with_an_event(engine: Engine) -> None:
    """One event for each changed client; one in the wanted state gets none (L1)."""
    first, second = make_client(engine, client_id="acme-1"), make_client(engine, client_id="acme-2")
    off = make_client(engine, client_id="acme-3", enabled=False)
    assert change(engine, BulkAction.DISABLE, first, second, off) == 2
    assert [stored(engine, one.id).enabled for one in (first, second, off)] == [False, False, False]
    assert events(engine) == [("disabled", name, {"enabled": [True, False]}) for name in ("acme-1", "acme-2")]
    now = [stored(engine, one.id) for one in (first, second)]
    assert change(engine, BulkAction.ENABLE, *now) == 2
    assert [action for action, _, _ in events(engine)] == ["disabled", "disabled", "enabled", "enabled"]


def test_a_tag_is_added_and_removed(engine: Engine) -> None:
    first, second = make_client(engine, client_id="acme-1"), make_client(engine, client_id="acme-2", tags=["eu"])
    assert change(engine, BulkAction.ADD_TAG, first, second, tag=" EU ") == 1
    assert [stored(engine, one.id).tags for one in (first, second)] == [{"eu"}, {"eu"}]
    now = [stored(engine, one.id) for one in (first, second)]
    assert change(engine, BulkAction.REMOVE_TAG, *now, tag="eu") == 2
    assert events(engine) == [
        ("edited", "acme-1", {"tags": [[], ["eu"]]}),
        ("edited", "acme-1", {"tags": [["eu"], []]}),
        ("edited", "acme-2", {"tags": [["eu"], []]}),
    ]


def test_nothing_is_written_if_one_cannot_be_changed(engine: Engine) -> None:
    """A stale version, a deleted client, a foreign one and one with ten tags, each with its reason (I7, A3)."""
    fine, stale = make_client(engine, client_id="acme-1"), make_client(engine, client_id="acme-2")
    full = make_client(engine, client_id="acme-3", tags=list("0123456789"))
    deleted = make_client(engine, client_id="acme-4", deleted_at=utc_now())
    foreign = make_client(engine, client_id="foreign-1", account_id=OTHER_ACCOUNT)
    edit(engine, stale, values=values_of(stale, name="Newer"))
    before = events(engine)
    with pytest.raises(BulkRefused) as caught:
        change(engine, BulkAction.ADD_TAG, fine, stale, full, deleted, foreign, tag="eu")
    assert [(one.key, one.client_id, one.reason) for one in caught.value.obstacles] == [
        (stale.id, "acme-2", "Somebody changed it after you opened the list."),
        (full.id, "acme-3", "It has 10 tags already."),
        (deleted.id, "", "It was deleted."),
        (foreign.id, "", "It was deleted."),
    ]
    assert stored(engine, fine.id, ACCOUNT).tags == frozenset()
    assert events(engine) == before


@pytest.mark.parametrize("tag", ["", "  ", "a" * 31, "a,b", "a\x00b"])
def test_a_tag_has_the_same_rule_as_in_the_form(engine: Engine, tag: str) -> None:
    client = make_client(engine)
    with pytest.raises(FieldError) as caught:
        change(engine, BulkAction.ADD_TAG, client, tag=tag)
    assert caught.value.field == "tag"
    assert events(engine) == []
